"""手作りのサーバーの定番: FastAPI + uvicorn + onnxruntime。  python fastapi_server.py ONNX PORT"""
import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
app = FastAPI()


class Request(BaseModel):
    instances: list[list[float]]


@app.post("/v1/models/{name}")
async def predict(name: str, request: Request):
    (output,) = session.run(None, {"input": np.array(request.instances, np.float32)})
    return {"predictions": output.tolist()}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
