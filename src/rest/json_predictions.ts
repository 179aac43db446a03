import { invalidArgument } from "../base/status.ts";
import { sizeOf, type Tensor, type TensorMap } from "../tensor/tensor.ts";
import { encodeBase64 } from "./base64.ts";
import { ByteSink } from "./byte_sink.ts";
import { writeFloats } from "./float_rows.ts";
import { FLOAT_TEXT_BYTES, putFloat, writeFloat } from "./format_float.ts";
import type { PredictFormat } from "./json_tensor.ts";
import { JsonWriter } from "./json_writer.ts";

/** 使い回す書き場の、はじめの大きさと、残しておく大きさ。 */
const FIRST = 2 ** 16;
const KEPT = 2 ** 20;
let shared = new ByteSink(FIRST);
/** 文字列にするより、バイト列を貸すほうが安い長さ。 */
const LONG = 8192;

/**
 * 予測の結果を要求と同じ書き方の本文にする。
 *
 * @param lent 答えがすぐ使われるなら true。長い本文を写さずに貸す。次の本文を書くまでしか読めない。
 * @returns 数だけなら文字列(書き場を使い回すので写しが要り、短い文字列が一番安い)、ほかはバイト列。
 * @throws INVALID_ARGUMENT 仕様 3.8 の失敗(出力が無い、行に分けられない、JSON に書けない型)。
 * @see tensorflow_serving/util/json_tensor.cc MakeJsonFromTensors
 */
export function writePredictions(
  outputs: TensorMap,
  format: PredictFormat,
  lent = false,
): Uint8Array<ArrayBuffer> | string {
  if (outputs.size !== 1) return writePredictionsGenerally(outputs, format);
  const sink = shared;
  sink.at = 0;
  for (const [, output] of outputs) {
    if (!isPlain(output) || (format === "row" && output.shape.length === 0)) break;
    if (format === "row") writePlainRows(sink, output);
    else writePlainColumn(sink, output);
  }
  if (sink.at === 0) return writePredictionsGenerally(outputs, format);
  if (sink.bytes.length > KEPT) shared = new ByteSink(FIRST);
  // 長い文字列は、片付けられるまで記憶をふさぐ。Response は渡されたバイト列を写し、送り終えればすぐ手放す。
  return lent && sink.at >= LONG ? sink.bytes.subarray(0, sink.at) : sink.toAscii();
}

/** {@link writePredictions} の一般の道。整形の規則は JsonWriter だけが持つ。 */
export function writePredictionsGenerally(
  outputs: TensorMap,
  format: PredictFormat,
): Uint8Array<ArrayBuffer> {
  if (outputs.size === 0) throw invalidArgument("Cannot convert empty tensor map to JSON");
  const writer = new JsonWriter();
  if (format === "row") writeRows(writer, outputs);
  else writeColumns(writer, outputs);
  return writer.toBytes();
}

/** @throws INVALID_ARGUMENT 階数 0、または先頭の次元が揃わない。 */
function countRows(outputs: TensorMap): number {
  let rows = -1;
  for (const [alias, { shape }] of outputs) {
    const [first] = shape;
    if (first === undefined) throw invalidArgument(`Tensor name: ${alias} has no shape information `);
    if (rows >= 0 && rows !== first) {
      throw invalidArgument(`Tensor name: ${alias} has inconsistent batch size: ${first} expecting: ${rows}`);
    }
    rows = first;
  }
  return rows;
}

function writeRows(writer: JsonWriter, outputs: TensorMap): void {
  const rows = countRows(outputs);
  const cursors = [...outputs].map(([alias, output]) => new Cursor(alias, output));
  writer.startObject();
  writer.string("predictions");
  writer.startArray();
  for (let row = 0; row < rows; row++) {
    if (cursors.length > 1) writer.startObject();
    writer.singleLine = true;
    for (const cursor of cursors) {
      if (cursors.length > 1) writer.string(cursor.key);
      cursor.write(writer, 1);
    }
    writer.singleLine = false;
    if (cursors.length > 1) writer.endObject();
  }
  writer.endArray();
  writer.endObject();
}

function writeColumns(writer: JsonWriter, outputs: TensorMap): void {
  writer.startObject();
  writer.string("outputs");
  if (outputs.size > 1) writer.startObject();
  for (const [alias, output] of outputs) {
    const cursor = new Cursor(alias, output);
    if (outputs.size > 1) writer.string(cursor.key);
    cursor.write(writer, 0);
  }
  if (outputs.size > 1) writer.endObject();
  writer.endObject();
}

/** 1 つの出力を先頭から順に書いていくもの。 */
class Cursor {
  /** 別名。NUL があればその手前まで。 */
  readonly key: string;
  readonly #output: Tensor;
  readonly #isBytes: boolean;
  #at = 0;

  constructor(alias: string, output: Tensor) {
    this.key = alias.split("\0", 1)[0]!;
    this.#output = output;
    this.#isBytes = output.dtype === "string" && alias.endsWith("_bytes");
  }

  /** `dim` 次元目からの 1 切れを書く。 */
  write(writer: JsonWriter, dim: number): void {
    const { shape } = this.#output;
    if (dim >= shape.length) {
      this.#writeValue(writer);
      return;
    }
    writer.startArray();
    for (let i = 0; i < shape[dim]!; i++) this.write(writer, dim + 1);
    writer.endArray();
  }

