"""Python の grpcio で書いた Predict、計算は TensorFlow。  python grpc_tensorflow.py SAVED_MODEL PORT"""
import sys
from concurrent import futures

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
signature = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    def Predict(self, request, context):
        x = tf.constant(tf.make_ndarray(request.inputs["input"]))
        response = predict_pb2.PredictResponse()
        response.model_spec.name = request.model_spec.name
        for name, value in signature(input=x).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
        return response


server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(), server)
server.add_insecure_port(f"127.0.0.1:{sys.argv[2]}")
server.start()
server.wait_for_termination()
