"""The usual tensorflow-serving-api client. pip install tensorflow-serving-api"""

import os

import grpc
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

channel = grpc.insecure_channel(os.environ.get("SERVER", "localhost:8500"))
stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

request = predict_pb2.PredictRequest()
request.model_spec.name = "iris"
request.model_spec.signature_name = "serving_default"
request.inputs["input"].CopyFrom(tf.make_tensor_proto([[5.1, 3.5, 1.4, 0.2]], shape=[1, 4]))
result = stub.Predict(request, 10.0)
probabilities = tf.make_ndarray(result.outputs["output"])[0]
for label, probability in zip(["setosa", "versicolor", "virginica"], probabilities):
    print(f"{label:<12}{probability:.6f}")

metadata = get_model_metadata_pb2.GetModelMetadataRequest()
metadata.model_spec.name = "iris"
metadata.metadata_field.append("signature_def")
print(sorted(stub.GetModelMetadata(metadata, 10.0).metadata))

status = get_model_status_pb2.GetModelStatusRequest()
status.model_spec.name = "iris"
models = model_service_pb2_grpc.ModelServiceStub(channel)
for version in models.GetModelStatus(status, 10.0).model_version_status:
    print(version.version, version.State.Name(version.state))
