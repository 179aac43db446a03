import { expect, test } from "bun:test";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { ExampleSchema } from "../../../src/gen/tensorflow/core/example/example_pb.ts";
import { ClassificationRequestSchema } from "../../../src/gen/tensorflow_serving/apis/classification_pb.ts";
import { MultiInferenceRequestSchema } from "../../../src/gen/tensorflow_serving/apis/inference_pb.ts";
import type { InputSchema } from "../../../src/gen/tensorflow_serving/apis/input_pb.ts";
import { decodeExampleRequest } from "../../../src/grpc/example_input.ts";

const example = (key: string, value: number): MessageInitShape<typeof ExampleSchema> => ({
  features: { feature: { [key]: { kind: { case: "floatList", value: { value: [value] } } } } },
});
const bytesOf = (init: MessageInitShape<typeof ExampleSchema>) =>
  toBinary(ExampleSchema, create(ExampleSchema, init));
const request = (input: MessageInitShape<typeof InputSchema> | undefined) =>
  toBinary(
    ClassificationRequestSchema,
    create(ClassificationRequestSchema, { modelSpec: { name: "m", signatureName: "s" }, input }),
  );

test.each<[string, MessageInitShape<typeof InputSchema> | undefined, Uint8Array[]]>([
  ["no input", undefined, []],
  ["an input of no kind", {}, []],
  ["an empty list", { kind: { case: "exampleList", value: {} } }, []],
  [
    "a list",
    { kind: { case: "exampleList", value: { examples: [example("a", 1), example("b", 2)] } } },
    [bytesOf(example("a", 1)), bytesOf(example("b", 2))],
  ],
  [
    "a list with a context",
    {
      kind: {
        case: "exampleListWithContext",
        value: { examples: [example("a", 1), {}], context: example("c", 3) },
      },
    },
    [new Uint8Array([...bytesOf(example("c", 3)), ...bytesOf(example("a", 1))]), bytesOf(example("c", 3))],
  ],
  ["a context alone", { kind: { case: "exampleListWithContext", value: { context: example("c", 3) } } }, []],
])("decodeExampleRequest() reads %s", (_, input, expected) => {
  const { message, examples } = decodeExampleRequest(ClassificationRequestSchema, request(input));
  expect(message.modelSpec?.name).toBe("m");
  expect(message.modelSpec?.signatureName).toBe("s");
  expect(message.input).toBeUndefined();
  expect(examples).toEqual(expected);
});

test("an input in two parts is one input", () => {
  const part = (value: number) =>
    request({ kind: { case: "exampleList", value: { examples: [example("a", value)] } } });
  const { examples } = decodeExampleRequest(
    ClassificationRequestSchema,
    new Uint8Array([...part(1), ...part(2)]),
  );
  expect(examples).toEqual([bytesOf(example("a", 1)), bytesOf(example("a", 2))]);
});

test("the tasks of a multi-inference request are kept", () => {
  const bytes = toBinary(
    MultiInferenceRequestSchema,
    create(MultiInferenceRequestSchema, {
      tasks: [{ methodName: "a" }, { methodName: "b" }],
      input: { kind: { case: "exampleList", value: { examples: [example("a", 1)] } } },
    }),
  );
  const { message, examples } = decodeExampleRequest(MultiInferenceRequestSchema, bytes);
  expect(message.tasks.map(({ methodName }) => methodName)).toEqual(["a", "b"]);
  expect(examples).toHaveLength(1);
});

test.each([["1205"], ["0a02"], ["12020aff"]])(
  "decodeExampleRequest() throws at the broken wire %s",
  (hex) => {
    expect(() =>
      decodeExampleRequest(ClassificationRequestSchema, new Uint8Array(Buffer.from(hex, "hex"))),
    ).toThrow();
  },
);
