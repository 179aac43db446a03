import { describe, expect, test } from "bun:test";
import { create } from "@bufbuild/protobuf";
import { StatusError } from "../../src/base/status.ts";
import { type AttrValue, AttrValueSchema } from "../../src/gen/tensorflow/core/framework/attr_value_pb.ts";
import { NodeAttrs } from "../../src/graph/attrs.ts";
import { findOpDefinition } from "../../src/graph/op_defs.ts";
import type { OpNode, OpRow } from "../../src/graph/ops/registry.ts";
import { Value } from "../../src/graph/value.ts";
import { allocate, type DType, type TypedArray } from "../../src/tensor/dtype.ts";
import { sizeOf, type Tensor, tensor } from "../../src/tensor/tensor.ts";

interface JsonTensor {
  readonly dtype: DType;
  readonly shape: number[];
  readonly data: (number | string)[];
}

type JsonShape = number[] | null;

interface JsonAttr {
  readonly i?: string;
  readonly f?: number;
  readonly b?: boolean;
  readonly s?: string;
  readonly type?: number;
  readonly shape?: JsonShape;
  readonly list?: {
    readonly i: string[];
    readonly f: number[];
    readonly b: boolean[];
    readonly s: string[];
    readonly type: number[];
    readonly shape: JsonShape[];
  };
}

/** TensorFlow に計算させた 1 例。`close` があれば浮動小数はその相対誤差まで許す。 */
interface OpCase {
  readonly op: string;
  readonly attrs: Record<string, JsonAttr>;
  readonly inputs: JsonTensor[];
  readonly outputs?: JsonTensor[];
  readonly error?: { readonly code: number; readonly message: string };
  readonly close?: number;
}

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));
const wide = new Set<DType>(["int64", "uint64"]);
const specials: Record<string, number> = { nan: Number.NaN, inf: Infinity, "-inf": -Infinity };

export function readTensor({ dtype, shape, data }: JsonTensor): Tensor {
  if (dtype === "string") {
    return tensor(
      "string",
      shape,
      data.map((text) => latin1(String(text))),
    );
  }
  const out = allocate(dtype, sizeOf(shape)) as TypedArray;
  data.forEach((item, i) => {
    out[i] = wide.has(dtype) ? BigInt(item) : (specials[item] ?? Number(item));
  });
  return tensor(dtype, shape, out as never);
}

function writeTensor({ dtype, shape, data }: Tensor): JsonTensor {
  const items = Array.isArray(data)
    ? data.map((bytes) => Buffer.from(bytes).toString("latin1"))
    : Array.from(data as ArrayLike<number | bigint>, (item) => (typeof item === "bigint" ? `${item}` : item));
  return { dtype, shape: [...shape], data: items };
}

const toShape = (shape: JsonShape) =>
  shape === null ? { unknownRank: true } : { dim: shape.map((size) => ({ size: BigInt(size) })) };

function readAttr(attr: JsonAttr): AttrValue {
  const value = ((): Parameters<typeof create<typeof AttrValueSchema>>[1] => {
    if (attr.i !== undefined) return { value: { case: "i", value: BigInt(attr.i) } };
    if (attr.f !== undefined) return { value: { case: "f", value: attr.f } };
    if (attr.b !== undefined) return { value: { case: "b", value: attr.b } };
    if (attr.s !== undefined) return { value: { case: "s", value: latin1(attr.s) } };
    if (attr.type !== undefined) return { value: { case: "type", value: attr.type } };
    if (attr.shape !== undefined) return { value: { case: "shape", value: toShape(attr.shape) } };
    const list = attr.list!;
    return {
      value: {
        case: "list",
        value: { ...list, i: list.i.map(BigInt), s: list.s.map(latin1), shape: list.shape.map(toShape) },
      },
    };
  })();
  return create(AttrValueSchema, value);
}

/** 属性と入力の型だけを持つ、計画時のノードの代わり。 */
export function fakeNode(
  op: string,
  attrs: Record<string, JsonAttr>,
  inputs: readonly Tensor[] = [],
): OpNode {
  const values = Object.fromEntries(Object.entries(attrs).map(([name, attr]) => [name, readAttr(attr)]));
  const unavailable = (): never => {
    throw new Error("not available in this test");
  };
  return {
    name: op,
    op,
    attrs: new NodeAttrs(op, values, findOpDefinition(op)),
    inputTypes: inputs.map(({ dtype }) => dtype),
    outputTypes: [],
    constant: () => undefined,
    session: { resource: unavailable, readAsset: unavailable, print: unavailable },
    subgraph: unavailable,
  };
}

/** ホストのカーネルを 1 回走らせる。 */
export function runHost(
  rows: readonly OpRow[],
  op: string,
  attrs: Record<string, JsonAttr>,
  inputs: readonly Tensor[],
): readonly Tensor[] {
  const row = rows.find((candidate) => candidate.op === op);
  if (row === undefined) throw new Error(`no row for ${op}`);
  const node = fakeNode(op, attrs, inputs);
  if (row.host === undefined) {
    const out = row.raw!(node)(inputs.map(Value.ofTensor), { device: undefined } as never);
    return (out instanceof Value ? [out] : out).map((value) => value.tensor(undefined));
  }
  const out = row.host(node)(inputs);
  return Array.isArray(out) ? out : [out as Tensor];
}

const floats = new Set<DType>(["float", "double", "half", "bfloat16", "complex64", "complex128"]);

function expectClose(actual: Tensor, expected: Tensor, tolerance: number): void {
  expect([actual.dtype, ...actual.shape]).toEqual([expected.dtype, ...expected.shape]);
  const [a, e] = [actual.data as Float32Array, expected.data as Float32Array];
  for (let i = 0; i < e.length; i++) {
    if (Number.isNaN(e[i]) ? Number.isNaN(a[i]) : a[i] === e[i]) continue;
    if (!(Math.abs(a[i]! - e[i]!) <= tolerance * Math.max(Math.abs(e[i]!), 1e-3))) {
      expect(`[${i}] ${a[i]}`).toBe(`[${i}] ${e[i]} ± ${tolerance}`);
    }
  }
}

function check(rows: readonly OpRow[], { op, attrs, inputs, outputs, error, close }: OpCase): void {
  const run = (): readonly Tensor[] => runHost(rows, op, attrs, inputs.map(readTensor));
  if (error !== undefined) {
    let thrown: unknown;
    let got: readonly Tensor[] = [];
    try {
      got = run();
    } catch (caught) {
      thrown = caught;
    }
    if (!(thrown instanceof StatusError)) {
      expect(thrown ?? got.map(writeTensor)).toEqual(error);
      return;
    }
    expect({ code: thrown.code as number, message: thrown.message }).toEqual(error);
    return;
  }
  const actual = run();
  expect(actual).toHaveLength(outputs!.length);
  outputs!.forEach((json, i) => {
    const expected = readTensor(json);
    if (close !== undefined && floats.has(expected.dtype)) expectClose(actual[i]!, expected, close);
    else expect(writeTensor(actual[i]!)).toEqual(writeTensor(expected));
  });
}

/**
 * test/fixtures/ops の 1 ファイルを試験にする。
 *
 * @param cases write_*.py が書いた例の列。
 */
export function describeOps(family: string, rows: readonly OpRow[], cases: unknown): void {
  describe(family, () => {
    (cases as OpCase[]).forEach((row, i) => {
      test(`${row.op} #${i}`, () => check(rows, row));
    });
  });
}
