/** 見本の tf.Example に入れる特徴。 */
export interface Feature {
  readonly name: string;
  /** `float`、`int64`、`string`。 */
  readonly type: string;
  readonly count: number;
}

const encoder = new TextEncoder();
const VARINT = 0;
const BYTES = 2;

function varint(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) out.push((rest & 0x7f) | 0x80);
  return [...out, rest];
}

/** 長さの付いた欄。 */
function field(number: number, bytes: readonly number[]): number[] {
  return [...varint((number << 3) | BYTES), ...varint(bytes.length), ...bytes];
}

const text = (value: string): number[] => [...encoder.encode(value)];
/** 0.5 のリトルエンディアン。 */
const HALF = [0, 0, 0, 0x3f];

/** tf.Feature。値は {@link exampleJson} と同じ。 */
function featureBytes({ type, count }: Feature): number[] {
  const repeat = (one: readonly number[]): number[] => Array.from({ length: count }, () => one).flat();
  if (type === "string") return field(1, repeat(field(1, text("a"))));
  if (type === "int64") return field(3, repeat([(1 << 3) | VARINT, 1]));
  return field(2, field(1, repeat(HALF)));
}

/** tf.Features の `feature` の各項。 */
const features = (all: readonly Feature[]): number[] =>
  all.flatMap((one) => field(1, [...field(1, text(one.name)), ...field(2, featureBytes(one))]));

/**
 * tf.Example のバイト列。
 *
 * @see tensorflow/core/example/example.proto
 */
export function exampleBytes(all: readonly Feature[]): Uint8Array {
  return Uint8Array.from(field(1, features(all)));
}

/** tf.SequenceExample のバイト列。列は 1 歩だけ。 */
export function sequenceExampleBytes(context: readonly Feature[], lists: readonly Feature[]): Uint8Array {
  const entries = lists.flatMap((one) =>
    field(1, [...field(1, text(one.name)), ...field(2, field(1, featureBytes(one)))]),
  );
  return Uint8Array.from([...field(1, features(context)), ...field(2, entries)]);
}

/** REST の `examples` の 1 件。 */
export function exampleJson(all: readonly Feature[]): Record<string, unknown> {
  return Object.fromEntries(
    all.map(({ name, type, count }) => {
      const one = type === "string" ? "a" : type === "int64" ? 1 : 0.5;
      return [name, count === 1 ? one : Array.from({ length: count }, () => one)];
    }),
  );
}
