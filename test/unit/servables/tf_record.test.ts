import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { encodeRecord, readRecords } from "../../../src/servables/tf_record.ts";

const text = (value: string) => new TextEncoder().encode(value);
/** TensorFlow の TFRecordWriter が書いた 2 件("abc" と "hello world")。 */
const written = Uint8Array.fromHex(
  "0300000000000000b099490e6162636e57f1210b000000000000008615f50468656c6c6f20776f726c64007ed86d",
);

function patched(at: number, byte: number): Uint8Array {
  const copy = written.slice();
  copy[at] = byte;
  return copy;
}

/** 読めた件数と、終わり方。TensorFlow 2.21 の tf_record_iterator が言うことと同じ。 */
function read(bytes: Uint8Array): string {
  let count = 0;
  try {
    for (const _ of readRecords(bytes)) count++;
  } catch (thrown) {
    return `${count} ${thrown}`;
  }
  return `${count} OK`;
}

describe("readRecords()", () => {
  test("reads what TensorFlow wrote", () => {
    expect([...readRecords(written)].map((record) => new TextDecoder().decode(record))).toEqual([
      "abc",
      "hello world",
    ]);
  });

  test.each([
    ["nothing", new Uint8Array(0), "0 OK"],
    ["less than a header", written.subarray(0, 10), "0 OK"],
    ["less than a second header", written.subarray(0, 22), "1 OK"],
    [
      "a header only",
      written.subarray(0, 12),
      "0 DATA_LOSS: truncated record at 0' failed with Read less bytes than requested",
    ],
    [
      "cut data",
      written.subarray(0, 14),
      "0 DATA_LOSS: truncated record at 0' failed with Read less bytes than requested",
    ],
    [
      "cut checksum",
      written.subarray(0, 17),
      "0 DATA_LOSS: truncated record at 0' failed with Read less bytes than requested",
    ],
    [
      "a cut second record",
      written.subarray(0, 35),
      "1 DATA_LOSS: truncated record at 19' failed with Read less bytes than requested",
    ],
    ["a wrong length", patched(0, 4), "0 DATA_LOSS: corrupted record at 0 (Is this even a TFRecord file?)"],
    [
      "a wrong length checksum",
      patched(8, 0),
      "0 DATA_LOSS: corrupted record at 0 (Is this even a TFRecord file?)",
    ],
    ["wrong data", patched(12, 120), "0 DATA_LOSS: corrupted record at 12"],
    ["wrong second data", patched(40, 122), "1 DATA_LOSS: corrupted record at 31"],
    ["a wrong second length", patched(19, 1), "1 DATA_LOSS: corrupted record at 19"],
    [
      "plain text",
      text("this is not a tfrecord file at all"),
      "0 DATA_LOSS: corrupted record at 0 (Is this even a TFRecord file?)",
    ],
  ])("%s", (_, bytes, expected) => {
    expect(read(bytes)).toBe(expected);
  });
});

describe("encodeRecord()", () => {
  test("writes what TensorFlow writes", () => {
    expect(
      Buffer.concat([encodeRecord(text("abc")), encodeRecord(text("hello world"))]).toString("hex"),
    ).toBe(Buffer.from(written).toString("hex"));
  });

  test("is read back", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 })), (records) => {
        const bytes = new Uint8Array(Buffer.concat(records.map(encodeRecord)));
        expect([...readRecords(bytes)].map((record) => Uint8Array.from(record))).toEqual(
          records.map((record) => Uint8Array.from(record)),
        );
      }),
    );
  });
});
