"""TensorFlow の配布物に試験用として入っているモデルと同じ性質のものを、手元の TensorFlow で書く。

使い方: python scripts/testdata_models.py 出力先

名前は tensorflow/tensorflow の testdata のディレクトリ名。配布物の写しが手に入らない所で、
scripts/testdata.ts がこの出力を代わりに読む。
"""

import os
import shutil
import subprocess
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import tensorflow as tf  # noqa: E402
from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402

v1 = tf.compat.v1
MODELS = {}
SCALAR = tf.TensorSpec([], tf.float32)


def model(name):
    def register(build):
        MODELS[name] = build
        return build

    return register


# ---------------------------------------------------------------------------------------------
# TF1: half_plus_two の 5 つの姿


def half_plus_two(path, style, sharded=False):
    """y = 0.5 x + 2、y2 = 0.5 x + 3。Example からも、テンソルからも。"""
    graph = tf.Graph()
    with graph.as_default(), v1.Session(graph=graph) as session:
        v1.disable_resource_variables()
        if style == "v2":
            v1.enable_resource_variables()
        a = v1.get_variable("a", [], initializer=v1.constant_initializer(0.5), use_resource=style == "v2")
        b = v1.get_variable("b", [], initializer=v1.constant_initializer(2.0), use_resource=style == "v2")
        c = v1.get_variable("c", [], initializer=v1.constant_initializer(3.0), use_resource=style == "v2")
        serialized = v1.placeholder(tf.string, name="tf_example")
        parsed = v1.parse_example(serialized, {
            "x": v1.FixedLenFeature([1], tf.float32), "x2": v1.FixedLenFeature([1], tf.float32, [0.0]),
        })
        x, x2 = tf.identity(parsed["x"], "x"), tf.identity(parsed["x2"], "x2")
        y, y2, y3 = tf.add(a * x, b, "y"), tf.add(a * x, c, "y2"), tf.add(a * x2, c, "y3")
        asset = os.path.join(os.path.dirname(path), "foo.txt")
        os.makedirs(os.path.dirname(asset), exist_ok=True)
        with open(asset, "w") as file:
            file.write("asset-file-contents")
        filename = tf.constant(asset, name="original_filename_tensor")
        v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, filename)
        with tf.control_dependencies([]):
            target = v1.get_variable("filename_tensor", initializer="", use_resource=False, trainable=False, collections=[])
            assign = target.assign(filename)
        session.run([v1.global_variables_initializer(), target.initializer])
        info = v1.saved_model.build_tensor_info
        define = v1.saved_model.signature_def_utils
        example = {"inputs": info(serialized)}
        build = define.build_signature_def
        signatures = {
            "regress_x_to_y": build(example, {"outputs": info(y)}, "tensorflow/serving/regress"),
            "regress_x_to_y2": build(example, {"outputs": info(y2)}, "tensorflow/serving/regress"),
            "regress_x2_to_y3": build({"inputs": info(x2)}, {"outputs": info(y3)}, "tensorflow/serving/regress"),
            "classify_x_to_y": build(example, {"scores": info(y)}, "tensorflow/serving/classify"),
            "serving_default": build({"x": info(x)}, {"y": info(y)}, "tensorflow/serving/predict"),
        }
        # Saver を先に作ると、書き手はそれを使う。
        saver = v1.train.Saver([a, b, c], sharded=sharded)
        builder = v1.saved_model.Builder(path)
        init = {"main_op": assign.op} if style == "main_op" else {"legacy_init_op": assign.op}
        builder.add_meta_graph_and_variables(
            session, ["serve"], signatures, assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS), saver=saver, **init)
        builder.save(as_text=style == "pbtxt")


for style in ("plain", "main_op", "v2", "pbtxt"):
    name = "half_plus_two" if style == "plain" else f"half_plus_two_{style}"
    model(name)(lambda path, style=style: half_plus_two(path, style))