  #writeValue(writer: JsonWriter): void {
    const { dtype, data } = this.#output;
    const at = this.#at++;
    switch (dtype) {
      case "float":
        writer.float(data[at]!, true);
        return;
      case "double":
        writer.float(data[at]!, false);
        return;
      case "int8":
      case "int16":
      case "int32":
      case "uint8":
      case "uint32":
      case "int64":
      case "uint64":
        writer.integer(data[at]!);
        return;
      case "bool":
        writer.boolean(data[at] !== 0);
        return;
      case "string":
        if (!this.#isBytes) {
          writer.string(data[at]!);
          return;
        }
        writer.startObject();
        writer.string("b64");
        writer.string(encodeBase64(data[at]!));
        writer.endObject();
        return;
      default:
        throw invalidArgument(`Failed to write JSON value for tensor type: ${dtype}`);
    }
  }
}

/** 木を介さず書ける型。 */
function isPlain({ dtype }: Tensor): boolean {
  return dtype === "float" || dtype === "double" || dtype === "int32" || dtype === "int64";
}

/** これだけあれば、wasm に渡す手間より速くなる。 */
const MANY = 16;
const rowsHead = Buffer.from('{\n    "predictions": [');
const rowsTail = "\n    ]\n}";

function writePlainRows(sink: ByteSink, output: Tensor): void {
  const { shape } = output;
  const rows = shape[0]!;
  const stride = sizeOf(shape.slice(1));
  sink.raw(rowsHead);
  if (shape.length === 1) {
    writeRun(sink, output, 0, rows);
  } else if (shape.length === 2 && stride > 0 && output.dtype === "float" && rows * stride >= MANY) {
    writeFloats(sink, output.data, 0, rows * stride, stride);
  } else if (shape.length === 2 && (output.dtype === "float" || output.dtype === "double")) {
    writeMatrix(sink, output.data, rows, stride, output.dtype === "float");
  } else {
    for (let row = 0; row < rows; row++) {
      if (row > 0) separate(sink);
      writeInline(sink, output, 1, row * stride, stride);
    }
  }
  sink.ascii(rows === 0 ? "]\n}" : rowsTail);
}

/** 実数の表。行ごとの呼び出しを無くした、一番多い形のための道。 */
function writeMatrix(
  sink: ByteSink,
  data: Float32Array | Float64Array,
  rows: number,
  columns: number,
  single: boolean,
): void {
  const needed = columns * (FLOAT_TEXT_BYTES + 2) + 4;
  let out = sink.bytes;
  let { at } = sink;
  let from = 0;
  for (let row = 0; row < rows; row++) {
    if (at + needed > out.length) {
      sink.at = at;
      sink.reserve(needed);
      out = sink.bytes;
    }
    if (row > 0) {
      out[at++] = 0x2c;
      out[at++] = 0x20;
    }
    out[at++] = 0x5b;
    for (let column = 0; column < columns; column++) {
      if (column > 0) {
        out[at++] = 0x2c;
        out[at++] = 0x20;
      }
      at = putFloat(out, at, data[from++]!, single);
    }
    out[at++] = 0x5d;
  }
  sink.at = at;
}

function separate(sink: ByteSink): void {
  sink.reserve(2);
  sink.bytes[sink.at++] = 0x2c;
  sink.bytes[sink.at++] = 0x20;
}

/** `from` から `count` 個の値を `, ` でつないで書く。 */
function writeRun(sink: ByteSink, output: Tensor, from: number, count: number): void {
  const { dtype } = output;
  if (dtype === "float" && count >= MANY) {
    writeFloats(sink, output.data, from, count, 0);
    return;
  }
  if (dtype === "float" || dtype === "double") {
    const single = dtype === "float";
    const { data } = output;
    sink.reserve(count * (FLOAT_TEXT_BYTES + 2));
    const out = sink.bytes;
    let { at } = sink;
    for (let i = 0; i < count; i++) {
      if (i > 0) {
        out[at++] = 0x2c;
        out[at++] = 0x20;
      }
      at = putFloat(out, at, data[from + i]!, single);
    }
    sink.at = at;
    return;
  }
  for (let i = 0; i < count; i++) {
    if (i > 0) separate(sink);
    writeValue(sink, output, from + i);
  }
}

/** `from` から `size` 個の値を、1 行の入れ子にして書く。 */
function writeInline(sink: ByteSink, output: Tensor, dim: number, from: number, size: number): void {
  const { shape } = output;
  const count = shape[dim]!;
  sink.byte(0x5b);
  if (dim === shape.length - 1) {
    writeRun(sink, output, from, count);
  } else {
    const stride = size / count;
    for (let i = 0; i < count; i++) {
      if (i > 0) separate(sink);
      writeInline(sink, output, dim + 1, from + i * stride, stride);
    }
  }
  sink.byte(0x5d);
}

function writePlainColumn(sink: ByteSink, output: Tensor): void {
  sink.ascii('{\n    "outputs": ');
  writeLines(sink, output, 0, 0, sizeOf(output.shape));
  sink.ascii("\n}");
}

/** 値ごとに改行する入れ子。字下げの深さは根のオブジェクトを 1 と数える。 */
function writeLines(sink: ByteSink, output: Tensor, dim: number, from: number, size: number): void {
  const { shape } = output;
  if (dim >= shape.length) {
    writeValue(sink, output, from);
    return;
  }
  const count = shape[dim]!;
  const stride = size / count;
  sink.byte(0x5b);
  for (let i = 0; i < count; i++) {
    if (i > 0) sink.byte(0x2c);
    sink.newline(dim + 2);
    writeLines(sink, output, dim + 1, from + i * stride, stride);
  }
  if (count > 0) sink.newline(dim + 1);
  sink.byte(0x5d);
}

function writeValue(sink: ByteSink, output: Tensor, at: number): void {
  if (output.dtype === "float") writeFloat(sink, output.data[at]!, true);
  else if (output.dtype === "double") writeFloat(sink, output.data[at]!, false);
  else if (output.dtype === "int32") sink.integer(output.data[at]!);
  else sink.ascii(String(output.data[at]));
}
