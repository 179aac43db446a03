"""Real TensorFlow loads the exported SavedModel in every way it can, and computes what we compute.

usage: tensorflow_loads_export.py MODEL_DIRECTORY OUTPUTS_JSON

OUTPUTS_JSON holds our own results: {"inputs": [[…4]…], "outputs": [[…3]…], "labels": […], "variables": {name: nested list}}.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
import numpy as np
import tensorflow as tf
from report import Report

directory = sys.argv[1]
with open(sys.argv[2]) as file:
    ours = json.load(file)
ROWS = np.array(ours["inputs"], np.float32)
EXPECTED = np.array(ours["outputs"])
LABELS = [label.encode() for label in ours["labels"]]
FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
TOLERANCE = 1e-6
report = Report()
print(f"TensorFlow {tf.__version__}", flush=True)


def close(actual, expected=EXPECTED):
    actual = np.asarray(actual)
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    worst = float(np.abs(actual - expected).max())
    assert worst <= TOLERANCE, f"largest difference {worst}"


def example(row):
    feature = {k: tf.train.Feature(float_list=tf.train.FloatList(value=[v])) for k, v in zip(FEATURES, row)}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


EXAMPLES = [example(row) for row in ROWS]


def check_object(loaded, what):
    with report.check(f"{what}: signatures"):
        assert sorted(loaded.signatures) == ["classify", "serving_default"], list(loaded.signatures)
        signature = loaded.signatures["serving_default"]
        _, keywords = signature.structured_input_signature
        assert keywords["input"].shape.as_list() == [None, 4] and keywords["input"].dtype == tf.float32, keywords
        output = signature.structured_outputs["output"]
        assert output.shape.as_list() == [None, 3] and output.dtype == tf.float32, output
    with report.check(f"{what}: serving_default over {len(ROWS)} rows"):
        close(loaded.signatures["serving_default"](input=tf.constant(ROWS))["output"])
    with report.check(f"{what}: serving_default called positionally, one row"):
        close(loaded.signatures["serving_default"](tf.constant(ROWS[:1]))["output"], EXPECTED[:1])
    with report.check(f"{what}: classify over {len(ROWS)} rows"):
        result = loaded.signatures["classify"](inputs=tf.constant(EXAMPLES))
        assert sorted(result) == ["classes", "scores"], list(result)
        close(result["scores"])
        assert result["classes"].numpy().tolist() == [LABELS] * len(ROWS)
    with report.check(f"{what}: classify refuses an Example without a feature"):
        bad = tf.train.Example()
        bad.ParseFromString(EXAMPLES[0])
        del bad.features.feature["petal_width"]
        try:
            loaded.signatures["classify"](inputs=tf.constant([bad.SerializeToString()]))
        except tf.errors.InvalidArgumentError as error:
            assert "petal_width" in str(error), error
        else:
            raise AssertionError("accepted")


def check_serve(loaded, what):
    with report.check(f"{what}: serve"):
        close(loaded.serve(tf.constant(ROWS)))
        close(loaded.serve(input=tf.constant(ROWS[:7])), EXPECTED[:7])


def check_variables(loaded, what):
    with report.check(f"{what}: four trainable variables with our values"):
        variables = {variable.name.split(":")[0]: variable for variable in loaded.variables}
        assert list(variables) == list(ours["variables"]), list(variables)
        for name, value in ours["variables"].items():
            assert variables[name].trainable, name
            np.testing.assert_array_equal(variables[name].numpy(), np.array(value, np.float32))


loaded = None
with report.check("tf.saved_model.load"):
    loaded = tf.saved_model.load(directory)
if loaded is None:
    report.finish()
check_object(loaded, "loaded")
check_serve(loaded, "loaded")
check_variables(loaded, "loaded")

with report.check("gradients reach the four variables"):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(loaded.serve(tf.constant(ROWS[100:107]))[:, 2])
    gradients = tape.gradient(loss, list(loaded.variables))
    assert all(gradient is not None for gradient in gradients)
    assert all(gradient.shape == variable.shape for gradient, variable in zip(gradients, loaded.variables))

with tempfile.TemporaryDirectory() as scratch:
    again = None
    with report.check("tf.saved_model.save of the loaded object, and load of that"):
        path = os.path.join(scratch, "again")
        tf.saved_model.save(loaded, path, signatures=dict(loaded.signatures))
        again = tf.saved_model.load(path)
    if again is not None:
        check_object(again, "saved again")
        check_serve(again, "saved again")
        check_variables(again, "saved again")

    with report.check("tf.saved_model.save without naming signatures"):
        path = os.path.join(scratch, "plain")
        tf.saved_model.save(loaded, path)
        plain = tf.saved_model.load(path)  # functions hold their variables weakly: keep the object
        close(plain.serve(tf.constant(ROWS)))

with report.check("tf.train.load_checkpoint reads every tensor"):
    reader = tf.train.load_checkpoint(os.path.join(directory, "variables", "variables"))
    keys = sorted(reader.get_variable_to_shape_map())
    expected = [f"variables/{i}/.ATTRIBUTES/VARIABLE_VALUE" for i in range(len(ours["variables"]))]
    assert keys == sorted(["_CHECKPOINTABLE_OBJECT_GRAPH", *expected]), keys
    for key, value in zip(expected, ours["variables"].values()):
        np.testing.assert_array_equal(reader.get_tensor(key), np.array(value, np.float32))

with report.check("compat.v1 loader: restore, init op, tensor names"):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], directory)
        signature = meta.signature_def["serving_default"]
        assert signature.inputs["input"].name == "serving_default_input:0", signature
        assert signature.outputs["output"].name == "StatefulPartitionedCall:0", signature
        assert signature.method_name == "tensorflow/serving/predict", signature.method_name
        assert "__saved_model_init_op" not in meta.signature_def
        close(session.run("StatefulPartitionedCall:0", {"serving_default_input:0": ROWS}))
        classify = meta.signature_def["classify"]
        assert classify.method_name == "tensorflow/serving/classify", classify.method_name
        classes, scores = session.run(
            [classify.outputs["classes"].name, classify.outputs["scores"].name],
            {classify.inputs["inputs"].name: EXAMPLES},
        )
        close(scores)
        assert classes.tolist() == [LABELS] * len(ROWS)

with report.check("compat.v1 saver writes what it restored"):
    with tempfile.TemporaryDirectory() as scratch, tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], directory)
        saver = meta.saver_def
        prefix = os.path.join(scratch, "copy")
        session.run(saver.save_tensor_name, {saver.filename_tensor_name: prefix})
        copy = tf.train.load_checkpoint(prefix)
        for index, value in enumerate(ours["variables"].values()):
            key = f"variables/{index}/.ATTRIBUTES/VARIABLE_VALUE"
            np.testing.assert_array_equal(copy.get_tensor(key), np.array(value, np.float32))


def saved_model_cli(*arguments):
    """The command-line tool of the interpreter's own environment."""
    tool = os.path.join(os.path.dirname(sys.executable), "saved_model_cli")
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


