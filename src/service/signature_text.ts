import { DataType } from "../gen/tensorflow/core/framework/types_pb.ts";
import type { Signature, TensorInfo } from "../tensor/signature.ts";

/** バイト順に並べて `,` でつなぐ。エラー文に名前の集合を書くときの形。 */
export function joinNames(names: Iterable<string>): string {
  return [...names]
    .map((name) => Buffer.from(name))
    .sort(Buffer.compare)
    .map(String)
    .join(",");
}

function formatInfo(field: string, alias: string, info: TensorInfo): string {
  const dims = (info.shape ?? [])
    .map((size) => `      dim {\n${size === 0 ? "" : `        size: ${size}\n`}      }\n`)
    .join("");
  const shape = info.shape === undefined ? "      unknown_rank: true\n" : dims;
  return (
    `${field} {\n  key: ${JSON.stringify(alias)}\n  value {\n    name: ${JSON.stringify(info.name)}\n` +
    `    dtype: ${DataType[info.wireDType] ?? info.wireDType}\n    tensor_shape {\n${shape}    }\n  }\n}\n`
  );
}

/** protobuf のデバッグ表示に似せたシグネチャの文面。エラー文の末尾に付くだけで、形は約束しない。 */
export function formatSignature({ inputs, outputs, methodName }: Signature): string {
  return (
    [...inputs].map(([alias, info]) => formatInfo("inputs", alias, info)).join("") +
    [...outputs].map(([alias, info]) => formatInfo("outputs", alias, info)).join("") +
    (methodName === "" ? "" : `method_name: ${JSON.stringify(methodName)}\n`)
  );
}
