"""The table of calls (calls.json), made with the official Python stubs.

usage: calls.py TABLE CONNECTION   (JSON files, written by scripts/interop.ts)
"""

import base64
import json
import math
import pathlib
import sys

import grpc
from google.protobuf import json_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import model_service_pb2, model_service_pb2_grpc, prediction_service_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc
from report import Report

MODULES = {
    "tensorflow.serving.PredictionService": (prediction_service_pb2, prediction_service_pb2_grpc.PredictionServiceStub),
    "tensorflow.serving.ModelService": (model_service_pb2, model_service_pb2_grpc.ModelServiceStub),
    "grpc.health.v1.Health": (health_pb2, health_pb2_grpc.HealthStub),
}
TIMEOUT = 20

table, connection = (json.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:3])
report = Report()


def connect(identity=True, secure=True):
    pem = {key: pathlib.Path(connection[key]).read_bytes() for key in ("roots", "cert", "key") if key in connection}
    options = [("grpc.use_local_subchannel_pool", 1)]
    if not pem or not secure:
        return grpc.insecure_channel(connection["target"], options)
    own = (pem.get("key"), pem.get("cert")) if identity else (None, None)
    return grpc.secure_channel(connection["target"], grpc.ssl_channel_credentials(pem["roots"], *own), options)


def call(channel, row):
    """The answer as protobuf JSON, or the failure as [code, text]."""
    service, method = row["rpc"].split("/")
    options = {"timeout": TIMEOUT, "compression": grpc.Compression.Gzip if row.get("gzip") else None}
    try:
        if "raw" in row:
            return channel.unary_unary(f"/{row['rpc']}")(base64.b64decode(row["raw"]), **options).hex()
        module, stub = MODULES[service]
        descriptor = module.DESCRIPTOR.services_by_name[service.split(".")[-1]].methods_by_name[method]
        request = json_format.ParseDict(row["request"], descriptor.input_type._concrete_class())
        return json_format.MessageToDict(getattr(stub(channel), method)(request, **options))
    except grpc.RpcError as error:
        return [error.code().name, error.details()]


def differences(expected, actual, path="$"):
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in expected.keys() | actual.keys():
            yield from differences(expected.get(key), actual.get(key), f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for index, (left, right) in enumerate(zip(expected, actual)):
            yield from differences(left, right, f"{path}[{index}]")
    elif isinstance(expected, float) and isinstance(actual, (int, float)):
        if not math.isclose(expected, actual, rel_tol=1e-5, abs_tol=1e-6):
            yield f"{path}: expected {expected}, got {actual}"
    elif expected != actual:
        yield f"{path}: expected {expected!r}, got {actual!r}"


with connect() as channel:
    for row in table:
        with report.check(row["name"]):
            expected = row["response"] if "response" in row else [row["code"], row["text"]]
            found = list(differences(expected, call(channel, row)))
            assert not found, "\n".join(found)

health = {"rpc": "grpc.health.v1.Health/Check", "request": {}}
for name, options in [("a client without a certificate", {"identity": False}), ("a plaintext client", {"secure": False})]:
    if ("cert" if "identity" in options else "roots") in connection:
        with report.check(f"refused: {name}"), connect(**options) as channel:
            outcome = call(channel, health)
            assert isinstance(outcome, list) and outcome[0] == "UNAVAILABLE", outcome

report.finish()
