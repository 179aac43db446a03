import type { SignatureSpec } from "./signature.ts";

/** 書かれたままの数。JSON.parse では失われるもの(`5.0`、2^53 を超える整数、NaN)のため。 */
export interface RawNumber {
  readonly raw: string;
}

export type Leaf = number | boolean | string | RawNumber | { readonly b64: string };

/** gRPC の呼び出しに書くテンソル。値は行優先。 */
export interface RequestTensor {
  readonly alias: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly values: readonly Leaf[];
}

export type RequestFeature = readonly [name: string, values: readonly Leaf[]];

export interface ReadRequest {
  /** 書かれていなければ空。 */
  readonly signatureName: string;
  /** `:predict` の入力。 */
  readonly tensors: readonly RequestTensor[];
  /** `:classify` と `:regress` の例。 */
  readonly examples: readonly (readonly RequestFeature[])[];
}

const MARK = "\u0001";
/** 文字列か、数か、数でない値。 */
const token = /("(?:[^"\\]|\\.)*")|-?(?:\d[\d.eE+-]*|Infinity\b)|\bNaN\b/g;

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const isBytes = (value: unknown): value is { readonly b64: string } =>
  isRecord(value) && typeof value["b64"] === "string" && Object.keys(value).length === 1;

/** @throws SyntaxError JSON(NaN と Infinity を許す)でない。 */
function parse(text: string): unknown {
  const marked = text.replace(token, (whole, string: string | undefined) => {
    if (string !== undefined) return string;
    const number = Number(whole);
    return Number.isFinite(number) && String(number) === whole ? whole : JSON.stringify(MARK + whole);
  });
  return JSON.parse(marked, (_, value: unknown) =>
    typeof value === "string" && value.startsWith(MARK) ? { raw: value.slice(MARK.length) } : value,
  );
}

function toLeaf(value: unknown): Leaf {
  if (typeof value === "number" || typeof value === "boolean" || typeof value === "string") return value;
  if (isBytes(value)) return value;
  if (isRecord(value) && typeof value["raw"] === "string") return { raw: value["raw"] };
  throw new SyntaxError(`not a value of a tensor: ${JSON.stringify(value)}`);
}

function toTensor(alias: string, dtype: string, value: unknown): RequestTensor {
  const shape: number[] = [];
  for (let level = value; Array.isArray(level); level = level[0]) shape.push(level.length);
  const flat: unknown[] = Array.isArray(value) ? value.flat(Infinity) : [value];
  return { alias, dtype, shape, values: flat.map(toLeaf) };
}

/** 行の形 → 入力の名前 → 列。 */
function columnsOf(rows: readonly unknown[], only: string | undefined): Record<string, unknown> {
  const [first] = rows;
  const isNamed = isRecord(first) && !isBytes(first) && !("raw" in first);
  if (!isNamed) return only === undefined ? {} : { [only]: rows };
  return Object.fromEntries(
    Object.keys(first).map((alias) => [
      alias,
      rows.map((row) => {
        if (!isRecord(row)) throw new SyntaxError("an instance is not an object");
        return row[alias];
      }),
    ]),
  );
}

function examplesOf(body: Readonly<Record<string, unknown>>): RequestFeature[][] {
  const { examples, context } = body;
  if (!Array.isArray(examples)) return [];
  const shared = isRecord(context) ? context : {};
  return examples.map((example: unknown) => {
    if (!isRecord(example)) throw new SyntaxError("an example is not an object");
    return Object.entries({ ...shared, ...example }).map(
      ([name, value]) => [name, (Array.isArray(value) ? value : [value]).map(toLeaf)] as const,
    );
  });
}

/**
 * REST の要求の本文を、gRPC の呼び出しに書けるものにする。
 *
 * @throws SyntaxError JSON でない、要求の形でない。
 * @see tensorflow_serving/g3doc/api_rest.md
 */
export function readRequest({ inputs: specs }: SignatureSpec, text: string): ReadRequest {
  const body = parse(text);
  if (!isRecord(body)) throw new SyntaxError("the request is not an object");
  const { signature_name: given, instances, inputs } = body;
  const only = specs.length === 1 ? specs[0]!.alias : undefined;
  const columns = Array.isArray(instances)
    ? columnsOf(instances, only)
    : isRecord(inputs) && !isBytes(inputs) && !("raw" in inputs)
      ? inputs
      : inputs === undefined || only === undefined
        ? {}
        : { [only]: inputs };
  const dtypeOf = (alias: string): string => specs.find((spec) => spec.alias === alias)?.dtype ?? "float";
  return {
    signatureName: typeof given === "string" ? given : "",
    tensors: Object.entries(columns).map(([alias, value]) => toTensor(alias, dtypeOf(alias), value)),
    examples: examplesOf(body),
  };
}
