"""TensorFlow の演算登録簿から src/graph/op_defs_data.ts を作る。

使い方: python scripts/generate_op_defs.py(tensorflow の入った Python で)

残すのは事実だけ: 入出力の引数名と型の決まり方、属性の既定値、副作用の有無。1 行 1 演算の
テキストにして gzip + base64 で持つ(読み方は src/graph/op_defs.ts)。
"""

import base64
import gzip
import json
import pathlib

import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session


def arg(a):
    """`name:T`, `name:=1`(固定の型), `name:N*T`, `name:@Tin`(型の列)。参照型は末尾に `&`。"""
    if a.type_list_attr:
        kind = "@" + a.type_list_attr
    else:
        kind = a.type_attr if a.type_attr else "=%d" % a.type
        if a.number_attr:
            kind = a.number_attr + "*" + kind
    return "%s:%s%s" % (a.name, kind, "&" if a.is_ref else "")


def shape(s):
    return None if s.unknown_rank else [d.size for d in s.dim]


def text(b):
    return b.decode("latin-1")


def number(f):
    return f if f == f and abs(f) != float("inf") else str(f)


def value(kind, v):
    if kind.startswith("list("):
        inner = kind[5:-1]
        field = {"string": "s", "int": "i", "float": "f", "bool": "b", "type": "type", "shape": "shape"}.get(inner)
        if field is None:
            assert not v.list.func, v
            return []
        return [scalar(inner, x) for x in getattr(v.list, field)]
    field = {"string": "s", "int": "i", "float": "f", "bool": "b", "type": "type", "shape": "shape"}.get(kind)
    if field is None:
        assert kind == "func", (kind, v)
        return v.func.name
    return scalar(kind, getattr(v, field))


def scalar(kind, x):
    return {"string": text, "shape": shape, "float": number}.get(kind, lambda y: y)(x)


def main():
    ops = op_def_pb2.OpList()
    ops.ParseFromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    lines = []
    for op in sorted(ops.op, key=lambda o: o.name):
        # tensor 型の既定値を持つのは推論に現れない ImageSummary だけなので、既定値なしとして扱う。
        given = [a for a in op.attr if a.HasField("default_value") and "tensor" not in a.type]
        defaults = {a.name: [a.type, value(a.type, a.default_value)] for a in given}
        row = [[arg(a) for a in op.input_arg], [arg(a) for a in op.output_arg], defaults, int(op.is_stateful)]
        lines.append(op.name + "\t" + json.dumps(row, separators=(",", ":"), ensure_ascii=True))
    packed = base64.b64encode(gzip.compress("\n".join(lines).encode(), 9, mtime=0)).decode()
    target = pathlib.Path(__file__).parent.parent / "src/graph/op_defs_data.ts"
    target.write_text(
        "// scripts/generate_op_defs.py の生成物。手では直さない。TensorFlow %s の %d 演算。\n"
        "/** 1 行 1 演算のテキストを gzip し base64 にしたもの。 */\n"
        'export const PACKED_OP_DEFS =\n  "%s";\n' % (tf.__version__, len(lines), packed)
    )
    print(len(lines), "ops,", len(packed), "characters")


main()
