import { expect, test } from "bun:test";
import { fuzz } from "../../../scripts/fuzz/run.ts";
import { isValidWire } from "../../../scripts/fuzz/wire_oracle.ts";
import { createWireTargets } from "../../../scripts/fuzz/wire_targets.ts";
import { TensorProtoSchema } from "../../../src/gen/tensorflow/core/framework/tensor_pb.ts";
import { PredictRequestSchema } from "../../../src/gen/tensorflow_serving/apis/predict_pb.ts";

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));

test("客の選べる文面は、どれも基準の読み手と同じに読めるか、客の誤りとして終わる", async () => {
  const targets = createWireTargets();
  const { outcomes, findings } = await fuzz(targets, 11, Array(targets.length * 400).keys());
  expect(findings).toEqual([]);
  for (const [name, counts] of outcomes) {
    // どの的も、読める入力を含んでいる。入り口で全部断られる的は、何も試していない。
    expect([name, (counts.get("OK") ?? 0) > 0]).toEqual([name, true]);
  }
});

test.each([
  ["an empty message", "", true],
  ["a tensor in an input", "12070a017812020801", true],
  ["a length past the parent", "12040a017812", false],
  ["a nested length past the parent", "12050a01781209", false],
  ["a key that is not UTF-8", "12030a01ff", false],
  ["a map value of another wire type", "12021001", false],
  ["an unknown group", "7b7c", true],
  ["an unknown group without an end", "7b", false],
  ["a group closed by another number", "7b74", false],
  ["field number zero", "0200", false],
  ["a tag of six bytes", "8a808080800000", false],
  ["a scalar of another wire type", "0a050801120108", false],
])("isValidWire(): %s", (_, bytes, expected) => {
  expect(isValidWire(PredictRequestSchema, hex(bytes))).toBe(expected);
});

test.each([
  ["packed floats", "2a040000803f", true],
  ["packed floats cut short", "2a0300803f", false],
  ["one float", "2d0000803f", true],
  ["packed varints", "3a03010203", true],
  ["a packed varint without an end", "3a0180", false],
])("isValidWire(): %s", (_, bytes, expected) => {
  expect(isValidWire(TensorProtoSchema, hex(bytes))).toBe(expected);
});
