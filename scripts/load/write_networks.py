"""時間と記憶を測るための大きめの SavedModel を、Keras 3 と TensorFlow で書く(重みは乱数)。

使い方: python scripts/load/write_networks.py 出力先

<出力先>/<名前>/1/ に SavedModel、<名前>/weights.bin と <名前>/network.json に同じ重みを素の tfjs で
組み立てるための材料、それに入力と TensorFlow が計算した出力を書く。数は float32 の小端。
"""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers  # noqa: E402

rng = np.random.default_rng(20240711)


class Weights:
    """1 本の bin に並べた重み。"""

    def __init__(self):
        self.chunks = []
        self.at = 0

    def add(self, value):
        value = np.ascontiguousarray(value, np.float32)
        entry = {"at": self.at, "shape": list(value.shape)}
        self.chunks.append(value.tobytes())
        self.at += value.size
        return entry


def write(out, name, model, parts, weights, batches):
    home = os.path.join(out, name)
    os.makedirs(home, exist_ok=True)
    model.export(os.path.join(home, "1"), verbose=False)
    cases = []
    for batch in batches:
        x = rng.standard_normal([batch, *model.inputs[0].shape[1:]]).astype(np.float32)
        y = model(x, training=False).numpy()
        cases.append({"input": weights.add(x), "output": weights.add(y)})
    with open(os.path.join(home, "weights.bin"), "wb") as file:
        file.writelines(weights.chunks)
    with open(os.path.join(home, "network.json"), "w") as file:
        json.dump({"input": model.inputs[0].name, "parts": parts, "cases": cases}, file)


def mobilenet(out, size):
    """MobileNetV2 (alpha 1.0, 1000 類)。正規化の統計も乱数にして、畳み込みへの畳み込みを確かめられるようにする。"""
    model = keras.applications.MobileNetV2((size, size, 3), alpha=1.0, weights=None)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            n = layer.gamma.shape[0]
            layer.set_weights([
                rng.uniform(0.8, 1.6, n), rng.normal(0, 0.3, n), rng.normal(0, 0.3, n), rng.uniform(0.5, 1.5, n),
            ])
        elif isinstance(layer, layers.DepthwiseConv2D):
            shape = layer.kernel.shape
            layer.set_weights([rng.normal(0, (1 / 9) ** 0.5 * 1.4, shape)])
    weights = Weights()
    parts = []
    by_name = {layer.name: layer for layer in model.layers}

    def batch_norm(layer):
        return {key: weights.add(getattr(layer, key).numpy()) for key in ("gamma", "beta", "moving_mean", "moving_variance")}

    # Keras の並びは、畳み込み → 正規化 → 活性化。順に読むだけで網が組める。
    names = [layer.name for layer in model.layers]
    for i, layer in enumerate(model.layers):
        if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D)):
            norm = model.layers[i + 1]
            after = names[i + 2] if i + 2 < len(names) else ""
            parts.append({
                "kind": "depthwise" if isinstance(layer, layers.DepthwiseConv2D) else "conv",
                "kernel": weights.add(layer.kernel.numpy()),
                "norm": batch_norm(norm),
                "epsilon": norm.epsilon,
                "stride": layer.strides[0],
                "padding": layer.padding,
                "relu6": "relu" in after,
                "startsBlock": layer.name.endswith("_expand"),
            })
        elif isinstance(layer, layers.ZeroPadding2D):
            parts.append({"kind": "pad", "padding": [list(p) for p in layer.padding]})
        elif isinstance(layer, layers.Add):
            parts.append({"kind": "add"})
        elif isinstance(layer, layers.GlobalAveragePooling2D):
            parts.append({"kind": "mean"})
        elif isinstance(layer, layers.Dense):
            parts.append({"kind": "dense", "kernel": weights.add(layer.kernel.numpy()), "bias": weights.add(layer.bias.numpy())})
    assert "Conv_1" in by_name
    write(out, f"mobilenet_v2_{size}", model, parts, weights, [1, 4])


def encoder(out, depth=4, width=256, heads=4, length=128):
    """Transformer の符号器。入力は埋め込み済みの列。"""
    inner = 4 * width
    x = inputs = keras.Input((length, width))
    blocks = []
    for _ in range(depth):
        attention = layers.MultiHeadAttention(heads, width // heads)
        first, second = layers.LayerNormalization(epsilon=1e-6), layers.LayerNormalization(epsilon=1e-6)
        up, down = layers.Dense(inner, activation="gelu"), layers.Dense(width)
        x = first(layers.Add()([x, attention(x, x)]))
        x = second(layers.Add()([x, down(up(x))]))
        blocks.append((attention, first, second, up, down))
    model = keras.Model(inputs, x)
    for layer in model.layers:
        if isinstance(layer, layers.LayerNormalization):
            layer.set_weights([rng.uniform(0.8, 1.2, width), rng.normal(0, 0.1, width)])
    weights = Weights()
    parts = []
    for attention, first, second, up, down in blocks:
        part = {"heads": heads}
        # Keras の順: query, key, value の kernel と bias、最後に output。
        for key, dense in zip(("query", "key", "value", "output"), (
            attention._query_dense, attention._key_dense, attention._value_dense, attention._output_dense,
        )):
            kernel = dense.kernel.numpy()
            flat = kernel.reshape(-1, width) if key == "output" else kernel.reshape(width, -1)
            part[key] = {"kernel": weights.add(flat), "bias": weights.add(dense.bias.numpy().reshape(-1))}
        for key, norm in (("first", first), ("second", second)):
            part[key] = {"gamma": weights.add(norm.gamma.numpy()), "beta": weights.add(norm.beta.numpy())}
        for key, dense in (("up", up), ("down", down)):
            part[key] = {"kernel": weights.add(dense.kernel.numpy()), "bias": weights.add(dense.bias.numpy())}
        parts.append(part)
    write(out, "encoder", model, parts, weights, [1, 4])


if __name__ == "__main__":
    target = sys.argv[1]
    mobilenet(target, 224)
    mobilenet(target, 96)
    encoder(target)
    print(f"{target}: keras {keras.__version__}")
