import type { JsonInput, JsonOutput } from "../client/json_text.ts";
import { allocate, lanesOf } from "../tensor/dtype.ts";
import type { Signature, TensorInfo } from "../tensor/signature.ts";
import { type Shape, sizeOf, type Tensor, type TensorMap, tensor } from "../tensor/tensor.ts";
import { UsageError } from "./command.ts";

/** 先頭の未知の次元は `rows`、ほかの未知の次元は 1。 */
function sampleShape({ shape }: TensorInfo, rows: number): Shape {
  return (shape ?? []).map((dim, axis) => (dim >= 0 ? dim : axis === 0 ? rows : 1));
}

function sampleTensor(info: TensorInfo, rows: number): Tensor {
  const { dtype } = info;
  if (dtype === undefined) throw new UsageError("the signature has an input without values: give --data");
  const shape = sampleShape(info, rows);
  const data = allocate(dtype, sizeOf(shape));
  if (Array.isArray(data)) data.fill(new TextEncoder().encode("sample"));
  else if (data instanceof BigInt64Array || data instanceof BigUint64Array) data.fill(1n);
  else if (dtype === "float" || dtype === "double" || dtype === "half" || dtype === "bfloat16") {
    // 0 や 1 ばかりでは計算を省くカーネルもある。どの半精度でも表せる、繰り返す値。
    for (let i = 0; i < data.length; i++) data[i] = (i % 8) / 8;
  } else data.fill(1);
  return tensor(dtype, shape, data);
}

/** 型と形だけから作る見本。 */
export function sampleInputs({ inputs }: Signature, rows: number): TensorMap {
  return new Map([...inputs].map(([alias, info]) => [alias, sampleTensor(info, rows)]));
}

const strict = new TextDecoder("utf-8", { fatal: true });

/** UTF-8 でないバイト列は、そのまま(JSON では `{"b64": …}`)にする。 */
function textOf(bytes: Uint8Array): string | Uint8Array {
  try {
    return strict.decode(bytes);
  } catch {
    return bytes;
  }
}

/** 単精度に戻すと同じ値になる、いちばん短い十進。倍精度のまま書くと、無い桁まで見える。 */
function shortest(value: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const rounded = Number(value.toPrecision(digits));
    if (Math.fround(rounded) === value) return rounded;
  }
  return Number.isFinite(value) ? Number(value.toPrecision(9)) : value;
}

function nest(value: Tensor, axis: number, from: number, to: number): JsonInput {
  const { data, shape } = value;
  if (axis === shape.length) {
    const item = data[from]!;
    if (item instanceof Uint8Array) return textOf(item);
    if (value.dtype === "float" && typeof item === "number") return shortest(item);
    return value.dtype === "bool" ? item !== 0 : item;
  }
  const step = (to - from) / shape[axis]!;
  return Array.from({ length: shape[axis]! }, (_, i) =>
    nest(value, axis + 1, from + i * step, from + (i + 1) * step),
  );
}

/**
 * 別名 → 入れ子の配列。
 *
 * @throws UsageError JSON に書けない型がある。
 */
export function toJsonColumns(tensors: TensorMap): { readonly [alias: string]: JsonInput } {
  return Object.fromEntries(
    [...tensors].map(([alias, value]) => {
      if (lanesOf(value.dtype) > 1) throw new UsageError(`JSON cannot carry ${alias}: ${value.dtype}`);
      return [alias, nest(value, 0, 0, sizeOf(value.shape))];
    }),
  );
}

/** REST の本文。先頭の次元がどれも同じなら行形式、そうでなければ列形式。 */
export function toRestBody(inputs: TensorMap): { readonly [key: string]: JsonInput } {
  const columns = toJsonColumns(inputs);
  const [first] = inputs.values();
  const rows = first?.shape[0];
  if (rows === undefined || [...inputs.values()].some(({ shape }) => shape[0] !== rows)) {
    return { inputs: columns };
  }
  const nested = Object.entries(columns);
  if (nested.length === 1) return { instances: nested[0]![1] };
  return {
    instances: Array.from({ length: rows }, (_, i) =>
      Object.fromEntries(nested.map(([alias, value]) => [alias, (value as readonly JsonInput[])[i]!])),
    ),
  };
}

