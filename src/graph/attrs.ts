import { invalidArgument } from "../base/status.ts";
import type { AttrValue } from "../gen/tensorflow/core/framework/attr_value_pb.ts";
import type { TensorShapeProto } from "../gen/tensorflow/core/framework/tensor_shape_pb.ts";
import { type DType, dtypeOfWire } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { tensorFromProto } from "../tensor/tensor_proto.ts";
import type { AttrDefault, OpDefinition } from "./op_defs.ts";
import type { Attrs } from "./ops/registry.ts";

/** 属性 1 つ。 */
export type Attr = Pick<AttrValue, "value">;

/** 属性名 → 値。NodeDef のもの、または関数の placeholder を埋めたもの。 */
export type AttrMap = Readonly<Record<string, Attr>>;

const decoder = new TextDecoder();
const encoder = new TextEncoder();

export const stringAttr = (value: string): Attr => ({ value: { case: "s", value: encoder.encode(value) } });
export const boolAttr = (value: boolean): Attr => ({ value: { case: "b", value } });
export const floatAttr = (value: number): Attr => ({ value: { case: "f", value } });
export const intAttr = (value: bigint): Attr => ({ value: { case: "i", value } });
/** @param wire types.proto の番号。 */
export const typeAttr = (wire: number): Attr => ({ value: { case: "type", value: wire } });
export function intsAttr(values: readonly number[]): Attr {
  const empty = { s: [], f: [], b: [], type: [], shape: [], tensor: [], func: [] };
  return {
    value: {
      case: "list",
      value: { $typeName: "tensorflow.AttrValue.ListValue", i: values.map(BigInt), ...empty },
    },
  };
}
export function stringsAttr(values: readonly string[]): Attr {
  const s = values.map((value) => encoder.encode(value));
  const empty = { i: [], f: [], b: [], type: [], shape: [], tensor: [], func: [] };
  return { value: { case: "list", value: { $typeName: "tensorflow.AttrValue.ListValue", s, ...empty } } };
}

function toShape(shape: TensorShapeProto): number[] | undefined {
  return shape.unknownRank ? undefined : shape.dim.map(({ size }) => Number(size));
}

/** 既定値の文字列は 1 文字 1 バイトで持つ。 */
function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

type AttrKind = NonNullable<AttrValue["value"]["case"]>;
type AttrOf<K extends AttrKind> = Extract<AttrValue["value"], { case: K }>["value"];

/** NodeDef の属性と OpDef の既定値を重ねた読み口。 */
export class NodeAttrs implements Attrs {
  readonly #node: string;
  readonly #values: AttrMap;
  readonly #defaults: ReadonlyMap<string, AttrDefault> | undefined;

  constructor(node: string, values: AttrMap, definition: Pick<OpDefinition, "defaults"> | undefined) {
    this.#node = node;
    this.#values = values;
    this.#defaults = definition?.defaults;
  }

  /** 与えられた属性そのもの(既定値を含まない)。 */
  get values(): AttrMap {
    return this.#values;
  }

