import { floatText } from "../gen/wasm/float_text.ts";
import type { ByteSink } from "./byte_sink.ts";
import { putFloat } from "./format_float.ts";

/** wasm/float_text.ts の面。番地はバイト。 */
interface Exports {
  readonly memory: WebAssembly.Memory;
  write(
    values: number,
    from: number,
    count: number,
    columns: number,
    column: number,
    first: boolean,
    given: boolean,
    out: number,
  ): number;
  written(): number;
}

/** 一度に書く値の数。文面は 1 つ 36 バイトまでなので、記憶に収まる。 */
const BLOCK = 4096;
/** 値と文面の置き場。その手前は wasm の表。 */
const VALUES = 2 ** 16;
const TEXT = 2 ** 17;

function boot() {
  const module = new WebAssembly.Module(Buffer.from(floatText, "base64"));
  const { memory, write, written } = new WebAssembly.Instance(module).exports as unknown as Exports;
  const { buffer } = memory;
  return {
    write,
    written,
    values: new Float32Array(buffer, VALUES, BLOCK),
    bytes: new Uint8Array(buffer),
  };
}

let engine: ReturnType<typeof boot> | undefined;

/**
 * float の列を `, ` でつないで書く。1 つずつ {@link putFloat} で書いたのと同じ文面を、wasm でまとめて速く。
 *
 * @param columns 0 でなければ、この数ごとに角括弧で囲む。
 */
export function writeFloats(
  sink: ByteSink,
  data: Float32Array,
  from: number,
  count: number,
  columns: number,
): void {
  engine ??= boot();
  const { write, written, values, bytes } = engine;
  for (let start = 0; start < count; start += BLOCK) {
    const size = Math.min(BLOCK, count - start);
    values.set(data.subarray(from + start, from + start + size));
    let end = TEXT;
    let at = 0;
    let given = false;
    while (at < size) {
      const position = start + at;
      end = write(VALUES, at, size, columns, columns && position % columns, position === 0, given, end);
      at = written();
      given = at < size;
      // wasm の扱わない値。前の区切りは書いてある。
      if (given) end = putFloat(bytes, end, values[at]!, true);
    }
    sink.raw(bytes.subarray(TEXT, end));
  }
}
