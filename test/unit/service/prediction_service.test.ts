import { describe, expect, test } from "bun:test";
import { Code, codeName, internal, StatusError } from "../../../src/base/status.ts";
import type { Classifications } from "../../../src/service/inference_head.ts";
import {
  type InferenceTask,
  mergeContext,
  PredictionService,
  type PredictRequest,
} from "../../../src/service/prediction_service.ts";
import { CLASSIFY_METHOD, REGRESS_METHOD, type Signature } from "../../../src/tensor/signature.ts";
import { type Tensor, tensor } from "../../../src/tensor/tensor.ts";
import { FakeHost } from "../../helpers/fake_host.ts";
import { FakeModels, FakeServable, halfPlusTwo, info, signature } from "../../helpers/fake_models.ts";

const float = (...values: number[]): Tensor => tensor("float", [values.length], Float32Array.from(values));
const bool: Tensor = tensor("bool", [], Uint8Array.of(1));
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** 入力のテンソル名に `:0` を付けたものを足し合わせて `sum:0` に、`a` をそのまま `a2:0` に出すモデル。 */
function adder(...signatures: readonly Signature[]): FakeServable {
  return new FakeServable({ name: "m", version: 7n }, signatures, (feeds) => {
    const values = [...feeds.values()].map(({ data }) => Number(data[0]));
    return new Map([
      ["sum:0", float(values.reduce((a, b) => a + b, 0))],
      ["a2:0", feeds.get("a:0") ?? float(0)],
    ]);
  });
}

const twoInputs = (options = {}) =>
  signature(
    "serving_default",
    { a: info("a:0", "float"), b: info("b:0", "float") },
    { again: info("a2:0", "float"), sum: info("sum:0", "float") },
    options,
  );

function setup(servable: FakeServable = halfPlusTwo(), methodNameCheck = false) {
  const host = new FakeHost();
  const models = new FakeModels(servable);
  return { host, models, servable, service: new PredictionService(host, models, { methodNameCheck }) };
}

const request = (given: Partial<PredictRequest>, inputs: Record<string, Tensor | undefined> = {}) => ({
  spec: { name: "m" },
  signatureName: "",
  readInputs: () => new Map(Object.entries(inputs)),
  outputFilter: [],
  ...given,
});

/** `コード: 文面` の形の失敗。 */
async function failure(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (thrown) {
    if (thrown instanceof StatusError) return `${codeName(thrown.code)}: ${thrown.message}`;
    throw thrown;
  }
  return "OK";
}

