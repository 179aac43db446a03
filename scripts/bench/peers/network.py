"""scripts/reference_outputs.ts の書いた重みから、ONNX の網を作る。"""
import json
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def build(weights_file: str, onnx_file: str) -> None:
    with open(weights_file, encoding="utf8") as file:
        variables = json.load(file)["variables"]
    layers = [
        {part: variables[f"{name}/{part}"] for part in ("kernel", "bias")} for name in ("dense", "dense_1")
    ]
    nodes, constants, name = [], [], "input"
    for i, layer in enumerate(layers):
        for part in ("kernel", "bias"):
            values = np.array(layer[part], np.float32)
            constants.append(numpy_helper.from_array(values, f"{part}{i}"))
        last = i == len(layers) - 1
        nodes.append(helper.make_node("Gemm", [name, f"kernel{i}", f"bias{i}"], [f"sum{i}"]))
        name = "output" if last else f"relu{i}"
        kind = {"op_type": "Softmax", "axis": -1} if last else {"op_type": "Relu"}
        nodes.append(helper.make_node(inputs=[f"sum{i}"], outputs=[name], **kind))
    value = lambda key, columns: helper.make_tensor_value_info(key, TensorProto.FLOAT, ["n", columns])
    graph = helper.make_graph(nodes, "iris", [value("input", 4)], [value("output", 3)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, onnx_file)


if __name__ == "__main__":
    build(*sys.argv[1:3])
