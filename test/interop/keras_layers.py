"""Keras 3 の層を、設定を変えて 1 つずつ SavedModel に書き出し、TensorFlow の答えを添える。

使い方: python test/interop/keras_layers.py 出力先 [名前 …]

1 層 = <出力先>/<名前>/1 と <名前>/cases.json(形は zoo と同じ)。keras_layers.ts が読んで比べる。
書き出しを Keras 自身が断るものは飛ばして、理由を言う。
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "zoo"))

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import layers as L  # noqa: E402
from write_zoo import array_to_json  # noqa: E402

rng = np.random.default_rng(1)
img, seq, vec, vol = (8, 8, 3), (6, 4), (5,), (4, 4, 4, 2)
BATCH = 3

C = {}


def add(name, layer, shape, dtype="float32", n=1, gen=None):
    C[name] = (layer, shape, dtype, n, gen)


for d, s in ((1, seq), (2, img), (3, vol)):
    for nm in ("AdaptiveAveragePooling", "AdaptiveMaxPooling"):
        if hasattr(L, f"{nm}{d}D"):
            add(f"{nm}{d}D", lambda nm=nm, d=d: getattr(L, f"{nm}{d}D")(3 if d == 1 else (3,) * d), s)
    for nm in ("AveragePooling", "MaxPooling"):
        add(f"{nm}{d}D", lambda nm=nm, d=d: getattr(L, f"{nm}{d}D")(2, padding="same"), s)
    for nm in ("GlobalAveragePooling", "GlobalMaxPooling"):
        add(f"{nm}{d}D", lambda nm=nm, d=d: getattr(L, f"{nm}{d}D")(), s)
        add(f"{nm}{d}D_keep", lambda nm=nm, d=d: getattr(L, f"{nm}{d}D")(keepdims=True), s)
    for nm in ("Conv",):
        add(f"Conv{d}D", lambda d=d: getattr(L, f"Conv{d}D")(4, 3, padding="same", dilation_rate=2, activation="gelu"), s)
        add(f"Conv{d}D_stride", lambda d=d: getattr(L, f"Conv{d}D")(4, 3, strides=2, activation="swish"), s if d < 3 else (6, 6, 6, 2))
        add(f"Conv{d}DTranspose", lambda d=d: getattr(L, f"Conv{d}DTranspose")(4, 3, strides=2, padding="same", activation="mish"), s)
        add(f"Conv{d}DTranspose_valid", lambda d=d: getattr(L, f"Conv{d}DTranspose")(4, 3, strides=2, padding="valid"), s)
    add(f"Cropping{d}D", lambda d=d: getattr(L, f"Cropping{d}D")(1), s)
    add(f"ZeroPadding{d}D", lambda d=d: getattr(L, f"ZeroPadding{d}D")(1), s)
    add(f"UpSampling{d}D", lambda d=d: getattr(L, f"UpSampling{d}D")(2), s)
    add(f"SpatialDropout{d}D", lambda d=d: getattr(L, f"SpatialDropout{d}D")(0.3), s)
    cs = {1: (3, 8, 4), 2: (3, 6, 6, 2), 3: (2, 4, 4, 4, 2)}[d]
    add(f"ConvLSTM{d}D", lambda d=d: getattr(L, f"ConvLSTM{d}D")(3, 2, return_sequences=True), cs)
for it in ("bilinear", "bicubic", "lanczos3", "lanczos5"):
    add(f"UpSampling2D_{it}", lambda it=it: L.UpSampling2D(2, interpolation=it), img)
    add(f"Resizing_{it}", lambda it=it: L.Resizing(5, 7, interpolation=it), img)
add("Resizing_crop", lambda: L.Resizing(5, 7, crop_to_aspect_ratio=True), img)
add("Resizing_pad", lambda: L.Resizing(5, 7, pad_to_aspect_ratio=True), img)
add("Resizing_area", lambda: L.Resizing(5, 7, interpolation="area"), img)
add("Resizing_antialias", lambda: L.Resizing(5, 7, antialias=True), img)
for a in (
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "softplus",
    "softsign",
    "sigmoid",
    "hard_sigmoid",
    "hard_silu",
    "hard_tanh",
    "hard_shrink",
    "soft_shrink",
    "tanh",
    "tanh_shrink",
    "mish",
    "softmax",
    "log_softmax",
    "log_sigmoid",
    "exponential",
    "linear",
    "glu",
    "sparse_plus",
    "sparse_sigmoid",
    "squareplus",
    "sparsemax",
    "threshold",
):
    add(f"Activation_{a}", lambda a=a: L.Activation(a), (6,))
add("ELU", lambda: L.ELU(0.7), vec)
add("LeakyReLU", lambda: L.LeakyReLU(0.2), vec)
add("ReLU", lambda: L.ReLU(4, 0.1, 0.2), vec)
add("PReLU", lambda: L.PReLU(alpha_initializer="ones"), img)
add("Softmax", lambda: L.Softmax(axis=1), seq)
add("Softmax_multi", lambda: L.Softmax(axis=(1, 2)), seq)
add("ActivityRegularization", lambda: L.ActivityRegularization(0.1), vec)
add("AlphaDropout", lambda: L.AlphaDropout(0.1), vec)
add("GaussianDropout", lambda: L.GaussianDropout(0.1), vec)
add("GaussianNoise", lambda: L.GaussianNoise(0.1), vec)
add("Dropout", lambda: L.Dropout(0.1), vec)
add("Identity", lambda: L.Identity(), vec)
for a in ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract", "Concatenate"):
    add(a, lambda a=a: getattr(L, a)(), vec, n=2)
add("Dot", lambda: L.Dot(axes=(1, 1), normalize=True), seq, n=2)
add("Attention", lambda: L.Attention(use_scale=True), seq, n=2)
add("Attention_concat", lambda: L.Attention(score_mode="concat"), seq, n=2)
add("AdditiveAttention", lambda: L.AdditiveAttention(), seq, n=2)
add("MHA", lambda: L.MultiHeadAttention(2, 3), seq, n=2)
add("MHA_axes", lambda: L.MultiHeadAttention(2, 3, attention_axes=(1, 2)), img, n=2)
add("GQA", lambda: L.GroupQueryAttention(4, 4, 2), seq, n=2)


class Causal(L.Layer):
    def __init__(s):
        super().__init__()
        s.a = L.MultiHeadAttention(2, 3)

    def build(s, shape):
        s.a.build(shape, shape)

    def call(s, x):
        return s.a(x, x, use_causal_mask=True)


add("MHA_causal", lambda: Causal(), seq)
for a in ("BatchNormalization", "LayerNormalization", "RMSNormalization", "UnitNormalization", "Normalization"):
    add(a, lambda a=a: getattr(L, a)() if a != "Normalization" else L.Normalization(mean=[1.0, 2, 3], variance=[1.0, 2, 3]), img)
add("BatchNormalization_3", lambda: L.BatchNormalization(axis=1), img)
add("LayerNormalization_axes", lambda: L.LayerNormalization(axis=(1, 2)), img)
add("GroupNormalization", lambda: L.GroupNormalization(3), img)
add("GroupNormalization1", lambda: L.GroupNormalization(-1), img)
add("Normalization_inv", lambda: L.Normalization(mean=1.0, variance=2.0, invert=True, axis=None), img)
add("SpectralNormalization", lambda: L.SpectralNormalization(L.Dense(4)), vec)
add("Dense_lora", lambda: L.Dense(4, lora_rank=2), vec)
add("EinsumDense", lambda: L.EinsumDense("abc,cd->abd", (None, 7), bias_axes="d"), seq)
add("DepthwiseConv1D", lambda: L.DepthwiseConv1D(3, depth_multiplier=2, padding="same"), seq)
add("DepthwiseConv2D", lambda: L.DepthwiseConv2D(3, strides=2, depth_multiplier=2), img)
add("DepthwiseConv2D_dil", lambda: L.DepthwiseConv2D(3, dilation_rate=2), img)
add("SeparableConv1D", lambda: L.SeparableConv1D(4, 3), seq)
add("SeparableConv2D", lambda: L.SeparableConv2D(4, 3), img)
add("Conv1D_causal", lambda: L.Conv1D(4, 3, padding="causal", dilation_rate=2), seq)
add("Conv2D_groups", lambda: L.Conv2D(6, 3, groups=3), img)
add("Conv2D_first", lambda: L.Conv2D(4, 3, data_format="channels_last"), img)
for q in ("int8", "int4", "float8"):

    def mk(q=q):
        l = L.Dense(4)
        l.build((None, 5))
        l.quantize(q)
        return l

    add(f"Dense_{q}", mk, vec)

    def mke(q=q):
        l = L.EinsumDense("abc,cd->abd", (None, 7))
        l.build((None, 6, 4))
        l.quantize(q)
        return l

    add(f"EinsumDense_{q}", mke, seq)


def emq():
    l = L.Embedding(10, 4)
    l.build((None, 6))
    l.quantize("int8")
    return l


ints = lambda b, s: rng.integers(0, 9, (b, *s)).astype(np.int32)
add("Embedding", lambda: L.Embedding(10, 4), (6,), "int32", gen=ints)
add("Embedding_mask", lambda: keras.Sequential([L.Embedding(10, 4, mask_zero=True), L.LSTM(3)]), (6,), "int32", gen=ints)
add("Embedding_int8", emq, (6,), "int32", gen=ints)
add("ReversibleEmbedding", lambda: L.ReversibleEmbedding(10, 4), (6,), "int32", gen=ints)
for r in ("SimpleRNN", "GRU", "LSTM"):
    add(r, lambda r=r: getattr(L, r)(3, return_sequences=True, go_backwards=True), seq)
    add(r + "_state", lambda r=r: getattr(L, r)(3, return_state=True), seq)
    add(r + "_unroll", lambda r=r: getattr(L, r)(3, unroll=True), seq)
    add("Bi" + r, lambda r=r: L.Bidirectional(getattr(L, r)(3, return_sequences=True), merge_mode="sum"), seq)
    add(r + "Cell_RNN", lambda r=r: L.RNN(getattr(L, r + "Cell")(3)), seq)
    add(r + "_stateful", lambda r=r: getattr(L, r)(3, recurrent_dropout=0.1), seq)
    add(r + "_masked", lambda r=r: keras.Sequential([L.Masking(0.0), getattr(L, r)(3, return_sequences=True)]), seq)
add("GRU_before", lambda: L.GRU(3, reset_after=False), seq)
add("StackedRNN", lambda: L.RNN(L.StackedRNNCells([L.LSTMCell(3), L.GRUCell(4)])), seq)
add("TimeDistributed", lambda: L.TimeDistributed(L.Conv2D(2, 3)), (3, 8, 8, 3))
add("Flatten", lambda: L.Flatten(), img)
add("Permute", lambda: L.Permute((2, 3, 1)), img)
add("Reshape", lambda: L.Reshape((-1, 3)), img)
add("RepeatVector", lambda: L.RepeatVector(3), vec)
add("Masking", lambda: L.Masking(), seq)
add("Lambda", lambda: L.Lambda(lambda x: keras.ops.sin(x) * keras.ops.cumsum(x, axis=-1)), vec)
add("Rescaling", lambda: L.Rescaling(2, [1.0, 2, 3]), img)
add("CenterCrop", lambda: L.CenterCrop(4, 5), img)
add("CenterCrop_up", lambda: L.CenterCrop(12, 12), img)
u8 = lambda b, s: rng.integers(0, 255, (b, *s)).astype(np.float32)
for nm, kw in dict(
    AugMix={},
    AutoContrast={},
    CutMix={},
    Equalization={},
    MixUp={},
    RandAugment={},
    RandomBrightness=dict(factor=0.1),
    RandomColorDegeneration=dict(factor=0.1),
    RandomColorJitter={},
    RandomContrast=dict(factor=0.1),
    RandomCrop=dict(height=4, width=5),
    RandomElasticTransform={},
    RandomErasing={},
    RandomFlip={},
    RandomGaussianBlur={},
    RandomGrayscale={},
    RandomHue=dict(factor=0.1),
    RandomInvert={},
    RandomPerspective={},
    RandomPosterization=dict(factor=3),
    RandomRotation=dict(factor=0.1),
    RandomSaturation=dict(factor=0.3),
    RandomSharpness=dict(factor=0.1),
    RandomShear={},
    RandomTranslation=dict(height_factor=0.1, width_factor=0.1),
    RandomZoom=dict(height_factor=0.1),
    Solarization={},
    ContrastLimitedAdaptiveHistogramEqualization={},
).items():
    if hasattr(L, nm):
        add(nm, lambda nm=nm, kw=kw: getattr(L, nm)(**kw), img, gen=u8)
add(
    "MelSpectrogram",
    lambda: L.MelSpectrogram(num_mel_bins=8, sampling_rate=800, sequence_stride=16, fft_length=64, min_freq=10, max_freq=400),
    (200,),
)
add("STFTSpectrogram", lambda: L.STFTSpectrogram(frame_length=32, frame_step=16, fft_length=64), (200, 1))
add("STFTSpectrogram_img", lambda: L.STFTSpectrogram(mode="real", frame_length=32, frame_step=16, fft_length=64), (200, 1))
strs = lambda b, s: rng.choice(np.array([b"a", b"bb", b"cat dog", b"Zed, the 1st!", b""], object), (b, *s))
add("StringLookup", lambda: L.StringLookup(vocabulary=["a", "bb"], num_oov_indices=2), (4,), "string", gen=strs)
for m in ("one_hot", "multi_hot", "count", "tf_idf"):
    kw = dict(idf_weights=[0.1, 0.2]) if m == "tf_idf" else {}
    add(
        "StringLookup_" + m,
        lambda m=m, kw=kw: L.StringLookup(vocabulary=["a", "bb"], output_mode=m, **kw),
        (4,) if m != "one_hot" else (1,),
        "string",
        gen=strs,
    )
    add(
        "TextVectorization_" + m, lambda m=m, kw=kw: L.TextVectorization(vocabulary=["cat", "zed"], output_mode=m, **kw), (1,), "string", gen=strs
    ) if m != "one_hot" else None
    add(
        "IntegerLookup_" + m,
        lambda m=m, kw=kw: L.IntegerLookup(vocabulary=[3, 7], output_mode=m, **kw),
        (4,) if m != "one_hot" else (1,),
        "int64",
        gen=lambda b, s: rng.integers(0, 9, (b, *s)),
    )
    if m != "tf_idf":
        add("CategoryEncoding_" + m, lambda m=m: L.CategoryEncoding(10, output_mode=m), (4,) if m != "one_hot" else (1,), "int32", gen=ints)
add("StringLookup_inv", lambda: L.StringLookup(vocabulary=["a", "bb"], invert=True), (4,), "int64", gen=lambda b, s: rng.integers(0, 3, (b, *s)))
add("TextVectorization_int", lambda: L.TextVectorization(vocabulary=["cat", "zed"], output_sequence_length=5), (1,), "string", gen=strs)
add("TextVectorization_ngram", lambda: L.TextVectorization(vocabulary=["cat", "cat dog"], ngrams=2), (1,), "string", gen=strs)
add("TextVectorization_char", lambda: L.TextVectorization(vocabulary=["c", "z"], split="character"), (1,), "string", gen=strs)
add(
    "TextVectorization_ragged",
    lambda: L.TextVectorization(vocabulary=["cat", "zed"], standardize="lower", split="whitespace"),
    (1,),
    "string",
    gen=strs,
)
add("Discretization", lambda: L.Discretization([0.0, 0.5, 1]), vec)
add("Discretization_oh", lambda: L.Discretization([0.0, 0.5, 1], output_mode="multi_hot"), vec)
add("Hashing", lambda: L.Hashing(7), (4,), "string", gen=strs)
add("Hashing_salt", lambda: L.Hashing(7, salt=[1, 2]), (4,), "string", gen=strs)
add("Hashing_int", lambda: L.Hashing(7, mask_value=3), (4,), "int64", gen=lambda b, s: rng.integers(0, 9, (b, *s)))
add("HashedCrossing", lambda: L.HashedCrossing(7), (1,), "string", n=2, gen=strs)
add("HashedCrossing_oh", lambda: L.HashedCrossing(7, output_mode="one_hot"), (1,), "string", n=2, gen=strs)


def export(out, name):
    make, shape, dtype, count, generate = C[name]
    home = os.path.join(out, name)
    inputs = [keras.Input(shape, dtype=dtype, name=f"in{i}") for i in range(count)]
    layer = make()
    if isinstance(layer, (L.MultiHeadAttention, L.GroupQueryAttention)):
        output = layer(*inputs)
    else:
        output = layer(inputs if count > 1 else inputs[0])
    keras.Model(inputs, output).export(os.path.join(home, "1"), verbose=False)
    given = [generate(BATCH, shape) if generate else rng.standard_normal((BATCH, *shape)).astype(np.float32) for _ in inputs]
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], os.path.join(home, "1"))
        signature = meta.signature_def["serving_default"]
        keys = sorted(signature.inputs)
        feeds = {signature.inputs[key].name: value for key, value in zip(keys, given)}
        answers = {key: session.run(info.name, feeds) for key, info in signature.outputs.items()}
    case = {
        "signature": "serving_default",
        "inputs": {key: array_to_json(value) for key, value in zip(keys, given)},
        "outputs": {key: array_to_json(value) for key, value in answers.items()},
    }
    with open(os.path.join(home, "cases.json"), "w") as file:
        json.dump({"tags": ["serve"], "rtol": 1e-4, "atol": 1e-4, "cases": [case]}, file)


def main():
    out, names = sys.argv[1], sys.argv[2:] or list(C)
    written = 0
    for name in names:
        try:
            export(out, name)
            written += 1
        except (TypeError, ValueError, AttributeError) as error:
            print(f"{name}: not exportable: {str(error)[:200]!r}", flush=True)
    print(f"{written} of {len(names)} layers written by Keras {keras.__version__}")


if __name__ == "__main__":
    main()
