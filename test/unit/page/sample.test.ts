import { describe, expect, test } from "bun:test";
import { fromBinary } from "@bufbuild/protobuf";
import { ExampleSchema, SequenceExampleSchema } from "../../../src/gen/tensorflow/core/example/example_pb.ts";
import { exampleBytes, sequenceExampleBytes } from "../../../src/page/example_bytes.ts";
import {
  buildSample,
  findObstacle,
  firstGuess,
  type Guess,
  nextGuess,
  searchSample,
} from "../../../src/page/sample.ts";
import type { SignatureSpec, TensorSpec, Verb } from "../../../src/page/signature.ts";

const tensor = (alias: string, dtype: string, shape?: readonly number[], composite = false): TensorSpec => ({
  alias,
  dtype,
  shape,
  composite,
});
const signature = (
  inputs: readonly TensorSpec[],
  outputs: readonly TensorSpec[] = [tensor("y", "float", [-1])],
  verb: Verb = "predict",
  key = "serving_default",
): SignatureSpec => ({ key, verb, inputs, outputs });

describe("the first sample of", () => {
  const x = tensor("x", "float", [-1, 3]);
  const rows: [string, SignatureSpec, object][] = [
    ["one batched input is by row", signature([x]), { instances: [[0.5, 0.2, 0.9]] }],
    [
      "several batched inputs is by row and name",
      signature([x, tensor("n", "int64", [-1])]),
      { instances: [{ x: [0.5, 0.2, 0.9], n: 1 }] },
    ],
    [
      "an output without rows is by column",
      signature([x], [tensor("y", "float", [])]),
      { inputs: { x: [[0.5, 0.2, 0.9]] } },
    ],
    ["a scalar is by column", signature([tensor("flag", "bool", [])]), { inputs: { flag: true } }],
    ["an unknown rank is a vector", signature([tensor("x", "float")]), { inputs: { x: [0.5] } }],
    [
      "unknown inner dimensions are small",
      signature([tensor("x", "int32", [-1, -1])]),
      { instances: [[1, 1]] },
    ],
    ["a string is text", signature([tensor("s", "string", [-1])]), { instances: ["hello world"] }],
    [
      "row splits begin at 0 and end at the rows",
      signature([tensor("splits", "int64", [-1]), tensor("v", "float", [-1])]),
      { inputs: { splits: [0, 1], v: [0.5] } },
    ],
    [
      "indices stay inside a shape",
      signature([tensor("indices", "int64", [-1, 2]), tensor("shape", "int64", [2])]),
      { inputs: { indices: [[0, 0]], shape: [2, 2] } },
    ],
    [
      "a signature with a name says it",
      signature([x], undefined, "predict", "other"),
      { signature_name: "other", instances: [[0.5, 0.2, 0.9]] },
    ],
    [
      "classification is an empty example",
      signature([tensor("inputs", "string", [-1])], undefined, "classify"),
      { examples: [{}] },
    ],
  ];
  test.each(rows)("%s", (_, given, body) => {
    expect(buildSample(given, firstGuess(given))).toEqual({ verb: given.verb, body: body as never });
  });

  test("a picture is a PNG, by the name of the input", () => {
    const given = signature([tensor("image_bytes", "string", [-1])]);
    const { instances } = buildSample(given, firstGuess(given)).body as { instances: { b64: string }[] };
    expect(Buffer.from(instances[0]!.b64, "base64").subarray(1, 4).toString()).toBe("PNG");
  });

  test("a picture as numbers is large enough to convolve", () => {
    const given = signature([tensor("x", "float", [-1, -1, -1, 3])]);
    const { instances } = buildSample(given, firstGuess(given)).body as { instances: number[][][][] };
    expect([instances.length, instances[0]!.length, instances[0]![0]!.length]).toEqual([1, 8, 8]);
  });
});

