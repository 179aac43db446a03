"""KServe の物を、KServe と Kubernetes の公式 Python クライアントが OpenAPI から作られた型で調べる。
  kserve_manifests.py FILE…
知らない項目、型の違い、足りない必須の項目を失敗にする。最後の行は「N passed, N failed」。
"""

import importlib
import importlib.util
import pathlib
import re
import sys
import types

import yaml
from kubernetes import client as kubernetes_client

# kserve を丸ごと読み込むと、サーバーの依存まで要る。型の定義だけを読む。
package = types.ModuleType("kserve")
package.__path__ = [str(pathlib.Path(spec)) for spec in importlib.util.find_spec("kserve").submodule_search_locations]
sys.modules["kserve"] = package
models_package = types.ModuleType("kserve.models")
models_package.__path__ = [str(pathlib.Path(path) / "models") for path in package.__path__]
sys.modules["kserve.models"] = models_package


def model(name):
    """型の名前(`V1beta1PredictorSpec`, `V1Container`)から、型の定義を引く。"""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    for path in package.__path__:
        if (pathlib.Path(path) / "models" / f"{snake}.py").exists():
            return getattr(importlib.import_module(f"kserve.models.{snake}"), name)
    return getattr(kubernetes_client, name)


SCALARS = {"str": str, "int": int, "bool": bool, "float": (int, float)}


def problems(value, kind, where):
    if kind == "object" or kind == "IntOrString" or kind == "ResourceQuantity":
        return
    if kind in SCALARS:
        if not isinstance(value, SCALARS[kind]) or (kind == "int" and isinstance(value, bool)):
            yield f"{where}: {value!r} is not {kind}"
        return
    if match := re.fullmatch(r"list\[(.*)\]", kind):
        if not isinstance(value, list):
            yield f"{where}: not a list"
            return
        for i, item in enumerate(value):
            yield from problems(item, match[1], f"{where}[{i}]")
        return
    if match := re.fullmatch(r"dict\(str, (.*)\)", kind):
        for key, item in value.items():
            yield from problems(item, match[1], f"{where}.{key}")
        return
    definition = model(kind.removeprefix("K8sIoApiCoreV1"))
    if not isinstance(value, dict):
        yield f"{where}: not an object"
        return
    known = {json: python for python, json in definition.attribute_map.items()}
    for key, item in value.items():
        if key not in known:
            yield f"{where}.{key}: unknown field"
        else:
            yield from problems(item, definition.openapi_types[known[key]], f"{where}.{key}")
    try:
        definition(**{known[key]: item for key, item in value.items() if key in known})
    except ValueError as error:
        yield f"{where}: {error}"


KINDS = {
    ("serving.kserve.io/v1alpha1", "ClusterServingRuntime"): "V1alpha1ClusterServingRuntime",
    ("serving.kserve.io/v1beta1", "InferenceService"): "V1beta1InferenceService",
}
passed = failed = 0
for file in sys.argv[1:]:
    for document in yaml.safe_load_all(pathlib.Path(file).read_text()):
        kind = KINDS.get((document.get("apiVersion"), document.get("kind")))
        found = [f"not a kind of KServe: {document.get('kind')}"] if kind is None else list(problems(document, kind, kind))
        print(f"{'FAIL' if found else 'ok  '} {file}: {document.get('kind')}", *found, sep="\n     ")
        passed, failed = passed + (not found), failed + bool(found)
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0 or passed == 0)
