"""The official Python client against a running server: good calls, bad calls, health and reflection.

usage: python_client.py GRPC_ADDRESS REST_ADDRESS   (host:port each)
"""

import gzip
import json
import sys
import urllib.error
import urllib.request

import grpc
import numpy as np
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tensorflow_serving.apis import (
    classification_pb2, get_model_metadata_pb2, get_model_status_pb2, inference_pb2, model_management_pb2,
    model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc, regression_pb2,
)
from report import Report

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
LABELS = [b"setosa", b"versicolor", b"virginica"]

grpc_address, rest_address = sys.argv[1:3]
channel = grpc.insecure_channel(grpc_address)
prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
models = model_service_pb2_grpc.ModelServiceStub(channel)
report = Report()


def predict_request(values=ROWS, dtype=None, name="iris", signature="serving_default", alias="input", **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    if "label" in spec:
        request.model_spec.version_label = spec["label"]
    request.inputs[alias].CopyFrom(tf.make_tensor_proto(values, dtype=dtype or tf.float32))
    return request


def rest(method, path, body=None, headers=None):
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{rest_address}{path}", data=data, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def example(row):
    feature = {k: tf.train.Feature(float_list=tf.train.FloatList(value=[v])) for k, v in zip(FEATURES, row)}
    return tf.train.Example(features=tf.train.Features(feature=feature))


with report.check("Predict, float_val and tensor_content"):
    answer = prediction.Predict(predict_request(), 10)
    assert answer.model_spec.version.value == 1 and answer.model_spec.signature_name == "serving_default"
    output = answer.outputs["output"]
    assert output.dtype == tf.float32.as_datatype_enum and len(output.float_val) == 6 and not output.tensor_content
    expected = tf.make_ndarray(output)
    np.testing.assert_allclose(expected.sum(axis=1), [1, 1], atol=1e-5)
    assert list(expected.argmax(axis=1)) == [0, 2]
    typed = predict_request()
    typed.inputs["input"].ClearField("tensor_content")
    typed.inputs["input"].float_val.extend(np.float32(ROWS).ravel())
    np.testing.assert_array_equal(tf.make_ndarray(prediction.Predict(typed, 10).outputs["output"]), expected)

with report.check("REST gives the same numbers by row, by column and by version"):
    for path, body, key in [
        ("/v1/models/iris:predict", {"instances": ROWS}, "predictions"),
        ("/v1/models/iris:predict", {"inputs": {"input": ROWS}}, "outputs"),
        ("/v1/models/iris/versions/1:predict", {"inputs": ROWS}, "outputs"),
        ("/v1/models/iris:predict", {"instances": [{"input": r} for r in ROWS]}, "predictions"),
    ]:
        status, text = rest("POST", path, body)
        assert status == 200, text
        np.testing.assert_allclose(np.float32(json.loads(text)[key]), expected, atol=1e-7)

with report.check("REST accepts a gzip body"):
    status, text = rest("POST", "/v1/models/iris:predict", gzip.compress(json.dumps({"instances": ROWS}).encode()),
                        {"Content-Encoding": "gzip"})
    assert status == 200, text

with report.check("Predict with gzip compression and a large batch"):
    many = np.tile(np.float32(ROWS), (50_000, 1))
    answer = prediction.Predict(predict_request(many), 30, compression=grpc.Compression.Gzip)
    assert tf.make_ndarray(answer.outputs["output"]).shape == (100_000, 3)

with report.check("Classify"):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "iris"
    request.model_spec.signature_name = "classify"
    request.input.example_list.examples.extend(example(row) for row in ROWS)
    result = prediction.Classify(request, 10).result.classifications
    np.testing.assert_allclose([[c.score for c in r.classes] for r in result], expected, atol=1e-6)
    assert [c.label.encode() for c in result[0].classes] == LABELS

with report.check("MultiInference"):
    request = inference_pb2.MultiInferenceRequest()
    task = request.tasks.add()
    task.model_spec.name = "iris"
    task.model_spec.signature_name = "classify"
    task.method_name = "tensorflow/serving/classify"
    request.input.example_list.examples.append(example(ROWS[0]))
    answer = prediction.MultiInference(request, 10)
    assert answer.results[0].classification_result.classifications[0].classes[0].score > 0.5

with report.check("GetModelMetadata"):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "iris"
    request.metadata_field.append("signature_def")
    answer = prediction.GetModelMetadata(request, 10)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert sorted(signatures.signature_def) == ["classify", "serving_default"], sorted(signatures.signature_def)
    assert signatures.signature_def["serving_default"].inputs["input"].name == "serving_default_input:0"
    assert signatures.signature_def["serving_default"].outputs["output"].name == "StatefulPartitionedCall:0"

with report.check("GetModelStatus on both doors"):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "iris"
    (version,) = models.GetModelStatus(request, 10).model_version_status
    assert (version.version, version.state, version.status.error_code) == (1, 30, 0)
    status, text = rest("GET", "/v1/models/iris")
    assert status == 200 and json.loads(text) == {"model_version_status": [
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]}, text

with report.check("health: Check and Watch"):
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "PredictionService", "ModelService", "tensorflow.serving.PredictionService"):
        assert health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status == 1, name
    assert next(iter(health.Watch(health_pb2.HealthCheckRequest(), timeout=10))).status == 1