with report.check("saved_model_cli show --all"):
    shown = saved_model_cli("show", "--dir", directory, "--all")
    for line in [
        "MetaGraphDef with tag-set: 'serve'", "signature_def['serving_default']:", "signature_def['classify']:",
        "inputs['input'] tensor_info:", "name: serving_default_input:0", "shape: (-1, 4)",
        "outputs['output'] tensor_info:", "name: StatefulPartitionedCall:0", "shape: (-1, 3)", "dtype: DT_FLOAT",
        "Method name is: tensorflow/serving/predict", "Method name is: tensorflow/serving/classify",
        "Function Name: 'serve'",
    ]:
        assert line in shown, f"{line} is not in\n{shown}"

with report.check("saved_model_cli run"):
    pairs = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
    ran = saved_model_cli(
        "run", "--dir", directory, "--tag_set", "serve", "--signature_def", "serving_default",
        "--input_exprs", f"input={pairs}",
    )
    numbers = [float(n) for n in re.findall(r"-?\d+\.\d*(?:e[-+]\d+)?", ran.split("output:")[-1])]
    index = [int(np.where((ROWS == np.array(row, np.float32)).all(1))[0][0]) for row in pairs]
    close(np.array(numbers).reshape(2, 3), EXPECTED[index])

with report.check("saved_model_cli run of classify"):
    text = json.dumps([dict(zip(FEATURES, [[float(v)] for v in ROWS[0]]))])
    ran = saved_model_cli(
        "run", "--dir", directory, "--tag_set", "serve", "--signature_def", "classify",
        "--input_examples", f"inputs={text}",
    )
    assert "b'setosa'" in ran and "b'virginica'" in ran, ran

# TFSMLayer belongs to Keras 3, which TensorFlow brings along from 2.16 on.
if tuple(int(part) for part in tf.__version__.split(".")[:2]) >= (2, 16):
    import keras

    for options in ({}, {"call_endpoint": "serving_default"}):
        name = options.get("call_endpoint", "serve (default)")
        with report.check(f"keras {keras.__version__} TFSMLayer, endpoint {name}, batches of 1, 7 and {len(ROWS)}"):
            layer = keras.layers.TFSMLayer(directory, **options)
            assert len(layer.trainable_variables) == len(ours["variables"]), layer.trainable_variables
            for size in (1, 7, len(ROWS)):
                output = layer(tf.constant(ROWS[:size]))
                close(output["output"] if isinstance(output, dict) else output, EXPECTED[:size])
        with report.check(f"keras {keras.__version__} Sequential around TFSMLayer, endpoint {name}"):
            layers = [keras.Input((4,)), keras.layers.TFSMLayer(directory, **options)]
            if options:
                layers.append(keras.layers.Lambda(lambda outputs: outputs["output"]))
            model = keras.Sequential(layers)
            for size in (1, 7):
                close(model.predict(ROWS[:size], verbose=0), EXPECTED[:size])

report.finish()