describe("predict()", () => {
  test("answers every output when the filter is empty", async () => {
    const { service, models } = setup(adder(twoInputs()));
    const result = await service.predict(request({}, { a: float(1), b: float(2) }), {});
    expect(result.id).toEqual({ name: "m", version: 7n });
    expect(result.signatureName).toBe("serving_default");
    expect([...result.outputs]).toEqual([
      ["again", float(1)],
      ["sum", float(3)],
    ]);
    expect(models.borrowed).toBe(0);
  });

  test("counts the elements of all inputs against the limit", async () => {
    const models = new FakeModels(adder(twoInputs()));
    const service = new PredictionService(new FakeHost(), models, {
      methodNameCheck: false,
      maxTensorElements: 4,
    });
    const ask = (...b: number[]) =>
      failure(() => service.predict(request({}, { a: float(1, 2), b: float(...b) }), {}));
    expect(await ask(1, 2)).toBe("OK");
    expect(await ask(1, 2, 3)).toBe(
      "INVALID_ARGUMENT: Request has 5 tensor elements, at most 4 are accepted",
    );
    expect(models.borrowed).toBe(0);
  });

  test("answers in the same turn when the run is synchronous, else gives the handle back later", async () => {
    const { service, models, servable } = setup(adder(twoInputs()));
    const inputs = { a: float(1), b: float(2) };
    expect(service.predict(request({}, inputs), {})).not.toBeInstanceOf(Promise);
    servable.asynchronous = true;
    const running = service.predict(request({}, inputs), {});
    expect(running).toBeInstanceOf(Promise);
    expect(models.borrowed).toBe(1);
    await running;
    expect(models.borrowed).toBe(0);
  });

  test("runs only the filtered outputs, once per set of aliases", async () => {
    const servable = adder(twoInputs());
    const prepared: string[] = [];
    const prepare = servable.prepare.bind(servable);
    servable.prepare = (feeds, fetches) => {
      prepared.push(`${feeds} -> ${fetches}`);
      return prepare(feeds, fetches);
    };
    const { service } = setup(servable);
    for (const outputFilter of [["sum"], ["sum"], ["sum", "again"], ["again", "sum"]]) {
      const { outputs } = await service.predict(request({ outputFilter }, { a: float(1), b: float(2) }), {});
      expect([...outputs.keys()].sort()).toEqual(outputFilter.toSorted());
    }
    expect(prepared).toEqual(["a:0,b:0 -> sum:0", "a:0,b:0 -> a2:0,sum:0"]);
  });

  test("fills what is missing from the defaults of the signature", async () => {
    const { service } = setup(adder(twoInputs({ defaults: { b: float(40) } })));
    const { outputs } = await service.predict(request({}, { a: float(2) }), {});
    expect(outputs.get("sum")).toEqual(float(42));
  });

  test("feeds in the byte order of tensor names, so arg[i] counts them", async () => {
    const swapped = signature(
      "serving_default",
      { a: info("z:0", "float"), b: info("y:0", "int64") },
      { sum: info("sum:0", "float") },
    );
    const { service } = setup(adder(swapped));
    expect(await failure(() => service.predict(request({}, { a: float(1), b: float(1) }), {}))).toBe(
      "INVALID_ARGUMENT: Expects arg[0] to be int64 but float is provided",
    );
    expect(
      await failure(() =>
        service.predict(request({}, { a: bool, b: tensor("int64", [1], BigInt64Array.of(1n)) }), {}),
      ),
    ).toBe("INVALID_ARGUMENT: Expects arg[1] to be float but bool is provided");
  });

  const missing =
    "INVALID_ARGUMENT: Signature input alias: b(feed name: b:0) not found in request and no default value provided. ";
  test.each<[string, Partial<PredictRequest>, Record<string, Tensor | undefined>, string, object?]>([
    ["no spec", { spec: undefined }, {}, "INVALID_ARGUMENT: Missing ModelSpec"],
    ["empty name", { spec: { name: "" } }, {}, "INVALID_ARGUMENT: ModelSpec has no name specified."],
    ["unknown model", { spec: { name: "n" } }, {}, "NOT_FOUND: Servable not found for request: Latest(n)"],
    [
      "unknown version",
      { spec: { name: "m", version: 0n } },
      {},
      "NOT_FOUND: Servable not found for request: Specific(m, 0)",
    ],
    [
      "unknown label",
      { spec: { name: "m", label: "stable" } },
      {},
      "INVALID_ARGUMENT: Unrecognized servable version label: stable",
    ],
    [
      "unknown signature",
      { signatureName: "s" },
      { wrong: bool },
      'FAILED_PRECONDITION: Serving signature key "s" not found.',
    ],
    [
      "too many inputs",
      {},
      { z: bool, b: bool, a: bool },
      "INVALID_ARGUMENT: input size does not match signature: 3!=2 len({a,b,z}) != len({a,b}). Sent extra: {z}. Missing but required: {}.",
    ],
    [
      "too few inputs, no defaults",
      {},
      { z: bool },
      "INVALID_ARGUMENT: input size does not match signature: 1!=2 len({z}) != len({a,b}). Sent extra: {z}. Missing but required: {a,b}.",
    ],
    [
      "wrong alias",
      {},
      { z: bool, a: bool },
      `${missing}Inputs expected to be in the request {a,z}, or default input alias set: `,
    ],
    [
      "wrong alias, another default",
      {},
      { a: bool },
      `${missing}Inputs expected to be in the request {a}, or default input alias set: a`,
      { defaults: { a: float(1) } },
    ],
    ["undecodable tensor", {}, { a: float(1), b: undefined }, "INVALID_ARGUMENT: tensor parsing error: b"],
    [
      "undecodable tensor after a missing one",
      {},
      { z: bool, b: undefined },
      "INVALID_ARGUMENT: Signature input alias: a(feed name: a:0) not found in request and no default value provided. Inputs expected to be in the request {b,z}, or default input alias set: ",
    ],
    [
      "alias nobody asked for, with defaults",
      {},
      { a: float(1), z: bool },
      "INVALID_ARGUMENT: Inputs contains invalid name. Used request inputs: a, request input: a,z",
      { defaults: { b: float(1) } },
    ],
    [
      "unknown output",
      { outputFilter: ["sum", "nope"] },
      { a: bool, b: bool },
      "INVALID_ARGUMENT: output tensor alias not found in signature: nope Outputs expected to be in the set {again,sum}.",
    ],
    [
      "repeated output",
      { outputFilter: ["sum", "sum"] },
      { a: bool, b: bool },
      "INVALID_ARGUMENT: duplicate output tensor alias: sum",
    ],
    [
      "wrong dtype",
      {},
      { a: bool, b: float(1) },
      "INVALID_ARGUMENT: Expects arg[0] to be float but bool is provided",
    ],
  ])("refuses %s", async (_, given, inputs, expected, options) => {
    const { service, servable, models } = setup(adder(twoInputs(options)));
    expect(await failure(() => service.predict(request(given, inputs), {}))).toBe(expected);
    expect(servable.runs).toBe(0);
    expect(models.borrowed).toBe(0);
  });

  test.each([
    [
      "two aliases on one tensor",
      signature(
        "serving_default",
        { a: info("a:0", "float"), b: info("a:0", "float") },
        { s: info("sum:0", "float") },
      ),
      { a: float(1), b: float(1) },
      'INVALID_ARGUMENT: Endpoint "a:0" fed more than once.',
    ],
    [
      "a signature without outputs",
      signature("serving_default", { a: info("a:0", "float") }, {}),
      { a: float(1) },
      "INVALID_ARGUMENT: Must specify at least one target to fetch or execute.",
    ],
    [
      "an input that cannot hold values",
      signature("serving_default", { a: info("a:0", undefined) }, { s: info("sum:0", "float") }),
      { a: float(1) },
      "INVALID_ARGUMENT: Expects arg[0] to be resource but float is provided",
    ],
  ])("refuses %s", async (_, one, inputs, expected) => {
    const { service } = setup(adder(one));
    expect(await failure(() => service.predict(request({}, inputs), {}))).toBe(expected);
  });

  test("uses the words of the door for a missing signature", async () => {
    const { service } = setup(adder());
    const missingSignature = (name: string) => new StatusError(Code.INVALID_ARGUMENT, `no "${name}" here`);
    expect(await failure(() => service.predict(request({ missingSignature }), {}))).toBe(
      'INVALID_ARGUMENT: no "serving_default" here',
    );
  });

  test.each([
    [
      "not/a/method",
      "INTERNAL: Expected prediction signature method_name to be one of {tensorflow/serving/predict, tensorflow/serving/classify, tensorflow/serving/regress}. Was: not/a/method",
    ],
    ["tensorflow/serving/predict", "OK"],
    [CLASSIFY_METHOD, "OK"],
    [REGRESS_METHOD, "OK"],
  ])("checks method name %s only when told to", async (methodName, expected) => {
    const inputs = { a: float(1), b: float(1) };
    const loose = setup(adder(twoInputs({ methodName })));
    expect(await failure(() => loose.service.predict(request({}, inputs), {}))).toBe("OK");
    const strict = setup(adder(twoInputs({ methodName })), true);
    expect(await failure(() => strict.service.predict(request({}, inputs), {}))).toBe(expected);
  });

  test("passes the failure of an operation through and gives the handle back", async () => {
    for (const asynchronous of [false, true]) {
      const { service, servable, models } = setup(adder(twoInputs()));
      servable.asynchronous = asynchronous;
      servable.beforeRun = () => {
        throw internal("Run totally failed");
      };
      expect(await failure(() => service.predict(request({}, { a: float(1), b: float(1) }), {}))).toBe(
        "INTERNAL: Run totally failed",
      );
      expect(models.borrowed).toBe(0);
    }
  });
});

