import { expect, test } from "bun:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, StatusError } from "../../../src/base/status.ts";
import { TensorProtoSchema } from "../../../src/gen/tensorflow/core/framework/tensor_pb.ts";
import { PredictRequestSchema } from "../../../src/gen/tensorflow_serving/apis/predict_pb.ts";
import { decodePredictRequest } from "../../../src/grpc/predict_codec.ts";
import { wireOfDType } from "../../../src/tensor/dtype.ts";
import { PaddingBudget } from "../../../src/tensor/padding_budget.ts";
import { decodeTensorProto } from "../../../src/tensor/tensor_wire.ts";

function budgetOf(bytes: number) {
  const turn: (() => void)[] = [];
  const budget = new PaddingBudget(bytes, (callback) => turn.push(callback));
  const endTurn = (): void => {
    for (const callback of turn.splice(0)) callback();
  };
  return { budget, endTurn };
}

const padded = (elements: number) => ({
  dtype: wireOfDType("float"),
  tensorShape: { dim: [{ size: BigInt(elements) }] },
  floatVal: [1],
});
const tensorBytes = (elements: number): Uint8Array =>
  toBinary(TensorProtoSchema, create(TensorProtoSchema, padded(elements)));

test("a turn has so much room, the next has it again", () => {
  const { budget, endTurn } = budgetOf(100);
  expect([budget.take(60), budget.take(60), budget.take(40), budget.take(1)]).toEqual([
    true,
    false,
    true,
    false,
  ]);
  endTurn();
  expect([budget.take(101), budget.take(100)]).toEqual([false, true]);
});

test("only tensors that are padded to many times their message take room", () => {
  const { budget } = budgetOf(1_000_000);
  // 64 KiB までは数えない。
  for (let i = 0; i < 100; i++)
    expect(decodeTensorProto(tensorBytes(10_000), budget).data.length).toBe(10_000);
  const content = create(TensorProtoSchema, { ...padded(500_000), floatVal: Array(500_000).fill(1) });
  expect(decodeTensorProto(toBinary(TensorProtoSchema, content), budget).data.length).toBe(500_000);
  expect(decodeTensorProto(tensorBytes(200_000), budget).data.length).toBe(200_000);
  expect(() => decodeTensorProto(tensorBytes(200_000), budget)).toThrow(
    new StatusError(
      Code.RESOURCE_EXHAUSTED,
      "Tensor of shape [200000] is padded to 800000 bytes, too much at this moment",
    ),
  );
  expect(decodeTensorProto(tensorBytes(200_000)).data.length).toBe(200_000);
});

test("a request without room for its inputs is read all the same, and says why", () => {
  const { budget, endTurn } = budgetOf(1_000_000);
  const request = toBinary(
    PredictRequestSchema,
    create(PredictRequestSchema, {
      modelSpec: { name: "m" },
      inputs: { x: padded(200_000), y: padded(200_000) },
    }),
  );
  const refused = decodePredictRequest(request, budget);
  expect(refused.refusal?.code).toBe(Code.RESOURCE_EXHAUSTED);
  expect([refused.spec?.name, refused.inputs.size]).toEqual(["m", 1]);
  endTurn();
  expect(
    decodePredictRequest(request.subarray(0, request.length), budgetOf(2_000_000).budget).refusal,
  ).toBeUndefined();
});
