import { describe, expect, test } from "bun:test";
import { raggedOps } from "../../../../src/graph/ops/ragged.ts";
import { setOps } from "../../../../src/graph/ops/set_operation.ts";
import { sparseOps } from "../../../../src/graph/ops/sparse.ts";
import { sparseCrossOps } from "../../../../src/graph/ops/sparse_cross.ts";
import { Value } from "../../../../src/graph/value.ts";
import { type Tensor, tensor } from "../../../../src/tensor/tensor.ts";
import ragged from "../../../fixtures/ops/ragged.json";
import raggedCross from "../../../fixtures/ops/ragged_cross.json";
import sparse from "../../../fixtures/ops/sparse.json";
import { describeOps, fakeNode } from "../../../helpers/op_cases.ts";

describeOps("sparse", [...sparseOps, ...sparseCrossOps, ...setOps], sparse);
describeOps("ragged", raggedOps, ragged);
describeOps("ragged_cross", sparseCrossOps, raggedCross);

describe("ragged tensors in variants", () => {
  const i64 = (...values: number[]): Tensor =>
    tensor("int64", [values.length], BigInt64Array.from(values, BigInt));
  const values = tensor("int32", [6], Int32Array.of(1, 2, 3, 4, 5, 6));
  const run = (op: string, attrs: Parameters<typeof fakeNode>[1], inputs: Value[]): Value[] => {
    const row = raggedOps.find((candidate) => candidate.op === op)!;
    const out = row.raw!(fakeNode(op, attrs))(inputs, { device: undefined } as never);
    return out instanceof Value ? [out] : [...out];
  };
  const encode = (splits: Tensor[], batched: boolean): Value =>
    run(
      "RaggedTensorToVariant",
      { RAGGED_RANK: { i: `${splits.length}` }, batched_input: { b: batched } },
      [...splits, values].map(Value.ofTensor),
    )[0]!;
  const decode = (value: Value, inputRank: number, outputRank: number): unknown =>
    run(
      "RaggedTensorFromVariant",
      {
        input_ragged_rank: { i: `${inputRank}` },
        output_ragged_rank: { i: `${outputRank}` },
        Tvalues: { type: 3 },
        Tsplits: { type: 9 },
      },
      [value],
    ).map((output) => [...(output.tensor(undefined).data as Int32Array)].map(Number));

  test("one level, batched: each row is a vector", () => {
    const encoded = encode([i64(0, 2, 2, 6)], true);
    expect(decode(encoded, 0, 1)).toEqual([
      [0, 2, 2, 6],
      [1, 2, 3, 4, 5, 6],
    ]);
    expect(decode(encoded, -1, 1)).toEqual([
      [0, 2, 2, 6],
      [1, 2, 3, 4, 5, 6],
    ]);
  });

  test("two levels, batched and whole", () => {
    const splits = [i64(0, 2, 2, 3), i64(0, 1, 3, 6)];
    const expected = [
      [0, 2, 2, 3],
      [0, 1, 3, 6],
      [1, 2, 3, 4, 5, 6],
    ];
    expect(decode(encode(splits, true), 1, 2)).toEqual(expected);
    expect(decode(encode(splits, false), 2, 2)).toEqual(expected);
  });

  test.each<[string, () => unknown, string]>([
    ["rank", () => decode(encode([i64(0, 6)], true), 1, 2), "has ragged_rank=0.  Expected ragged_rank=1."],
    ["sum of ranks", () => decode(encode([i64(0, 6)], true), 0, 2), "output_ragged_rank must be equal to"],
    [
      "whole rank",
      () => decode(encode([i64(0, 6)], false), 2, 2),
      "has ragged_rank=1.  Expected ragged_rank=2.",
    ],
    ["splits", () => encode([i64(0, 5)], true), "Final value of ragged splits must match"],
  ])("%s is refused", (_, act, message) => {
    expect(act).toThrow(message);
  });
});