describe("deadlines and cancellation", () => {
  const inputs = { a: float(1), b: float(1) };

  test.each([
    ["the caller has gone", { signal: AbortSignal.abort() }, "CANCELLED: Run call was cancelled"],
    ["the deadline has passed", { deadlineMs: 0 }, "DEADLINE_EXCEEDED: Timed out waiting for notification"],
  ])("the model is not run when %s", async (_, context, expected) => {
    const { service, servable } = setup(adder(twoInputs()));
    expect(await failure(() => service.predict(request({}, inputs), context))).toBe(expected);
    expect(servable.runs).toBe(0);
  });

  test.each([false, true])(
    "a run that ends too late is an error (asynchronous: %p)",
    async (asynchronous) => {
      const { service, servable, host } = setup(adder(twoInputs()));
      servable.asynchronous = asynchronous;
      servable.beforeRun = () => host.clock.spend(10);
      expect(await failure(() => service.predict(request({}, inputs), { deadlineMs: 5 }))).toBe(
        "DEADLINE_EXCEEDED: Timed out waiting for notification",
      );
      expect(servable.runs).toBe(1);
      expect(await failure(() => service.predict(request({}, inputs), { deadlineMs: 100 }))).toBe("OK");
    },
  );

  test("run time is recorded by model and API", async () => {
    const { service, servable, host } = setup(adder(twoInputs()));
    servable.beforeRun = () => host.clock.spend(2);
    await service.predict(request({}, inputs), {});
    const runtime = host.metrics
      .snapshot()
      .find(({ name }) => name === "/tensorflow/serving/runtime_latency")!;
    expect(runtime.cells.map(({ labelValues, value, count }) => ({ labelValues, value, count }))).toEqual([
      { labelValues: ["m", "Predict", "TF1"], value: 2000, count: 1 },
    ]);
  });
});