describe("an error teaches the next guess:", () => {
  const first = firstGuess(signature([tensor("s", "string", [-1])]));
  const example = { ...first, strings: "example" as const };
  const sequence = { ...first, strings: "sequence" as const };
  const x = { name: "x", type: "float", count: 1 };
  const rows: [string, Guess, Partial<Guess>][] = [
    ["Could not parse example input, value: 'hello'", first, { strings: "example" }],
    ["Invalid protocol message input, example id: <unknown>", first, { strings: "sequence" }],
    [
      "Name: <unknown>, Feature: x (data type: int64) is required but could not be found.",
      example,
      { features: [{ ...x, type: "int64" }] },
    ],
    [
      "Name: <unknown>, Key: x, Index: 0.  Number of float values != expected.  Values size: 1 but output shape: [2,3]",
      { ...example, features: [x] },
      { features: [{ ...x, count: 6 }] },
    ],
    [
      "Name: <unknown>, Key: x, Index: 0.  Data types don't match. Expected type: string",
      { ...example, features: [x] },
      { features: [{ ...x, type: "string" }] },
    ],
    [
      "Name: <unknown>, Feature list 'v' is required but could not be found.",
      sequence,
      { lists: [{ name: "v", type: "float", count: 1 }] },
    ],
    [
      "Feature list 'v' has an unexpected number of values.  Total values size: 1 is not consistent with output shape: [?,2]",
      { ...sequence, lists: [{ ...x, name: "v" }] },
      { lists: [{ name: "v", type: "float", count: 2 }] },
    ],
    [
      "Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required.",
      first,
      { strings: "image" },
    ],
    ["Expect 3 fields but have 1 in record 0", first, { strings: "csv", columns: 3 }],
    ["StringToNumberOp could not correctly convert string: hello", first, { strings: "number" }],
    ["indices[0] = 1 is not in [0, 1)", first, { integer: 0 }],
    ["slice index 1 of dimension 0 out of bounds.", first, { integer: 0 }],
    ["inner dimension does not match: 1 vs. 4. Did you forget a transpose?", first, { extent: 4 }],
    ["Tensor name: y has inconsistent batch size: 2 expecting: 1", first, { columnar: true }],
  ];
  test.each(rows)("%s", (error, guess, change) => {
    expect(nextGuess([guess], error)).toEqual({ ...guess, ...change });
  });

  test("an answer that JSON cannot carry is no fault of the sample", () => {
    expect(nextGuess([first], "Failed to write JSON value for tensor type: uint16")).toBeUndefined();
  });

  test("what says nothing is answered by trying something else, and never the same twice", () => {
    const tried = [first];
    for (let next = nextGuess(tried, "?"); next !== undefined; next = nextGuess(tried, "?")) {
      expect(tried).not.toContainEqual(next);
      tried.push(next);
    }
    expect(tried.length).toBeGreaterThan(5);
    expect(nextGuess([], "?")).toBeUndefined();
  });
});

describe("searchSample()", () => {
  const given = signature([tensor("s", "string", [-1])]);

  test("sends what was learnt until it is accepted", async () => {
    const errors = [
      "Could not parse example input",
      "Feature: a (data type: int64) is required but could not be found",
    ];
    const { sample, answer, tries } = await searchSample(given, async () => {
      const text = errors.shift();
      return { ok: text === undefined, text: text ?? "fine" };
    });
    expect({ tries, answer }).toEqual({ tries: 3, answer: { ok: true, text: "fine" } });
    const { instances } = sample.body as { instances: { b64: string }[] };
    const { features } = fromBinary(ExampleSchema, Buffer.from(instances[0]!.b64, "base64"));
    expect(features?.feature["a"]?.kind).toMatchObject({ case: "int64List", value: { value: [1n] } });
  });

  test("gives up on a model that always refuses", async () => {
    let sent = 0;
    const { answer, tries } = await searchSample(given, async () => {
      sent++;
      return { ok: false, text: `Expect ${sent + 1} fields but have 1 in record 0` };
    });
    expect(answer.ok).toBe(false);
    expect(tries).toBe(sent);
    expect(tries).toBeLessThan(30);
  });
});

describe("findObstacle()", () => {
  const x = tensor("x", "float", [-1]);
  const rows: [string, SignatureSpec, unknown][] = [
    ["nothing", signature([x]), undefined],
    ["no inputs", signature([]), { kind: "no_inputs" }],
    [
      "an input JSON cannot carry",
      signature([x, tensor("h", "half", [-1])]),
      { kind: "input_dtype", alias: "h", dtype: "half" },
    ],
    [
      "an output JSON cannot carry",
      signature([x], [tensor("c", "complex64", [-1])]),
      { kind: "output_dtype", alias: "c", dtype: "complex64" },
    ],
    ["a tensor of several", signature([tensor("s", "float", [-1], true)]), { kind: "composite", alias: "s" }],
    ["nothing in an Example", signature([], [], "classify"), undefined],
  ];
  test.each(rows)("%s", (_, given, expected) => {
    expect(findObstacle(given)).toEqual(expected as never);
  });
});

describe("the bytes of a sample", () => {
  const features = [
    { name: "f", type: "float", count: 2 },
    { name: "i", type: "int64", count: 1 },
    { name: "s", type: "string", count: 40 },
  ];

  test("are a tf.Example", () => {
    const { feature } = fromBinary(ExampleSchema, exampleBytes(features)).features!;
    expect(feature["f"]!.kind).toMatchObject({ case: "floatList", value: { value: [0.5, 0.5] } });
    expect(feature["i"]!.kind).toMatchObject({ case: "int64List", value: { value: [1n] } });
    expect(feature["s"]!.kind.case).toBe("bytesList");
    expect(feature["s"]!.kind.value).toMatchObject({
      value: Array.from({ length: 40 }, () => new Uint8Array([0x61])),
    });
  });

  test("are a tf.SequenceExample", () => {
    const bytes = sequenceExampleBytes([features[1]!], [features[0]!]);
    const { context, featureLists } = fromBinary(SequenceExampleSchema, bytes);
    expect(context!.feature["i"]!.kind).toMatchObject({ case: "int64List", value: { value: [1n] } });
    expect(featureLists!.featureList["f"]!.feature).toHaveLength(1);
  });
});
