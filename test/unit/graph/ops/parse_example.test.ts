import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { StatusError } from "../../../../src/base/status.ts";
import { parseExampleOps } from "../../../../src/graph/ops/parse_example.ts";
import { parseSequenceExampleOps } from "../../../../src/graph/ops/parse_sequence_example.ts";
import { tensor } from "../../../../src/tensor/tensor.ts";
import examples from "../../../fixtures/ops/parse_example.json";
import sequences from "../../../fixtures/ops/parse_sequence_example.json";
import { describeOps, runHost } from "../../../helpers/op_cases.ts";

describeOps("parse_example", parseExampleOps, examples);
describeOps("parse_sequence_example", parseSequenceExampleOps, sequences);

describe("hostile Examples", () => {
  const none = tensor("string", [0], []);
  const key = tensor("string", [1], [new TextEncoder().encode("x")]);
  const list = { i: [], f: [], b: [], s: [], type: [1], shape: [] };
  const attrs = {
    num_sparse: { i: "1" },
    sparse_types: { list },
    Tdense: { list: { ...list, type: [] } },
    dense_shapes: { list: { ...list, type: [] } },
    ragged_value_types: { list: { ...list, type: [] } },
    ragged_split_types: { list: { ...list, type: [] } },
  };
  const parse = (bytes: Uint8Array): unknown =>
    runHost(parseExampleOps, "ParseExampleV2", attrs, [
      tensor("string", [1], [bytes]),
      none,
      key,
      none,
      none,
    ]);

  test("any bytes give values or INVALID_ARGUMENT", () => {
    // 正しい入れ子の骨組みに任意のバイトを差し込み、奥の読み手まで届かせる。
    const wrap = (tag: number, body: Uint8Array): Uint8Array => Uint8Array.of(tag, body.length, ...body);
    const feature = fc.uint8Array({ maxLength: 40 });
    const inner = feature.map((body) => {
      const entry = Uint8Array.of(0x0a, 1, 0x78, ...wrap(0x12, wrap(0x12, body)));
      return wrap(0x0a, wrap(0x0a, entry));
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 60 }), inner), (bytes) => {
        try {
          parse(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(StatusError);
          expect((error as StatusError).code).toBe(3);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
