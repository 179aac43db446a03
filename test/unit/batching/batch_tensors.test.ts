import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { mergeInputs, roundUp, rowsOf, splitOutputs } from "../../../src/batching/batch_tensors.ts";
import { sizeOf, type Tensor, tensor } from "../../../src/tensor/tensor.ts";
import { floats, valuesOf } from "../../helpers/fake_run.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const zeros = (shape: readonly number[]): Tensor => tensor("float", shape, new Float32Array(sizeOf(shape)));

function shapesAfterPadding(...shapes: number[][]): readonly number[] {
  return mergeInputs(
    shapes.map((shape) => [zeros(shape)]),
    ["x"],
    0,
    true,
  )[0]!.shape;
}

describe("rowsOf()", () => {
  test("is the common leading dimension", () => {
    expect(rowsOf([zeros([3, 2]), zeros([3])])).toBe(3);
  });

  test.each([
    ["no input", [], "Batching Run() must have at least one input tensor"],
    ["a scalar", [zeros([])], "Batching Run() input tensors must have at least one dimension"],
    [
      "unequal rows",
      [zeros([1]), zeros([2])],
      "Batching Run() input tensors must have equal 0th-dimension size",
    ],
  ])("refuses %s", (_, inputs, message) => {
    expect(() => rowsOf(inputs)).toThrow(message);
  });
});

describe("roundUp()", () => {
  test.each([
    [2, [2, 4], 2],
    [2, [1, 3, 4], 3],
    [5, [1, 3, 4], 5],
    [5, [], 5],
  ])("%d in %j is %d", (rows, allowed, expected) => {
    expect(roundUp(rows, allowed)).toBe(expected);
  });
});

describe("mergeInputs()", () => {
  test("repeats the first row of the last task to fill up", () => {
    const [merged] = mergeInputs([[floats([1, 2], 1, 2)], [floats([2, 2], 3, 4, 5, 6)]], ["x"], 2, false);
    expect(merged!.shape).toEqual([5, 2]);
    expect(valuesOf(merged!)).toEqual([1, 2, 3, 4, 5, 6, 3, 4, 3, 4]);
  });

  test("takes the row from an earlier task when the last one has none", () => {
    const [merged] = mergeInputs([[floats([1], 7)], [floats([0])]], ["x"], 1, false);
    expect(valuesOf(merged!)).toEqual([7, 7]);
  });

  test("refuses different shapes unless told to pad", () => {
    expect(() => mergeInputs([[zeros([1, 2])], [zeros([1, 3])]], ["x"], 0, false)).toThrow(
      "Tensors with name 'x' from different tasks have different shapes and padding is turned off. Set pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal dimensions starting with the first dim.",
    );
  });

  test("pads the end of each dimension with the first element", () => {
    const [merged] = mergeInputs(
      [[floats([1, 2, 2], 1, 2, 3, 4)], [floats([1, 3, 3], 5, 6, 7, 8, 9, 10, 11, 12, 13)]],
      ["x"],
      0,
      true,
    );
    expect(merged!.shape).toEqual([2, 3, 3]);
    expect(valuesOf(merged!)).toEqual([1, 2, 1, 3, 4, 1, 1, 1, 1, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
  });

  test("pads strings and complex numbers too", () => {
    const [words] = mergeInputs(
      [[tensor("string", [1, 1], [bytes("a")])], [tensor("string", [1, 2], [bytes("b"), bytes("c")])]],
      ["x"],
      0,
      true,
    );
    expect((words!.data as Uint8Array[]).map((word) => new TextDecoder().decode(word))).toEqual([
      "a",
      "a",
      "b",
      "c",
    ]);
    const [complex] = mergeInputs(
      [
        [tensor("complex64", [1, 1], Float32Array.of(1, 2))],
        [tensor("complex64", [1, 2], Float32Array.of(3, 4, 5, 6))],
      ],
      ["x"],
      0,
      true,
    );
    expect(valuesOf(complex!)).toEqual([1, 2, 1, 2, 3, 4, 5, 6]);
  });

  test("pads to the largest of each dimension", () => {
    expect(shapesAfterPadding([1, 20, 30], [1, 50, 15])).toEqual([2, 50, 30]);
    expect(shapesAfterPadding([1, 100], [1, 101])).toEqual([2, 101]);
  });

  test.each([
    [
      "rank 7",
      [
        [1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 2],
      ],
      "Only tensors with rank from 1 to 6 can be padded.",
    ],
    [
      "an empty tensor",
      [
        [1, 0],
        [1, 2],
      ],
      "Got empty tensor in batch of non-empty tensors.",
    ],
    ["different ranks", [[1], [1, 2]], "Tensors of different ranks cannot be padded to the same shape."],
  ])("cannot pad %s", (_, shapes, message) => {
    expect(() => shapesAfterPadding(...shapes)).toThrow(message);
  });
});

describe("splitOutputs()", () => {
  test("is the inverse of mergeInputs()", () => {
    const counts = fc.array(fc.nat(4), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(counts, fc.nat(3), fc.nat(3), (rows, width, paddingRows) => {
        const filled = rows.some((count) => count > 0) ? paddingRows : 0;
        let next = 0;
        const tasks = rows.map((count) => [
          floats([count, width], ...Array.from({ length: count * width }, () => next++)),
        ]);
        const merged = mergeInputs(tasks, ["x"], filled, false);
        expect(splitOutputs(merged, rows, filled)).toEqual(tasks);
      }),
    );
  });

  test.each([
    [zeros([]), "Batched output tensor has 0 dimensions"],
    [
      zeros([4]),
      "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors",
    ],
  ])("refuses an output without the batch dimension", (output, message) => {
    expect(() => splitOutputs([output], [1, 2], 0)).toThrow(message);
  });
});
