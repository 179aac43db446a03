"""Runs TensorFlow Serving's own tensorflow_model_server_test.py against another server binary.

usage: upstream_suite.py CHECKOUT BINARY [TEST ...]
CHECKOUT is a work tree of tensorflow/serving. Nothing in it is written.
"""

import os
import sys
import tempfile
import unittest

# Named with the reason in docs/compatibility.md.
OUT_OF_SCOPE = {
    "testPredictOnTfLite": "TensorFlow Lite models",
    "testPredictWithSignatureDefOnTfLite": "TensorFlow Lite models",
    "test_tf_text": "TensorFlow Text's custom ops",
    "test_profiler_service_with_valid_trace_request": "TensorFlow's profiler",
}


def main():
    checkout, binary, *only = sys.argv[1:]
    upstream = os.path.join(os.path.abspath(checkout), "tensorflow_serving")
    source_dir = tempfile.mkdtemp(prefix="upstream-suite-")
    tree = os.path.join(source_dir, "tf_serving", "tensorflow_serving")
    os.makedirs(os.path.join(tree, "model_servers"))
    for name in os.listdir(upstream):
        if name != "model_servers":
            os.symlink(os.path.join(upstream, name), os.path.join(tree, name))
    for name in os.listdir(os.path.join(upstream, "model_servers")):
        os.symlink(os.path.join(upstream, "model_servers", name), os.path.join(tree, "model_servers", name))
    os.symlink(os.path.abspath(binary), os.path.join(tree, "model_servers", "tensorflow_model_server"))
    os.environ["TEST_SRCDIR"] = source_dir
    # The Keras tests were written for Keras 2, whose exports keep the layers' names as aliases.
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    sys.argv = [sys.argv[0], f"--test_tmpdir={tempfile.mkdtemp(prefix='upstream-suite-')}"]

    import tensorflow.compat.v1 as tf
    import tensorflow_serving

    # The messages come from PyPI, the test helpers from the checkout.
    tensorflow_serving.__path__.append(upstream)
    import importlib.util

    path = os.path.join(upstream, "model_servers", "tensorflow_model_server_test.py")
    spec = importlib.util.spec_from_file_location("tensorflow_model_server_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tf.flags.FLAGS(sys.argv)

    case = module.TensorflowModelServerTest
    names = [n for n in unittest.defaultTestLoader.getTestCaseNames(case) if n.startswith("test") and n != "test_session"]
    wanted = [n for n in names if (n in only if only else n not in OUT_OF_SCOPE)]
    for name in names:
        if name in OUT_OF_SCOPE and not only:
            print(f"not run: {name}: {OUT_OF_SCOPE[name]}")
    result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(case(n) for n in wanted))
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    passed = result.testsRun - failed - len(result.skipped)
    print(f"{passed} of {len(wanted)}")
    print(f"{passed} passed, {len(wanted) - passed} failed")
    sys.exit(0 if passed == len(wanted) and passed else 1)


main()
