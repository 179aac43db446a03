"""Compares our message definitions with the descriptors of PyPI's tensorflow and tensorflow-serving-api.

usage: proto_descriptors.py IMAGE   (IMAGE: a FileDescriptorSet of proto/, made by `buf build`)
"""

import importlib
import pkgutil
import sys

from google.protobuf import descriptor_pb2
import tensorflow  # noqa: F401  registers TensorFlow's own descriptors
import tensorflow_serving
from google.protobuf import descriptor_pool
from report import Report

# Only in the published package, or only for components that serving does not run.
MISSING_UPSTREAM = ("grpc/", "tensorflow_serving/servables/", "tensorflow_serving/apis/internal/",
                    "tensorflow_serving/config/ssl_config", "tensorflow_serving/config/monitoring_config")


def flatten(proto):
    """{message: {number: (name, type, label, type name, oneof, packed)}}, {enum: {number: name}}"""
    messages, enums = {}, {}

    def enum(prefix, item):
        enums[prefix + item.name] = {(v.number, v.name) for v in item.value}

    def message(prefix, item):
        full = prefix + item.name
        oneofs = [o.name for o in item.oneof_decl]
        messages[full] = {
            f.number: (
                f.name, f.type, f.label, f.type_name,
                oneofs[f.oneof_index] if f.HasField("oneof_index") else None,
            )
            for f in item.field
        }
        for nested in item.nested_type:
            message(full + ".", nested)
        for nested in item.enum_type:
            enum(full + ".", nested)

    prefix = proto.package + "."
    for item in proto.message_type:
        message(prefix, item)
    for item in proto.enum_type:
        enum(prefix, item)
    methods = {
        (prefix + s.name, m.name, m.input_type, m.output_type, m.client_streaming, m.server_streaming)
        for s in proto.service for m in s.method
    }
    return messages, enums, methods


def main():
    ours = descriptor_pb2.FileDescriptorSet()
    with open(sys.argv[1], "rb") as image:
        ours.ParseFromString(image.read())
    for module in pkgutil.walk_packages(tensorflow_serving.__path__, "tensorflow_serving."):
        if module.name.endswith("_pb2"):
            importlib.import_module(module.name)
    for name in ("saved_model", "trackable_object_graph", "tensor_bundle", "fingerprint"):
        importlib.import_module(f"tensorflow.core.protobuf.{name}_pb2")
    importlib.import_module("tensorflow.core.example.example_pb2")

    report = Report()
    pool = descriptor_pool.Default()
    for file in ours.file:
        if file.name.startswith("google/"):
            continue
        if file.name.startswith(MISSING_UPSTREAM):
            continue
        upstream = descriptor_pb2.FileDescriptorProto()
        pool.FindFileByName(file.name).CopyToProto(upstream)
        with report.check(file.name):
            for mine, theirs, what in zip(flatten(file), flatten(upstream), ("message", "enum", "rpc")):
                assert mine == theirs, f"{what}s differ: " + str(
                    {k: (mine.get(k), theirs.get(k)) for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k)}
                    if isinstance(mine, dict) else mine ^ theirs
                )[:2000]
    report.finish()


main()