  /** 既定値を引き継ぎ、属性を足した別のノードの読み口。 */
  extend(node: string, added: AttrMap): NodeAttrs {
    const defaults = this.#defaults === undefined ? undefined : { defaults: this.#defaults };
    return new NodeAttrs(node, { ...this.#values, ...added }, defaults);
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#values, name) || this.#defaults?.has(name) === true;
  }

  bigint(name: string): bigint {
    const found = this.#given(name, "i");
    if (found !== undefined) return found;
    return BigInt(this.#default(name, "int") as number);
  }

  int(name: string): number {
    return this.#toInt(name, this.bigint(name));
  }

  float(name: string): number {
    return this.#given(name, "f") ?? Number(this.#default(name, "float"));
  }

  bool(name: string): boolean {
    return this.#given(name, "b") ?? (this.#default(name, "bool") as boolean);
  }

  bytes(name: string): Uint8Array {
    return this.#given(name, "s") ?? latin1(this.#default(name, "string") as string);
  }

  string(name: string): string {
    return decoder.decode(this.bytes(name));
  }

  /** ワイヤの番号のまま。resource と variant も区別できる。 */
  wireType(name: string): number {
    return this.#given(name, "type") ?? (this.#default(name, "type") as number);
  }

  dtype(name: string): DType | undefined {
    return dtypeOfWire(this.wireType(name));
  }

  shape(name: string): number[] | undefined {
    const found = this.#given(name, "shape");
    if (found !== undefined) return toShape(found);
    return (this.#default(name, "shape") as number[] | null) ?? undefined;
  }

  tensor(name: string): Tensor {
    const found = this.#given(name, "tensor");
    if (found === undefined) throw this.#missing(name);
    return tensorFromProto(found);
  }

  bigints(name: string): bigint[] {
    const found = this.#given(name, "list");
    return found?.i ?? (this.#default(name, "list(int)") as number[]).map(BigInt);
  }

  ints(name: string): number[] {
    return this.bigints(name).map((value) => this.#toInt(name, value));
  }

  floats(name: string): number[] {
    const found = this.#given(name, "list");
    return found?.f ?? (this.#default(name, "list(float)") as (number | string)[]).map(Number);
  }

  bools(name: string): boolean[] {
    return this.#given(name, "list")?.b ?? (this.#default(name, "list(bool)") as boolean[]);
  }

  bytesList(name: string): Uint8Array[] {
    const found = this.#given(name, "list");
    return found?.s ?? (this.#default(name, "list(string)") as string[]).map(latin1);
  }

  strings(name: string): string[] {
    return this.bytesList(name).map((bytes) => decoder.decode(bytes));
  }

  /** list(type) をワイヤの番号のまま。 */
  wireTypes(name: string): number[] {
    return this.#given(name, "list")?.type ?? (this.#default(name, "list(type)") as number[]);
  }

  dtypes(name: string): (DType | undefined)[] {
    return this.wireTypes(name).map(dtypeOfWire);
  }

  shapes(name: string): (number[] | undefined)[] {
    const found = this.#given(name, "list");
    if (found !== undefined) return found.shape.map(toShape);
    return (this.#default(name, "list(shape)") as (number[] | null)[]).map((shape) => shape ?? undefined);
  }

  func(name: string): string {
    const found = this.#given(name, "func");
    if (found === undefined) throw this.#missing(name);
    return found.name;
  }

  funcs(name: string): string[] {
    const found = this.#given(name, "list");
    if (found === undefined) throw this.#missing(name);
    return found.func.map((func) => func.name);
  }

  /** func 属性に付いた属性(多相な関数の型など)。 */
  funcAttrs(name: string, index?: number): AttrMap {
    const value = this.#values[name]?.value;
    if (value?.case === "func") return value.value.attr;
    if (value?.case === "list" && index !== undefined) return value.value.func[index]?.attr ?? {};
    return {};
  }

  #given<K extends AttrKind>(name: string, kind: K): AttrOf<K> | undefined {
    if (!Object.hasOwn(this.#values, name)) return undefined;
    const { value } = this.#values[name]!;
    if (value.case === kind) return value.value as AttrOf<K> | undefined;
    throw invalidArgument(
      `AttrValue had value with type '${value.case}' when '${kind}' expected for attr '${name}' of node '${this.#node}'`,
    );
  }

  #default(name: string, type: string): unknown {
    const found = this.#defaults?.get(name);
    if (found === undefined || found.type !== type) throw this.#missing(name);
    return found.value;
  }

  #missing(name: string): Error {
    return invalidArgument(`NodeDef missing attr '${name}' in node '${this.#node}'`);
  }

  #toInt(name: string, value: bigint): number {
    const number = Number(value);
    if (!Number.isSafeInteger(number) && value !== 0x7fffffffffffffffn && value !== -0x8000000000000000n) {
      throw invalidArgument(`Attr '${name}' of node '${this.#node}' is out of range: ${value}`);
    }
    return number;
  }
}