model("half_plus_two_sharded")(lambda path: half_plus_two(path, "plain", sharded=True))


@model("SimpleV1Model")
def simple_v1(path):
    graph = tf.Graph()
    with graph.as_default(), v1.Session(graph=graph) as session:
        v1.get_variable("v", initializer=1.0)
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(path)
        builder.add_meta_graph_and_variables(session, ["serve"])
        builder.save()


@model("control_flow_v1")
def control_flow_v1(path):
    v1.disable_control_flow_v2()
    graph = tf.Graph()
    with graph.as_default(), v1.Session(graph=graph) as session:
        x = v1.placeholder(tf.float32, [], name="x")
        y = v1.cond(x > 0, lambda: x * 2, lambda: x - 1)
        v1.saved_model.simple_save(session, path, {"x": x}, {"y": y})
    v1.enable_control_flow_v2()


# ---------------------------------------------------------------------------------------------
# TF2


@model("x_plus_y_v2_debuginfo")
def x_plus_y(path):
    module = tf.Module()

    @tf.function(input_signature=[SCALAR, SCALAR])
    def inner(x, y):
        return x + y

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "x"), tf.TensorSpec([], tf.float32, "y")])
    def call(x, y):
        return {"output_0": inner(x, y)}

    module.call = call
    tf.saved_model.save(module, path, call, options=tf.saved_model.SaveOptions(save_debug_info=True))


class VarsAndArithmetic(tf.Module):
    def __init__(self):
        super().__init__()
        self.x, self.y = tf.Variable(1.0), tf.Variable(2.0)
        self.child = tf.Module()
        self.child.z = tf.Variable(3.0)
        self.child.c = tf.convert_to_tensor(5.0)

    @tf.function(input_signature=[SCALAR, SCALAR])
    def compute(self, a, b):
        return (a + self.x) * (b + self.y) / self.child.z + self.child.c


@model("VarsAndArithmeticObjectGraph")
def vars_and_arithmetic(path):
    tf.saved_model.save(VarsAndArithmetic(), path)


@model("CyclicModule")
def cyclic(path):
    parent, child = tf.Module(), tf.Module()
    child.parent, child.my_variable, parent.child = parent, tf.Variable(3.0), child
    tf.saved_model.save(parent, path)


@model("AssetModule")
def asset(path):
    source = f"{path}.txt"
    with open(source, "w") as file:
        file.write("TEST ASSET FILE CONTENTS")
    module = tf.Module()
    module.asset = tf.saved_model.Asset(source)
    module.read_file = tf.function(lambda: tf.io.read_file(module.asset), input_signature=[])
    tf.saved_model.save(module, path)


@model("StaticHashTableModule")
def static_hash_table(path):
    source = f"{path}.txt"
    with open(source, "w") as file:
        file.write("foo\nbar\nbaz\nwombat\n")
    module = tf.Module()
    index = tf.lookup.TextFileIndex
    module.asset = tf.saved_model.Asset(source)
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(module.asset, tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER), -1)
    module.lookup = tf.function(module.table.lookup, input_signature=[tf.TensorSpec(None, tf.string)])
    tf.saved_model.save(module, path)


@model("UninitializedVariable")
def uninitialized(path):
    module = tf.Module()
    module.uninitialized = tf.Variable(tf.zeros([]), name="later")
    module.initialized = tf.Variable(7.0)
    read = tf.function(lambda: module.uninitialized + 0.0, input_signature=[])
    module.read = read
    module.known = tf.function(lambda: module.initialized + 0.0, input_signature=[])
    tf.saved_model.save(module, path, {"serving_default": module.read, "known": module.known})
    # 鍵を索引から抜く代わりに、復元の名前を無い鍵に書き換える。
    edit(path, lambda text: text.replace(b"uninitialized/.ATTRIBUTES", b"uninitialized/.ATTRIBUTEZ"))