type JsonObject = { readonly [key: string]: JsonOutput };

const isObject = (value: JsonOutput | undefined): value is { [key: string]: JsonOutput } =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isBytes = (value: JsonOutput): value is { b64: string } =>
  isObject(value) && typeof value["b64"] === "string" && Object.keys(value).length === 1;

/** 入れ子の配列を、形と 1 列の値にする。 */
function flatten(value: JsonOutput, alias: string): { readonly shape: Shape; readonly items: JsonOutput[] } {
  const shape: number[] = [];
  for (let at = value; Array.isArray(at); at = at[0]!) {
    shape.push(at.length);
    if (at.length === 0) break;
  }
  const items: JsonOutput[] = [];
  const walk = (node: JsonOutput, axis: number): void => {
    if (axis === shape.length) items.push(node);
    else if (!Array.isArray(node) || node.length !== shape[axis]) {
      throw new UsageError(`input ${alias} is not rectangular`);
    } else for (const child of node) walk(child, axis + 1);
  };
  walk(value, 0);
  return { shape, items };
}

function toTensor(alias: string, { dtype }: TensorInfo, value: JsonOutput): Tensor {
  if (dtype === undefined) throw new UsageError(`input ${alias} has no values`);
  const { shape, items } = flatten(value, alias);
  const data = allocate(dtype, items.length);
  for (const [i, item] of items.entries()) {
    if (Array.isArray(data)) {
      if (isBytes(item)) data[i] = new Uint8Array(Buffer.from(item.b64, "base64"));
      else if (typeof item === "string") data[i] = new TextEncoder().encode(item);
      else throw new UsageError(`input ${alias} takes strings`);
    } else if (typeof item !== "number" && typeof item !== "bigint" && typeof item !== "boolean") {
      throw new UsageError(`input ${alias} takes ${dtype} values`);
    } else if (data instanceof BigInt64Array || data instanceof BigUint64Array) data[i] = BigInt(item);
    else data[i] = Number(item);
  }
  return tensor(dtype, shape, data);
}

/**
 * TF Serving の JSON の本文を、gRPC で送るテンソルにする。
 *
 * @throws UsageError 本文の形が違うか、シグネチャに無い入力。
 */
export function inputsOfBody(body: JsonObject, { inputs }: Signature): TensorMap {
  const names = [...inputs.keys()];
  const { instances, inputs: columns } = body;
  const isNamed = (value: JsonOutput | undefined): value is { [key: string]: JsonOutput } =>
    isObject(value) && !isBytes(value);
  let byAlias: JsonObject;
  if (Array.isArray(instances)) {
    const rows = instances;
    byAlias = isNamed(rows[0])
      ? Object.fromEntries(
          Object.keys(rows[0]).map((alias) => [
            alias,
            rows.map((row) => {
              const value = isNamed(row) ? row[alias] : undefined;
              if (value === undefined) throw new UsageError(`an instance has no ${alias}`);
              return value;
            }),
          ]),
        )
      : { [names[0] ?? ""]: rows };
  } else if (columns !== undefined) byAlias = isNamed(columns) ? columns : { [names[0] ?? ""]: columns };
  else throw new UsageError('the data has neither "instances" nor "inputs"');
  return new Map(
    Object.entries(byAlias).map(([alias, value]) => {
      const info = inputs.get(alias);
      if (info === undefined) {
        throw new UsageError(`the signature has no input ${alias}; it has ${names.join(", ")}`);
      }
      return [alias, toTensor(alias, info, value)];
    }),
  );
}