const strings = (shape: readonly number[], ...texts: string[]): Tensor =>
  tensor("string", shape, texts.map(bytes));
const scoresOf = (shape: readonly number[], ...values: number[]): Tensor =>
  tensor("float", shape, Float32Array.from(values));

/** 決まった値を出すモデル。 */
function canned(signatures: readonly Signature[], outputs: Record<string, Tensor>): FakeServable {
  return new FakeServable({ name: "m", version: 7n }, signatures, () => new Map(Object.entries(outputs)));
}

const example = info("example:0", "string");
const both = { classes: info("c:0", "string"), scores: info("s:0", "float") };
const inference = (examples: readonly Uint8Array[] = [bytes("e1"), bytes("e2")], signatureName = "") => ({
  spec: { name: "m" },
  signatureName,
  readExamples: () => examples,
});

describe("classify()", () => {
  const classifier = (outputs = both, options = {}) =>
    signature("serving_default", { inputs: example }, outputs, { methodName: CLASSIFY_METHOD, ...options });

  test.each<[string, Record<string, ReturnType<typeof info>>, Classifications]>([
    [
      "classes and scores",
      both,
      [
        [
          { label: "a", score: -1 },
          { label: "b", score: 0 },
        ],
        [
          { label: "c", score: 0.5 },
          { label: "日", score: 1 },
        ],
      ],
    ],
    [
      "classes only",
      { classes: both.classes },
      [
        [
          { label: "a", score: 0 },
          { label: "b", score: 0 },
        ],
        [
          { label: "c", score: 0 },
          { label: "日", score: 0 },
        ],
      ],
    ],
    [
      "scores, with another output beside",
      { scores: both.scores, other: info("c:0", "string") },
      [
        [
          { label: "", score: -1 },
          { label: "", score: 0 },
        ],
        [
          { label: "", score: 0.5 },
          { label: "", score: 1 },
        ],
      ],
    ],
  ])("reads %s", async (_, outputs, expected) => {
    const { service } = setup(
      canned([classifier(outputs as typeof both)], {
        "c:0": strings([2, 2], "a", "b", "c", "日"),
        "s:0": scoresOf([2, 2], -1, 0, 0.5, 1),
      }),
    );
    const result = await service.classify(inference(), {});
    expect(result).toEqual({
      id: { name: "m", version: 7n },
      signatureName: "serving_default",
      classifications: expected,
    });
  });

  test("one tensor under both aliases counts as classes, as upstream reads it", async () => {
    const { service } = setup(
      canned([classifier({ classes: both.classes, scores: both.classes })], {
        "c:0": strings([2, 1], "a", "b"),
      }),
    );
    const { classifications } = await service.classify(inference(), {});
    expect(classifications).toEqual([[{ label: "a", score: 0 }], [{ label: "b", score: 0 }]]);
  });

  const sig = (inputs: object, outputs: object, methodName = CLASSIFY_METHOD) =>
    signature(
      "serving_default",
      inputs as Record<string, ReturnType<typeof info>>,
      outputs as Record<string, ReturnType<typeof info>>,
      { methodName },
    );
  test.each<[string, Signature, string]>([
    ["no input", sig({}, both), "Expected one input Tensor."],
    ["two inputs", sig({ inputs: example, more: example }, both), "Expected one input Tensor."],
    ["no output", sig({ inputs: example }, {}), "Expected one or two output Tensors, found 0"],
    [
      "three outputs",
      sig({ inputs: example }, { ...both, more: example }),
      "Expected one or two output Tensors, found 3",
    ],
    [
      "another input alias",
      sig({ x: example }, both),
      "No classification inputs found in SignatureDef: inputs {",
    ],
    [
      "another input alias, with a dimension of 0",
      sig({ x: { ...example, shape: [0, -1] } }, both),
      `No classification inputs found in SignatureDef: inputs {
  key: "x"
  value {
    name: "example:0"
    dtype: DT_STRING
    tensor_shape {
      dim {
      }
      dim {
        size: -1
      }
    }
  }
}
`,
    ],
    [
      "other output aliases",
      sig({ inputs: example }, { y: both.scores }),
      'Expected classification signature outputs to contain at least one of "classes" or "scores". Signature was: inputs {',
    ],
    [
      "an input that is not a string",
      sig({ inputs: info("x:0", "float") }, both),
      "Expects arg[0] to be float but string is provided",
    ],
  ])("refuses %s", async (_, one, expected) => {
    const { service, servable } = setup(canned([one], {}));
    expect(await failure(() => service.classify(inference(), {}))).toStartWith(
      `INVALID_ARGUMENT: ${expected}`,
    );
    expect(servable.runs).toBe(0);
  });

  test.each<[string, Record<string, Tensor>, string]>([
    [
      "classes of rank 1",
      { "c:0": strings([2], "a", "b"), "s:0": scoresOf([2, 1], 1, 2) },
      "Expected Tensor shape: [batch_size num_classes] but got [2]",
    ],
    [
      "classes of numbers",
      { "c:0": scoresOf([2, 1], 1, 2), "s:0": scoresOf([2, 1], 1, 2) },
      "Expected classes Tensor of DT_STRING. Got: DT_FLOAT",
    ],
    [
      "another number of classes rows",
      { "c:0": strings([1, 2], "a", "b"), "s:0": scoresOf([2, 1], 1, 2) },
      "Expected classes output batch size of 2. Got: 1",
    ],
    [
      "scores of rank 3",
      { "c:0": strings([2, 1], "a", "b"), "s:0": scoresOf([2, 1, 1], 1, 2) },
      "Expected Tensor shape: [batch_size num_classes] but got [2,1,1]",
    ],
    [
      "scores of text",
      { "c:0": strings([2, 1], "a", "b"), "s:0": strings([2, 1], "a", "b") },
      "Expected scores Tensor of DT_FLOAT. Got: DT_STRING",
    ],
    [
      "another number of scores rows",
      { "c:0": strings([2, 1], "a", "b"), "s:0": scoresOf([3, 1], 1, 2, 3) },
      "Expected scores output batch size of 2. Got: 3",
    ],
    [
      "different columns",
      { "c:0": strings([2, 2], "a", "b", "c", "d"), "s:0": scoresOf([2, 3], 1, 2, 3, 4, 5, 6) },
      "Tensors class and score should match in dim_size(1). Got 2 vs. 3",
    ],
  ])("refuses %s after the run", async (_, outputs, expected) => {
    const { service } = setup(canned([classifier()], outputs));
    expect(await failure(() => service.classify(inference(), {}))).toBe(`INVALID_ARGUMENT: ${expected}`);
  });

  test("checks the signature before the examples, the method name first of all", async () => {
    const odd = sig({}, {}, "x");
    const strict = setup(canned([odd], {}), true);
    expect(await failure(() => strict.service.classify(inference([]), {}))).toBe(
      "INVALID_ARGUMENT: Expected classification signature method_name to be tensorflow/serving/classify. Was: x",
    );
    const loose = setup(canned([odd, { ...classifier(), key: "good" }], {}));
    expect(await failure(() => loose.service.classify(inference([]), {}))).toEndWith("one input Tensor.");
    expect(await failure(() => loose.service.classify(inference([], "good"), {}))).toBe(
      "INVALID_ARGUMENT: Input is empty.",
    );
    expect(await failure(() => loose.service.classify(inference([], "bad"), {}))).toBe(
      "INVALID_ARGUMENT: No signature was found with the name: bad",
    );
    expect(await failure(() => loose.service.classify({ ...inference(), spec: undefined }, {}))).toBe(
      "INVALID_ARGUMENT: Missing ModelSpec",
    );
  });
});