@model("SimpleWhileLoop")
def simple_while(path):
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "n")])
    def compute(n):
        return {"output": tf.while_loop(lambda x: x < 10.0, lambda x: x * 2.0, [n])[0]}

    module.compute = compute
    tf.saved_model.save(module, path)


@model("OptimizerSlotVariableModule")
def optimizer_slots(path):
    module = tf.Module()
    module.v = tf.Variable(1.0)
    module.optimizer = tf.train.Checkpoint(momentum=tf.Variable(0.25), step=tf.Variable(3, dtype=tf.int64))
    tf.saved_model.save(module, path)


@model("data-structure-model")
def data_structures(path):
    module = tf.Module()
    module.items = [tf.Variable(1.0), {"a": tf.Variable(2.0), "b": (tf.Variable(3.0),)}]
    tf.saved_model.save(module, path)


# ---------------------------------------------------------------------------------------------
# 壊れたもの、動かせないもの


def edit(path, change):
    target = os.path.join(path, "saved_model.pb")
    with open(target, "rb") as file:
        data = file.read()
    with open(target, "wb") as file:
        file.write(change(data))


def edit_graph(path, change):
    def apply(data):
        proto = saved_model_pb2.SavedModel.FromString(data)
        change(proto.meta_graphs[0].graph_def)
        return proto.SerializeToString()

    edit(path, apply)


def node_of(graph, op):
    return next(node for node in graph.node if node.op == op)


@model("fuzz_generated/bad_node_attr")
def bad_node_attr(path):
    half_plus_two(path, "plain")
    edit_graph(path, lambda graph: node_of(graph, "VariableV2").attr["dtype"].CopyFrom(v1.AttrValue(b=True)))


@model("fuzz_generated/const_with_no_value")
def const_with_no_value(path):
    half_plus_two(path, "plain")

    def change(graph):
        for node in graph.node:
            if node.op == "Const":
                del node.attr["value"]

    edit_graph(path, change)


@model("fuzz_generated/negative_shape")
def negative_shape(path):
    half_plus_two(path, "plain")
    edit_graph(path, lambda graph: setattr(node_of(graph, "Const").attr["value"].tensor.tensor_shape.dim.add(), "size", -1))


@model("tftrt_2.0")
def tensorrt(path):
    """計算を TensorRT のエンジンに置き換えたもの。このサーバーでは動かない。"""
    half_plus_two(path, "plain", sharded=True)

    def change(graph):
        node = next(node for node in graph.node if node.name == "y")
        node.op = "TRTEngineOp"
        node.attr.clear()
        node.attr["InT"].list.type.extend([1, 1])
        node.attr["OutT"].list.type.append(1)

    edit_graph(path, change)


@model("bert1")
def bert(path):
    """関数の多い大きなグラフ。変数のファイルは無い。"""
    module = tf.Module()
    module.tables = [tf.Variable(tf.ones([8, 4])) for _ in range(46)]

    def step(i):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 4], tf.float32)])
        def inner(ids, x):
            return x + tf.gather(module.tables[i], ids)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 4], tf.float32)])
        def outer(ids, x):
            return tf.nn.relu(inner(ids, x))

        return outer

    steps = [step(i) for i in range(46)]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, "ids")])
    def call(ids):
        x = tf.zeros([tf.size(ids), 4])
        for one in steps:
            x = one(ids, x)
        return {"output": x}

    module.call = call
    tf.saved_model.save(module, path, call)
    shutil.rmtree(os.path.join(path, "variables"))


def main():
    out = sys.argv[1]
    if len(sys.argv) > 2:
        MODELS[sys.argv[2]](os.path.join(out, sys.argv[2]))
        return
    # TF1 と TF2 の切り替えはプロセスに残るので、1 つずつ別に走らせる。
    shutil.rmtree(out, ignore_errors=True)
    for name in MODELS:
        subprocess.run([sys.executable, __file__, out, name], check=True)
        print(name, flush=True)


if __name__ == "__main__":
    main()
