import table from "./op_defs.tsv" with { type: "text" };

/** 引数の型の決まり方。`fixed` はワイヤの番号、`attr` は type 属性、`list` は list(type) 属性。 */
export type ArgType =
  | { readonly kind: "fixed"; readonly wire: number }
  | { readonly kind: "attr"; readonly attr: string }
  | { readonly kind: "list"; readonly attr: string };

/** 演算の引数 1 つ。`numberAttr` があればその数だけ並ぶ。 */
export interface ArgDef {
  readonly name: string;
  readonly type: ArgType;
  readonly numberAttr?: string;
  /** TF1 の参照(変数そのもの)を受け渡しする引数。 */
  readonly ref: boolean;
}

/** 省かれた属性の既定値。`type` は TF の属性型の綴り(`int`, `list(shape)` …)。 */
export interface AttrDefault {
  readonly type: string;
  readonly value: unknown;
}

/** 演算 1 つの宣言。 */
export interface OpDefinition {
  readonly inputs: readonly ArgDef[];
  readonly outputs: readonly ArgDef[];
  readonly defaults: ReadonlyMap<string, AttrDefault>;
  readonly stateful: boolean;
}

type PackedRow = [string[], string[], Record<string, [string, unknown]>, number];

const parsed = new Map<string, OpDefinition>();

/** 名前の順に並んだ行から二分して探す。行に切り分けるのは、開くモデルの使う演算だけ。 @returns タブの後ろ。 */
function findLine(op: string): string | undefined {
  // 1 行目は出どころ。
  let from = table.indexOf("\n") + 1;
  let to = table.length;
  while (from < to) {
    const start = table.lastIndexOf("\n", ((from + to) >> 1) - 1) + 1;
    const end = table.indexOf("\n", start);
    const line = table.slice(start, end);
    const tab = line.indexOf("\t");
    const name = line.slice(0, tab);
    if (name === op) return line.slice(tab + 1);
    if (name < op) from = end + 1;
    else to = start;
  }
  return undefined;
}

function parseArg(packed: string): ArgDef {
  const colon = packed.indexOf(":");
  const name = packed.slice(0, colon);
  let rest = packed.slice(colon + 1);
  const ref = rest.endsWith("&");
  if (ref) rest = rest.slice(0, -1);
  if (rest.startsWith("@")) return { name, ref, type: { kind: "list", attr: rest.slice(1) } };
  const star = rest.indexOf("*");
  const numberAttr = star < 0 ? undefined : rest.slice(0, star);
  const type = rest.slice(star + 1);
  return {
    name,
    ref,
    numberAttr,
    type: type.startsWith("=")
      ? { kind: "fixed", wire: Number(type.slice(1)) }
      : { kind: "attr", attr: type },
  };
}

/**
 * TensorFlow が登録している演算の宣言を引く。
 *
 * @returns 知らない演算は undefined。
 */
export function findOpDefinition(op: string): OpDefinition | undefined {
  const known = parsed.get(op);
  if (known !== undefined) return known;
  const line = findLine(op);
  if (line === undefined) return undefined;
  const [inputs, outputs, defaults, stateful] = JSON.parse(line) as PackedRow;
  const definition: OpDefinition = {
    inputs: inputs.map(parseArg),
    outputs: outputs.map(parseArg),
    defaults: new Map(Object.entries(defaults).map(([name, [type, value]]) => [name, { type, value }])),
    stateful: stateful === 1,
  };
  parsed.set(op, definition);
  return definition;
}