describe("regress()", () => {
  const value = info("y:0", "float");
  const sig = (
    inputs: Record<string, ReturnType<typeof info>>,
    outputs: Record<string, ReturnType<typeof info>>,
    methodName = REGRESS_METHOD,
  ) => signature("serving_default", inputs, outputs, { methodName });
  const regressor = sig({ inputs: example }, { outputs: value });

  test.each([
    ["[n]", [2]],
    ["[n, 1]", [2, 1]],
  ])("reads values of shape %s", async (_, shape) => {
    const { service } = setup(canned([regressor], { "y:0": scoresOf(shape, 2, 3) }));
    const { regressions } = await service.regress(inference(), {});
    expect([...regressions]).toEqual([2, 3]);
  });

  test.each<[string, Signature, string]>([
    ["no input", sig({}, { outputs: value }), "Expected one input Tensor."],
    ["two outputs", sig({ inputs: example }, { outputs: value, y: value }), "Expected one output Tensor."],
    [
      "another input alias",
      sig({ x: example }, { outputs: value }),
      "No regression inputs found in SignatureDef: inputs {",
    ],
    [
      "another output alias",
      sig({ inputs: example }, { y: value }),
      "No regression outputs found in SignatureDef: inputs {",
    ],
  ])("refuses %s", async (_, one, expected) => {
    const { service } = setup(canned([one], {}));
    expect(await failure(() => service.regress(inference(), {}))).toStartWith(
      `INVALID_ARGUMENT: ${expected}`,
    );
  });

  test.each<[string, Tensor, string]>([
    [
      "a scalar",
      scoresOf([], 1),
      "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got []",
    ],
    [
      "two columns",
      scoresOf([2, 2], 1, 2, 3, 4),
      "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]",
    ],
    [
      "another batch size",
      scoresOf([3], 1, 2, 3),
      "Input batch size did not match output batch size: 2 vs. 3",
    ],
    ["text", strings([2], "a", "b"), "Expected output Tensor of DT_FLOAT.  Got: DT_STRING"],
  ])("refuses %s after the run", async (_, output, expected) => {
    const { service } = setup(canned([regressor], { "y:0": output }));
    expect(await failure(() => service.regress(inference(), {}))).toBe(`INVALID_ARGUMENT: ${expected}`);
  });

  test("checks the method name only when told to", async () => {
    const odd = sig({ inputs: example }, { outputs: value }, "");
    const outputs = { "y:0": scoresOf([2], 1, 2) };
    expect(await failure(() => setup(canned([odd], outputs)).service.regress(inference(), {}))).toBe("OK");
    expect(await failure(() => setup(canned([odd], outputs), true).service.regress(inference(), {}))).toBe(
      "INVALID_ARGUMENT: Expected regression signature method_name to be tensorflow/serving/regress. Was: ",
    );
  });
});

