import { describe, expect, test } from "bun:test";
import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import {
  PredictRequestSchema,
  PredictResponseSchema,
} from "../../../src/gen/tensorflow_serving/apis/predict_pb.ts";
import { decodePredictRequest, encodePredictResponse } from "../../../src/grpc/predict_codec.ts";
import { type Tensor, tensor } from "../../../src/tensor/tensor.ts";
import { tensorToProto } from "../../../src/tensor/tensor_proto.ts";

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));
const floats = (...values: number[]): Tensor => tensor("float", [values.length], Float32Array.from(values));

/** 参照実装が書いた、half_plus_two への要求と応答。 */
const request =
  "0a200a0d68616c665f706c75735f74776f1a0f73657276696e675f64656661756c74121b0a0178121608011204120208032a0c0000803f000000400000a040";
const response =
  "0a1b0a0179121608011204120208032a0c00002040000040400000904012240a0d68616c665f706c75735f74776f1202087b1a0f73657276696e675f64656661756c74";
const responseAsContent =
  "0a1b0a017912160801120412020803220c00002040000040400000904012240a0d68616c665f706c75735f74776f1202087b1a0f73657276696e675f64656661756c74";
const result = {
  id: { name: "half_plus_two", version: 123n },
  signatureName: "serving_default",
  outputs: new Map([["y", floats(2.5, 3, 4.5)]]),
};

test("decodePredictRequest() reads the bytes of the reference", () => {
  expect<unknown>(decodePredictRequest(hex(request))).toEqual({
    spec: { name: "half_plus_two" },
    signatureName: "serving_default",
    inputs: new Map([["x", floats(1, 2, 5)]]),
    outputFilter: [],
  });
});

test("encodePredictResponse() writes the bytes of the reference", () => {
  expect(Buffer.from(encodePredictResponse(result, false)).toString("hex")).toBe(response);
  expect(Buffer.from(encodePredictResponse(result, true)).toString("hex")).toBe(responseAsContent);
});

describe("decodePredictRequest()", () => {
  test.each([
    ["an empty message", "", undefined, [], []],
    ["an empty spec", "0a00", { name: "" }, [], []],
    ["version 0", "0a050a016d1200", { name: "m", version: 0n }, [], []],
    ["a label", "0a060a016d220173", { name: "m", label: "s" }, [], []],
    [
      "the last choice, a version",
      "0a0a0a016d220173 12020801".replace(" ", ""),
      { name: "m", version: 1n },
      [],
      [],
    ],
    ["a spec in two parts", "0a030a016d0a0412020802", { name: "m", version: 2n }, [], []],
    [
      "unknown fields",
      "3a0161 4001 4d00000000 5100000000000000001a0179".replaceAll(" ", ""),
      undefined,
      [],
      ["y"],
    ],
    ["an input without a value", "12030a0178", undefined, [["x", undefined]], []],
    [
      "an input without a key",
      "12061204080a1200",
      undefined,
      [["", tensor("bool", [], Uint8Array.of(0))]],
      [],
    ],
    ["an undecodable tensor", "12070a017812020863", undefined, [["x", undefined]], []],
    [
      "an alias twice, the last wins",
      "12030a017812090a01781204080a1200",
      undefined,
      [["x", tensor("bool", [], Uint8Array.of(0))]],
      [],
    ],
    [
      "a value in two parts",
      "120b0a01781202080a12025801",
      undefined,
      [["x", tensor("bool", [], Uint8Array.of(1))]],
      [],
    ],
  ])("reads %s", (_, bytes, spec, inputs, outputFilter) => {
    const read = decodePredictRequest(hex(bytes));
    expect(read.spec).toEqual(spec as never);
    expect([...read.inputs]).toEqual(inputs as never);
    expect(read.outputFilter).toEqual(outputFilter);
  });

  test.each([
    ["a truncated message", "0a20"],
    ["a field number of zero", "0001"],
    ["an end without a start", "0c"],
    ["a text that is not UTF-8", "1a01ff"],
    ["an alias that is not UTF-8", "12030a01ff"],
    ["a group without an end", "13"],
    ["a tensor cut short", "12080a017812032a0400"],
  ])("throws at %s", (_, bytes) => {
    expect(() => decodePredictRequest(hex(bytes))).toThrow();
  });

  const text = fc.string({ unit: "grapheme", maxLength: 6 });
  const value = fc.array(fc.float({ noNaN: true }), { maxLength: 5 }).map((values) => floats(...values));

  test("agrees with the generated reader", () => {
    fc.assert(
      fc.property(
        text,
        fc.option(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
        text,
        fc.uniqueArray(fc.tuple(text, value), { maxLength: 3, selector: ([alias]) => alias }),
        fc.array(text, { maxLength: 3 }),
        fc.boolean(),
        (name, version, signatureName, inputs, outputFilter, asContent) => {
          const bytes = toBinary(
            PredictRequestSchema,
            create(PredictRequestSchema, {
              modelSpec: {
                name,
                signatureName,
                versionChoice:
                  version === null ? { case: undefined } : { case: "version", value: { value: version } },
              },
              inputs: Object.fromEntries(
                inputs.map(([alias, one]) => [alias, tensorToProto(one, asContent)]),
              ),
              outputFilter,
              clientId: Uint8Array.of(1, 2),
              predictStreamedOptions: { splitDimensions: { a: 1 } },
            }),
          );
          const read = decodePredictRequest(bytes);
          expect(read.spec).toEqual(version === null ? { name } : { name, version });
          expect(read.signatureName).toBe(signatureName);
          expect(read.outputFilter).toEqual(outputFilter);
          expect(Object.fromEntries(read.inputs)).toEqual(Object.fromEntries(inputs));
        },
      ),
    );
  });

  test("reads or throws an Error, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          const { inputs, outputFilter } = decodePredictRequest(bytes);
          expect(inputs.size + outputFilter.length).toBeLessThanOrEqual(bytes.length);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(Error);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

test("encodePredictResponse() writes the same bytes as the generated writer", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 200 });
  fc.assert(
    fc.property(
      text,
      fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
      text,
      fc.uniqueArray(fc.tuple(text, fc.array(fc.float(), { maxLength: 70 })), {
        maxLength: 3,
        selector: ([alias]) => alias,
      }),
      fc.boolean(),
      (name, version, signatureName, entries, asContent) => {
        // 対応表の順序は、生成された書き手では JavaScript のオブジェクトの順になる。
        const ordered = Object.entries(Object.fromEntries(entries));
        const outputs = new Map(ordered.map(([alias, values]) => [alias, floats(...values)]));
        const expected = toBinary(
          PredictResponseSchema,
          create(PredictResponseSchema, {
            modelSpec: { name, signatureName, versionChoice: { case: "version", value: { value: version } } },
            outputs: Object.fromEntries(
              [...outputs].map(([alias, one]) => [alias, tensorToProto(one, asContent)]),
            ),
          }),
        );
        const written = encodePredictResponse({ id: { name, version }, signatureName, outputs }, asContent);
        expect(Buffer.from(written).toString("hex")).toBe(Buffer.from(expected).toString("hex"));
      },
    ),
  );
});
