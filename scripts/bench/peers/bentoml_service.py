"""BentoML + onnxruntime。  IRIS_ONNX=… bentoml serve bentoml_service:Iris"""
import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1)
class Iris:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["IRIS_ONNX"], options, providers=["CPUExecutionProvider"]
        )

    @bentoml.api
    def predict(self, instances: list[list[float]]) -> dict:
        (output,) = self.session.run(None, {"input": np.array(instances, np.float32)})
        return {"predictions": output.tolist()}
