"""MLServer の自作ランタイム + onnxruntime。model-settings.json の implementation がこれを指す。"""
import os

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Iris(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            os.environ["IRIS_ONNX"], options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32)
        (output,) = self._session.run(None, {"input": x})
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("predictions", output)]
        )