with report.check("reflection lists the services"):
    names = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert {"tensorflow.serving.PredictionService", "tensorflow.serving.ModelService", "grpc.health.v1.Health"} <= set(names), names

INVALID, MISSING, STATE = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION
for name, request, code, words in [
    ("unknown model", predict_request(name="nope"), MISSING, "Servable not found for request: Latest(nope)"),
    ("unknown version", predict_request(version=7), MISSING, "Servable not found for request: Specific(iris, 7)"),
    ("unknown label", predict_request(label="x"), INVALID, "Unrecognized servable version label: x"),
    ("no model name", predict_request(name=""), INVALID, "ModelSpec has no name specified."),
    ("unknown signature", predict_request(signature="nope"), STATE, 'Serving signature key "nope" not found.'),
    ("wrong alias", predict_request(alias="x"), INVALID, "Signature input alias: input(feed name: serving_default_input:0) not found"),
    ("wrong dtype", predict_request([[1, 2, 3, 4]], tf.int32), INVALID, "to be float but int32 is provided"),
    ("text", predict_request([["a", "b", "c", "d"]], tf.string), INVALID, "to be float but string is provided"),
    ("wrong width", predict_request([[1, 2, 3]]), INVALID, "Matrix size-incompatible"),
    ("scalar", predict_request(1.0), INVALID, ""),
]:
    with report.check(f"gRPC refuses: {name}"):
        try:
            prediction.Predict(request, 10)
        except grpc.RpcError as error:
            assert error.code() == code and words in error.details(), (error.code(), error.details())
        else:
            raise AssertionError("was accepted")

for name, path, body, code, words in [
    ("unknown model", "/v1/models/nope:predict", {"instances": ROWS}, 404, "Servable not found for request: Latest(nope)"),
    ("unknown version", "/v1/models/iris/versions/7:predict", {"instances": ROWS}, 404, "Specific(iris, 7)"),
    ("unknown signature", "/v1/models/iris:predict", {"signature_name": "no", "instances": ROWS}, 400, 'Serving signature name: "no" not found'),
    ("wrong width", "/v1/models/iris:predict", {"instances": [[1, 2, 3]]}, 400, "Matrix size-incompatible"),
    ("text", "/v1/models/iris:predict", {"instances": [["a", "b", "c", "d"]]}, 400, "is not of expected type: float"),
    ("ragged rows", "/v1/models/iris:predict", {"instances": [[1, 2, 3, 4], [1, 2, 3]]}, 400, "Expecting tensor size: 4 but got: 3"),
    ("no rows", "/v1/models/iris:predict", {"instances": []}, 400, "No values in 'instances' array"),
    ("an empty body", "/v1/models/iris:predict", b"", 400, "JSON Parse error: The document is empty"),
    ("text for JSON", "/v1/models/iris:predict", b"hello", 400, "JSON Parse error: Invalid value. at offset: 0"),
    ("neither key", "/v1/models/iris:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
    ("unknown verb", "/v1/models/iris:explain", {}, 400, "Malformed request: POST /v1/models/iris:explain"),
]:
    with report.check(f"REST refuses: {name}"):
        status, text = rest("POST", path, body)
        assert status == code and words in json.loads(text)["error"], (status, text)

with report.check("NaN goes in and comes out"):
    status, text = rest("POST", "/v1/models/iris:predict", b'{"instances": [[NaN, 1, 2, 3]]}')
    assert status == 200 and "NaN" in text, text
    assert np.isnan(tf.make_ndarray(prediction.Predict(predict_request([[float("nan"), 1, 2, 3]]), 10).outputs["output"])).all()

with report.check("zero rows by gRPC"):
    answer = prediction.Predict(predict_request(np.zeros((0, 4), np.float32)), 10)
    assert tf.make_ndarray(answer.outputs["output"]).shape == (0, 3)

with report.check("Regress refuses a signature that is no regression"):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "iris"
    request.model_spec.signature_name = "classify"
    request.input.example_list.examples.append(example(ROWS[0]))
    try:
        prediction.Regress(request, 10)
    except grpc.RpcError as error:
        assert error.code() == INVALID, error
    else:
        raise AssertionError("was accepted")

with report.check("HandleReloadConfigRequest refuses an empty request"):
    try:
        models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), 10)
    except grpc.RpcError as error:
        assert error.code() == INVALID and "ServerModelConfig type not supported" in error.details(), error
    else:
        raise AssertionError("was accepted")

with report.check("the next request is served"):
    np.testing.assert_array_equal(tf.make_ndarray(prediction.Predict(predict_request(), 10).outputs["output"]), expected)

report.finish()
