import { ByteSink } from "./byte_sink.ts";
import { writeFloat } from "./format_float.ts";

/**
 * 応答の本文とエラーの中の再表示に使う整形器。
 *
 * 配列を 1 行にするかどうか(`singleLine`)は、容器を開いた時ではなく**書くたびに**見る。
 * 行形式の応答が開き括弧と同じ行で始まり、別の行で閉じるのはこのため。
 *
 * @see rapidjson/prettywriter.h (1.1.0)
 */
export class JsonWriter {
  readonly sink: ByteSink;
  singleLine = false;
  /** 開いている容器ごとの「書いた値とキーの数」。配列は負数 -1 から下へ、オブジェクトは 0 から上へ数える。 */
  readonly #open: number[] = [];

  constructor(sink = new ByteSink()) {
    this.sink = sink;
  }

  startObject(): void {
    this.#before();
    this.sink.byte(0x7b);
    this.#open.push(0);
  }

  endObject(): void {
    const count = this.#open.pop()!;
    if (count > 0) this.sink.newline(this.#open.length);
    this.sink.byte(0x7d);
  }

  startArray(): void {
    this.#before();
    this.sink.byte(0x5b);
    this.#open.push(-1);
  }

  endArray(): void {
    const count = this.#open.pop()!;
    if (count < -1 && !this.singleLine) this.sink.newline(this.#open.length);
    this.sink.byte(0x5d);
  }

  /** オブジェクトのキー、または文字列の値。 */
  string(value: Uint8Array | string): void {
    this.#before();
    this.sink.quoted(value);
  }

  /** そのまま書ける ASCII の値(`null`、数の文面など)。空なら区切りだけが出る。 */
  raw(text: string): void {
    this.#before();
    this.sink.ascii(text);
  }

  boolean(value: boolean): void {
    this.raw(value ? "true" : "false");
  }

  integer(value: number | bigint): void {
    if (typeof value === "bigint") {
      this.raw(value.toString());
    } else {
      this.#before();
      this.sink.integer(value);
    }
  }

  /** @param single float32 の値なら true。 */
  float(value: number, single: boolean): void {
    this.#before();
    writeFloat(this.sink, value, single);
  }

  toBytes(): Uint8Array<ArrayBuffer> {
    return this.sink.toBytes();
  }

  #before(): void {
    const open = this.#open;
    const depth = open.length;
    if (depth === 0) return;
    const count = open[depth - 1]!;
    if (count < 0) {
      if (count < -1) {
        this.sink.byte(0x2c);
        if (this.singleLine) this.sink.byte(0x20);
      }
      if (!this.singleLine) this.sink.newline(depth);
      open[depth - 1] = count - 1;
    } else {
      if (count % 2 === 1) {
        this.sink.byte(0x3a);
        this.sink.byte(0x20);
      } else {
        if (count > 0) this.sink.byte(0x2c);
        this.sink.newline(depth);
      }
      open[depth - 1] = count + 1;
    }
  }
}