describe("multiInference()", () => {
  const value = info("y:0", "float");
  const signatures = [
    signature("c", { inputs: example }, both, { methodName: CLASSIFY_METHOD }),
    signature("r", { inputs: info("other:0", "string") }, { outputs: value }, { methodName: REGRESS_METHOD }),
    signature("serving_default", { inputs: example }, { outputs: info("y2:0", "float") }),
  ];
  const outputs = {
    "c:0": strings([1, 1], "a"),
    "s:0": scoresOf([1, 1], 0.5),
    "y:0": scoresOf([1], 3),
    "y2:0": scoresOf([1, 1], 4),
  };
  const task = (signatureName: string, methodName: string, spec: InferenceTask["spec"] = { name: "m" }) => ({
    spec,
    signatureName,
    methodName,
  });
  const readExamples = () => [bytes("e")];
  const classify = task("c", CLASSIFY_METHOD);

  test("answers in task order from a single run", async () => {
    const { service, servable, host } = setup(canned(signatures, outputs));
    const results = await service.multiInference(
      { tasks: [task("r", REGRESS_METHOD), classify, task("", REGRESS_METHOD)], readExamples },
      {},
    );
    const id = { name: "m", version: 7n };
    expect(results).toEqual([
      { id, signatureName: "r", regressions: Float32Array.of(3) },
      { id, signatureName: "c", classifications: [[{ label: "a", score: 0.5 }]] },
      { id, signatureName: "serving_default", regressions: Float32Array.of(4) },
    ]);
    expect(servable.runs).toBe(1);
    const counts = host.metrics.snapshot().filter(({ name }) => name.includes("example_count"));
    expect(counts.map(({ name, cells }) => [name, cells[0]?.value])).toEqual([
      ["/tensorflow/serving/request_example_count_total", 1],
      ["/tensorflow/serving/request_example_counts", 1],
    ]);
  });

  test.each<[string, readonly InferenceTask[], string]>([
    ["no tasks", [], "INVALID_ARGUMENT: ModelSpec has no name specified."],
    [
      "a first task without a spec",
      [{ ...classify, spec: undefined }],
      "INVALID_ARGUMENT: ModelSpec has no name specified.",
    ],
    [
      "a later task without a name",
      [classify, task("r", REGRESS_METHOD, { name: "" })],
      "INVALID_ARGUMENT: Found ModelSpec with an empty model name.",
    ],
    [
      "another model",
      [classify, task("r", REGRESS_METHOD, { name: "n" })],
      "INVALID_ARGUMENT: All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    ],
    ["a signature twice", [classify, classify], "INVALID_ARGUMENT: Duplicate evaluation of signature: c"],
    [
      "an unknown signature",
      [task("nope", CLASSIFY_METHOD)],
      "INVALID_ARGUMENT: Requested signature not found in model graph: nope",
    ],
    [
      "another method",
      [task("c", "tensorflow/serving/predict")],
      "UNIMPLEMENTED: Unsupported signature method_name: tensorflow/serving/predict",
    ],
    [
      "a signature that does not fit",
      [task("r", CLASSIFY_METHOD)],
      'INVALID_ARGUMENT: Expected classification signature outputs to contain at least one of "classes" or "scores".',
    ],
  ])("refuses %s", async (_, tasks, expected) => {
    const { service, servable } = setup(canned(signatures, outputs));
    expect(await failure(() => service.multiInference({ tasks, readExamples }, {}))).toStartWith(expected);
    expect(servable.runs).toBe(0);
  });

  test("looks at the examples after the tasks", async () => {
    const { service } = setup(canned(signatures, outputs));
    expect(
      await failure(() => service.multiInference({ tasks: [classify], readExamples: () => [] }, {})),
    ).toBe("INVALID_ARGUMENT: Input is empty.");
  });
});

describe("getModelMetadata()", () => {
  test("gives every signature of the version in use", () => {
    const { service, servable, models } = setup();
    const result = service.getModelMetadata({ name: "half_plus_two" }, ["signature_def", "signature_def"]);
    expect(result).toEqual({ id: servable.id, signatures: servable.signatures });
    expect(models.borrowed).toBe(0);
  });

  test.each<[string, { name: string } | undefined, string[], string]>([
    ["no spec before no field", undefined, [], "INVALID_ARGUMENT: Missing ModelSpec"],
    [
      "no field before no model",
      { name: "nope" },
      [],
      "INVALID_ARGUMENT: GetModelMetadataRequest must specify at least one metadata_field",
    ],
    [
      "an unknown field before no model",
      { name: "nope" },
      ["signature_def", "some_stuff"],
      "INVALID_ARGUMENT: Metadata field some_stuff is not supported",
    ],
    [
      "an unknown model",
      { name: "nope" },
      ["signature_def"],
      "NOT_FOUND: Servable not found for request: Latest(nope)",
    ],
  ])("refuses %s", async (_, spec, fields, expected) => {
    const { service } = setup();
    expect(await failure(() => service.getModelMetadata(spec, fields))).toBe(expected);
  });
});

test("mergeContext() puts the context in front of every example", () => {
  expect(mergeContext([bytes("a"), bytes("b")], bytes("ctx-"))).toEqual([bytes("ctx-a"), bytes("ctx-b")]);
  const examples = [bytes("a")];
  expect(mergeContext(examples, new Uint8Array(0))).toBe(examples);
});
