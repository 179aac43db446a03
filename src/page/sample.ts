import { exampleBytes, exampleJson, type Feature, sequenceExampleBytes } from "./example_bytes.ts";
import type { SignatureSpec, TensorSpec, Verb } from "./signature.ts";

/** 8×8 の RGB の PNG。 */
const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAlUlEQVR42g3JIRJFIQgAwH9Os5lMNpAILzAOkTEZiSbHaOAEnOa7dX9YLpUjZY3iXuYuFkWzfD+sl+qRukZ1r3NXi6pZX8AlOAJrgDvMDRagCS/wEh7BNdAd50YL1MQX7VI70tZo7m3uZtE02wu+xEd4DXbnudmCNflFv9SP9DW6e5+7W3TN/sIu2RFbw9xtbrMwTfv+JNx0gTCauOgAAAAASUVORK5CYII=";

/** 文字列の入力に何を入れるか。 */
type Strings = "text" | "number" | "csv" | "image" | "sound" | "example" | "sequence";

/** シグネチャからは分からないことについての推測。断られるたびに直していく。 */
export interface Guess {
  readonly strings: Strings;
  readonly columns: number;
  /** 整数の値。 */
  readonly integer: number;
  /** 「形」を値に持つ入力の、次元の長さ。 */
  readonly extent: number;
  /** 先頭でない、長さの分からない次元の長さ。 */
  readonly inner: number;
  readonly rows: number;
  /** 行の形でも書けるときに、列の形で書く。 */
  readonly columnar: boolean;
  readonly features: readonly Feature[];
  readonly lists: readonly Feature[];
}

export interface Sample {
  readonly verb: Verb;
  readonly body: Readonly<Record<string, unknown>>;
}

/** JSON で送れる型。 @see tensorflow_serving/util/json_tensor.cc */
const sendable = new Set("float double int8 int16 int32 int64 uint8 uint32 uint64 bool string".split(" "));

export type Obstacle =
  | { readonly kind: "no_inputs" }
  | { readonly kind: "composite"; readonly alias: string }
  | { readonly kind: "input_dtype" | "output_dtype"; readonly alias: string; readonly dtype: string };

/** REST では呼べないシグネチャの、呼べない訳。呼べるなら undefined。 */
export function findObstacle({ verb, inputs, outputs }: SignatureSpec): Obstacle | undefined {
  if (verb !== "predict") return undefined;
  if (inputs.length === 0) return { kind: "no_inputs" };
  const of = (kind: "input_dtype" | "output_dtype", all: readonly TensorSpec[]): Obstacle | undefined => {
    const bad = all.find(({ dtype }) => !sendable.has(dtype));
    return bad && { kind, alias: bad.alias, dtype: bad.dtype };
  };
  const composite = [...inputs, ...outputs].find((one) => one.composite);
  if (composite !== undefined) return { kind: "composite", alias: composite.alias };
  return of("input_dtype", inputs) ?? of("output_dtype", outputs);
}

const isInteger = ({ dtype }: TensorSpec): boolean => /^u?int/.test(dtype);
const isSplits = (input: TensorSpec): boolean => isInteger(input) && /split/i.test(input.alias);
const isShape = (input: TensorSpec): boolean => isInteger(input) && /shape/i.test(input.alias);
/** どこかを指す番号。0 ならどんな長さの中にもある。 */
const isIndex = (input: TensorSpec): boolean => isInteger(input) && /ind(ex|ices)|offset/i.test(input.alias);

export function firstGuess({ inputs }: SignatureSpec): Guess {
  const hinted = (hint: RegExp): boolean =>
    inputs.some(({ alias, dtype }) => dtype === "string" && hint.test(alias));
  const hints: readonly (readonly [RegExp, Strings])[] = [
    [/image|img|jpe?g|png|photo|picture/i, "image"],
    [/wav|audio|sound|speech/i, "sound"],
    [/example/i, "example"],
  ];
  const strings = hints.find(([hint]) => hinted(hint))?.[1] ?? "text";
  return {
    strings,
    columns: 1,
    integer: 1,
    extent: 2,
    inner: 2,
    rows: 1,
    columnar: false,
    features: [],
    lists: [],
  };
}

/** 名前の合う特徴を置き換える。無ければ足す。 */
function revise(all: readonly Feature[], name: string, change: Partial<Feature>): Feature[] {
  const known = all.find((one) => one.name === name) ?? { name, type: "float", count: 1 };
  return [...all.filter((one) => one.name !== name), { ...known, ...change }];
}

const productOf = (shape: string): number =>
  shape === "" ? 1 : shape.split(",").reduce((product, size) => product * Number(size), 1);

type Rule = readonly [RegExp, (guess: Guess, match: readonly string[]) => Partial<Guess>];

/** 断りの文面 → 直し方。文面は TensorFlow のもので、このサーバーも同じ。 */
const rules: readonly Rule[] = [
  // 行の形では、出力もすべて入力と同じ行数でなければならない。
  [/has (inconsistent batch size|no shape information)/, () => ({ columnar: true })],
  [/Could not parse example input|Can't parse serialized Example/, () => ({ strings: "example" })],
  [/Invalid protocol message input/, () => ({ strings: "sequence" })],
  [/Feature list '(.+?)' is required/, ({ lists }, [, name = ""]) => ({ lists: revise(lists, name, {}) })],
  [
    /Feature: (.+?) \(data type: (\w+)\) is required/,
    ({ features }, [, name = "", type = ""]) => ({ features: revise(features, name, { type }) }),
  ],
  [
    /Feature list '(.+?)' has an unexpected number of values.*output shape: \[\?,?([\d,]*)\]/,
    ({ lists }, [, name = "", shape = ""]) => ({ lists: revise(lists, name, { count: productOf(shape) }) }),
  ],
  [
    /Key: (.+?)[.,] .*Data types don't match.*[Ee]xpected type: (\w+)/,
    ({ features, lists }, [, name = "", type = ""]) =>
      lists.some((list) => list.name === name)
        ? { lists: revise(lists, name, { type }) }
        : { features: revise(features, name, { type }) },
  ],
  [
    /Key: (.+?)[.,] .*Number of .*values != expected\. +[Vv]alues size: \d+ but output shape: \[([\d,]*)\]/,
    ({ features, lists }, [, name = "", shape = ""]) =>
      lists.some((list) => list.name === name)
        ? { lists: revise(lists, name, { count: productOf(shape) }) }
        : { features: revise(features, name, { count: productOf(shape) }) },
  ],
  [/Unknown image file format|Expected image|Invalid (PNG|JPEG|GIF|BMP)/, () => ({ strings: "image" })],
  [/Header mismatch: Expected RIFF/, () => ({ strings: "sound" })],
  [/Expect (\d+) fields but have/, (_, [, columns = ""]) => ({ strings: "csv", columns: Number(columns) })],
  [/could not correctly convert string|is not a valid (int|float|double)/, () => ({ strings: "number" })],
  [/is not in \[0, |out of (bounds|range)/, () => ({ integer: 0 })],
  [
    /inner dimension does not match: (\d+) vs\. (\d+)/,
    (_, [, , columns = ""]) => ({ extent: Number(columns) }),
  ],
];

/** 文面から何も読み取れないときに、順に試すもの。 */
const variations: readonly Partial<Guess>[] = [
  { integer: 0 },
  { rows: 2 },
  { inner: 1 },
  { strings: "number" },
  { strings: "image" },
  { strings: "sound" },
  { strings: "example" },
  { strings: "sequence" },
];

/** 要求は受け取られ、答えも出たが、その型が JSON に書けなかった。gRPC でなら同じ要求が答えられる。 */
export const wasComputed = (error: string): boolean => error.includes("Failed to write JSON value");

/**
 * 断られた見本の、次の推測。
 *
 * @param tried これまでに断られた推測。古い順。
 * @param error 最後に断られたときの文面。
 * @returns もう思いつくものが無ければ undefined。
 */
export function nextGuess(tried: readonly Guess[], error: string): Guess | undefined {
  const last = tried.at(-1);
  if (last === undefined || wasComputed(error)) return undefined;
  const seen = new Set(tried.map((guess) => JSON.stringify(guess)));
  const isNew = (guess: Guess): boolean => !seen.has(JSON.stringify(guess));
  for (const [pattern, repair] of rules) {
    const match = pattern.exec(error);
    if (match === null) continue;
    const next = { ...last, ...repair(last, match) };
    if (isNew(next)) return next;
  }
  return variations.map((change) => ({ ...tried[0]!, ...change })).find(isNew);
}

const toBase64 = (bytes: Uint8Array): { readonly b64: string } => ({
  b64: btoa(String.fromCharCode(...bytes)),
});

/** 8 kHz、1 声、16 ビットの WAV。64 点の音。 */
function wavBytes(): Uint8Array {
  const rate = 8000;
  const samples = Int16Array.from({ length: 64 }, (_, i) => 8000 * Math.sin(i / 3));
  const bytes = new Uint8Array(44 + samples.byteLength);
  const view = new DataView(bytes.buffer);
  const text = (at: number, word: string): void => bytes.set(new TextEncoder().encode(word), at);
  text(0, "RIFF");
  view.setUint32(4, bytes.length - 8, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, samples.byteLength, true);
  for (const [i, sample] of samples.entries()) view.setInt16(44 + 2 * i, sample, true);
  return bytes;
}

function stringOf({ strings, columns, features, lists }: Guess): unknown {
  switch (strings) {
    case "text":
      return "hello world";
    case "number":
      return "1";
    case "csv":
      return Array.from({ length: columns }, () => "1").join();
    case "image":
      return { b64: PNG };
    case "sound":
      return toBase64(wavBytes());
    case "example":
      return toBase64(exampleBytes(features));
    case "sequence":
      return toBase64(sequenceExampleBytes(features, lists));
  }
}

/** `at` 番目の要素。 */
function elementOf(input: TensorSpec, guess: Guess, at: number): unknown {
  if (input.dtype === "string") return stringOf(guess);
  if (input.dtype === "bool") return true;
  if (isSplits(input)) return Math.min(at, guess.rows);
  if (isShape(input)) return guess.extent;
  if (isIndex(input)) return 0;
  if (isInteger(input)) return guess.integer;
  // 同じ数ばかりだと答えも似るので、目で追える程度に変える。
  return ((at * 7 + 5) % 10) / 10;
}

function shapeOf(input: TensorSpec, { rows, inner }: Guess): readonly number[] {
  const { shape } = input;
  if (shape === undefined) return [rows];
  const unknown = (axis: number): number => {
    if (axis === 0) return rows + (isSplits(input) ? 1 : 0);
    // 画像らしい形。畳み込みや縮小が成り立つ大きさにする。
    return shape.length >= 4 ? 8 : inner;
  };
  return shape.map((size, axis) => (size < 0 ? unknown(axis) : size));
}

function fill(shape: readonly number[], element: (at: number) => unknown): unknown {
  let at = 0;
  const level = (axis: number): unknown =>
    axis === shape.length ? element(at++) : Array.from({ length: shape[axis]! }, () => level(axis + 1));
  return level(0);
}

/** 推測に従った値。入力の名前 → 値。 */
export function sampleInputs({ inputs }: SignatureSpec, guess: Guess): Record<string, unknown> {
  return Object.fromEntries(
    inputs.map((input) => [input.alias, fill(shapeOf(input, guess), (at) => elementOf(input, guess, at))]),
  );
}

/**
 * 推測に従った要求。どの入出力も先頭が長さの分からない次元なら行の形(`instances`)、そうでなければ列の形(`inputs`)。
 */
export function buildSample(signature: SignatureSpec, guess: Guess): Sample {
  const { key, verb, inputs, outputs } = signature;
  const name = key === "serving_default" ? {} : { signature_name: key };
  if (verb !== "predict") {
    const examples = Array.from({ length: guess.rows }, () => exampleJson(guess.features));
    return { verb, body: { ...name, examples } };
  }
  const values = sampleInputs(signature, guess);
  const isRowwise =
    inputs.every((input) => input.shape?.[0] === -1 && !isSplits(input)) &&
    outputs.every((output) => output.shape?.[0] === -1);
  if (guess.columnar || !isRowwise) return { verb, body: { ...name, inputs: values } };
  const instances = Array.from({ length: guess.rows }, (_, row) => {
    const cells = inputs.map(({ alias }) => [alias, (values[alias] as readonly unknown[])[row]] as const);
    return cells.length === 1 ? cells[0]![1] : Object.fromEntries(cells);
  });
  return { verb, body: { ...name, instances } };
}

/** 見本を探す手の数の上限。 */
const MAX_TRIES = 24;

export interface Attempt {
  readonly ok: boolean;
  readonly text: string;
}

/** 断られる理由を見ながら、受け取られる見本を探す。 */
export async function searchSample<A extends Attempt>(
  signature: SignatureSpec,
  send: (sample: Sample) => Promise<A>,
): Promise<{ readonly sample: Sample; readonly answer: A; readonly tries: number }> {
  const tried: Guess[] = [];
  let guess = firstGuess(signature);
  for (;;) {
    tried.push(guess);
    const sample = buildSample(signature, guess);
    const answer = await send(sample);
    const next = answer.ok || tried.length >= MAX_TRIES ? undefined : nextGuess(tried, answer.text);
    if (next === undefined) return { sample, answer, tries: tried.length };
    guess = next;
  }
}
