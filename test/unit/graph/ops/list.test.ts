import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { listOps } from "../../../../src/graph/ops/list.ts";
import type { OpRow } from "../../../../src/graph/ops/registry.ts";
import { tensorArrayOps } from "../../../../src/graph/ops/tensor_array.ts";
import { TensorList } from "../../../../src/graph/ops/tensor_list.ts";
import { Value } from "../../../../src/graph/value.ts";
import { type Tensor, tensor } from "../../../../src/tensor/tensor.ts";
import { fakeNode } from "../../../helpers/op_cases.ts";

const f = (shape: number[], ...values: number[]): Tensor => tensor("float", shape, Float32Array.from(values));
const i32 = (...values: number[]): Tensor => tensor("int32", [values.length], Int32Array.from(values));
const i64 = (...values: number[]): Tensor =>
  tensor("int64", [values.length], BigInt64Array.from(values, BigInt));
const scalar = (value: number): Tensor => tensor("int32", [], Int32Array.of(value));
const unknown = scalar(-1);
const FLOAT = { element_dtype: { type: 1 }, shape_type: { type: 3 } };

function call(
  rows: readonly OpRow[],
  op: string,
  attrs: Parameters<typeof fakeNode>[1],
  ...inputs: (Value | Tensor)[]
): Value[] {
  const row = rows.find((candidate) => candidate.op === op)!;
  const values = inputs.map((input) => (input instanceof Value ? input : Value.ofTensor(input)));
  const out = row.raw!(fakeNode(op, attrs))(values, { device: undefined } as never);
  return out instanceof Value ? [out] : [...out];
}

const list = (op: string, ...inputs: (Value | Tensor)[]): Value => call(listOps, op, FLOAT, ...inputs)[0]!;
const read = (value: Value): [number[], (number | bigint)[]] => {
  const { shape, data } = value.tensor(undefined);
  return [[...shape], [...(data as Float32Array)]];
};

const reserve = (shape: Tensor, size: number): Value => list("TensorListReserve", shape, scalar(size));
const mixed = (): Value => list("TensorListSetItem", reserve(i32(-1), 3), scalar(1), f([2], 7, 8));
const uneven = (): Value => list("TensorListSetItem", mixed(), scalar(2), f([3], 7, 8, 9));
const full = (): Value => list("TensorListSetItem", uneven(), scalar(0), f([1], 1));

/** 期待値は TensorFlow 2.21 の結果そのまま。 */
const results: [string, () => Value, [number[], number[]]][] = [
  [
    "uninitialized element",
    () => list("TensorListGetItem", reserve(i32(2), 3), scalar(0), i32(2)),
    [[2], [0, 0]],
  ],
  [
    "its shape merged",
    () => list("TensorListGetItem", reserve(i32(-1), 3), scalar(0), i32(4)),
    [[4], [0, 0, 0, 0]],
  ],
  ["stack of nothing", () => list("TensorListStack", reserve(i32(2), 0), i32(2)), [[0, 2], []]],
  [
    "stack of unset",
    () => list("TensorListStack", reserve(i32(2), 2), i32(-1)),
    [
      [2, 2],
      [0, 0, 0, 0],
    ],
  ],
  [
    "stack of some",
    () => list("TensorListStack", mixed(), unknown),
    [
      [3, 2],
      [0, 0, 7, 8, 0, 0],
    ],
  ],
  ["concat", () => list("TensorListConcatV2", full(), i32(-1), i64()), [[6], [1, 7, 8, 7, 8, 9]]],
  [
    "concat lengths",
    () => call(listOps, "TensorListConcatV2", FLOAT, full(), i32(-1), i64())[1]!,
    [[3], [1n, 2n, 3n] as never],
  ],
  [
    "concat, unset",
    () => list("TensorListConcatV2", mixed(), i32(-1), i64(2, 2, 2)),
    [[6], [0, 0, 7, 8, 0, 0]],
  ],
  [
    "concat of nothing",
    () => list("TensorListConcatV2", reserve(i32(-1, 3), 0), i32(-1, 3), i64()),
    [[0, 3], []],
  ],
  [
    "gather",
    () => list("TensorListGather", uneven(), i32(1, 1), unknown),
    [
      [2, 2],
      [7, 8, 7, 8],
    ],
  ],
  [
    "gather of unset",
    () => list("TensorListGather", reserve(i32(2), 3), i32(1, 2), unknown),
    [
      [2, 2],
      [0, 0, 0, 0],
    ],
  ],
  [
    "scatter length",
    () =>
      list("TensorListLength", list("TensorListScatterV2", f([2, 1], 1, 2), i32(0, 3), i32(1), scalar(-1))),
    [[], [4]],
  ],
  [
    "scatter, sized",
    () =>
      list("TensorListLength", list("TensorListScatterV2", f([2, 1], 1, 2), i32(0, 3), i32(1), scalar(6))),
    [[], [6]],
  ],
  [
    "split",
    () => list("TensorListStack", list("TensorListSplit", f([4], 1, 2, 3, 4), i32(-1), i64(2, 2)), unknown),
    [
      [2, 2],
      [1, 2, 3, 4],
    ],
  ],
  [
    "from tensor",
    () => list("TensorListStack", list("TensorListFromTensor", f([2, 2], 1, 2, 3, 4), i32(2)), unknown),
    [
      [2, 2],
      [1, 2, 3, 4],
    ],
  ],
  ["element shape", () => list("TensorListElementShape", reserve(i32(-1, 3), 2)), [[2], [-1, 3]]],
  ["unknown element shape", () => list("TensorListElementShape", reserve(unknown, 2)), [[], [-1]]],
  ["resize", () => list("TensorListLength", list("TensorListResize", uneven(), scalar(5))), [[], [5]]],
  [
    "concat lists",
    () => list("TensorListLength", list("TensorListConcatLists", uneven(), full())),
    [[], [6]],
  ],
  [
    "into existing",
    () =>
      list(
        "TensorListGetItem",
        list("TensorListScatterIntoExistingList", uneven(), f([1, 2], 5, 6), i32(0)),
        scalar(0),
        unknown,
      ),
    [[2], [5, 6]],
  ],
];

const errors: [string, () => unknown, string][] = [
  [
    "get",
    () => list("TensorListGetItem", reserve(i32(2), 3), scalar(5), i32(2)),
    "Trying to access element 5 in a list with 3 elements.",
  ],
  [
    "get negative",
    () => list("TensorListGetItem", reserve(i32(2), 3), scalar(-1), i32(2)),
    "Trying to access element -1 in a list with 3 elements.",
  ],
  [
    "get unset",
    () => list("TensorListGetItem", reserve(i32(-1), 3), scalar(0), i32(-1)),
    "Trying to read an uninitialized tensor but element_shape is not fully defined: [?] and no list element is set.",
  ],
  [
    "get unset, no rank",
    () => list("TensorListGetItem", reserve(unknown, 3), scalar(0), unknown),
    "Trying to read an uninitialized tensor but element_shape is not fully defined: <unknown> and no list element is set.",
  ],
  [
    "get type",
    () =>
      call(
        listOps,
        "TensorListGetItem",
        { element_dtype: { type: 3 } },
        reserve(i32(2), 3),
        scalar(0),
        i32(2),
      ),
    "Invalid data types; op elements int32 but list elements float",
  ],
  [
    "get shape",
    () => list("TensorListGetItem", reserve(i32(2), 3), scalar(0), i32(3)),
    "PartialTensorShape: Incompatible shapes during merge: [3] vs. [2]",
  ],
  [
    "set",
    () => list("TensorListSetItem", reserve(i32(2), 3), scalar(5), f([2], 1, 2)),
    "Trying to modify element 5 in a list with 3 elements.",
  ],
  [
    "set shape",
    () => list("TensorListSetItem", reserve(i32(2), 3), scalar(0), f([3], 1, 2, 3)),
    "Tried to set a tensor with incompatible shape at a list index. Item element shape: [3] list shape: [2]",
  ],
  [
    "set type",
    () => list("TensorListSetItem", reserve(i32(2), 3), scalar(0), i32(1, 2)),
    "Invalid data types; op elements int32 but list elements float",
  ],
  [
    "push shape",
    () => list("TensorListPushBack", reserve(i32(2), 3), f([3], 1, 2, 3)),
    "Tried to append a tensor with incompatible shape to a list. Op element shape: [3] list shape: [2]",
  ],
  ["pop", () => list("TensorListPopBack", reserve(i32(2), 0), i32(2)), "Trying to pop from an empty list."],
  [
    "reserve",
    () => reserve(i32(2), -1),
    "The num_elements to reserve must be a non negative number, but got -1",
  ],
  [
    "reserve two",
    () => list("TensorListReserve", i32(2), i32(1, 2)),
    "The num_elements to reserve must be a tensor size 1, but got [2]",
  ],
  [
    "stack empty",
    () => list("TensorListStack", reserve(i32(-1), 0), i32(-1)),
    "Tried to stack elements of an empty list with non-fully-defined element_shape: [?]",
  ],
  [
    "stack unset",
    () => list("TensorListStack", reserve(i32(-1), 2), i32(-1)),
    "Tried to stack list which only contains uninitialized tensors and has a non-fully-defined element_shape: [?]",
  ],
  [
    "stack count",
    () => call(listOps, "TensorListStack", { ...FLOAT, num_elements: { i: "5" } }, mixed(), unknown),
    "Operation expected a list with 5 elements but got a list with 3 elements.",
  ],
  [
    "stack uneven",
    () => list("TensorListStack", uneven(), unknown),
    "PartialTensorShape: Incompatible shapes during merge: [2] vs. [3]",
  ],
  [
    "concat empty",
    () => list("TensorListConcatV2", reserve(unknown, 0), unknown, i64()),
    "All except the first dimension must be fully defined when concating an empty tensor list. element_shape: <unknown>",
  ],
  [
    "gather",
    () => list("TensorListGather", uneven(), i32(1, 5), unknown),
    "Trying to gather element 5 in a list with 3 elements.",
  ],
  [
    "from tensor",
    () => list("TensorListFromTensor", f([1, 2], 1, 2), i32(3)),
    "Specified a list with shape [3] from a tensor with shape [2]",
  ],
  [
    "scatter",
    () => list("TensorListScatterV2", f([2, 1], 1, 2), i32(0, 3), i32(1), scalar(2)),
    "TensorListScatter: Trying to scatter at index 3 in list with size 2",
  ],
  [
    "scatter rows",
    () => list("TensorListScatterV2", f([2, 1], 1, 2), i32(0), i32(1), scalar(6)),
    "Invalid number of rows in input tensor. Expected: 1 Actual: 2",
  ],
  [
    "scatter negative",
    () => list("TensorListScatterV2", f([2, 1], 1, 2), i32(0, -1), i32(1), scalar(6)),
    "Indices in TensorListScatter must all be non-negative.",
  ],
  [
    "split rest",
    () => list("TensorListSplit", f([4], 1, 2, 3, 4), i32(-1), i64(2, 1)),
    "Unused values in tensor. Length of tensor: 4 Values used: 3",
  ],
  [
    "split beyond",
    () => list("TensorListSplit", f([4], 1, 2, 3, 4), i32(-1), i64(2, 5)),
    "Attempting to slice [2, 7] from tensor with length 4",
  ],
  [
    "resize",
    () => list("TensorListResize", uneven(), scalar(-5)),
    "TensorListSlice expects size to be non-negative. Got: -5",
  ],
  [
    "full",
    () => list("TensorListPushBack", list("EmptyTensorList", i32(2), scalar(0)), f([2], 1, 2)),
    "Tried to push item into a full list list size: 0 max_num_elements: 0",
  ],
];

describe("TensorList ops", () => {
  test.each(results)("%s", (_, run, expected) => {
    expect(read(run())).toEqual(expected as [number[], (number | bigint)[]]);
  });

  test.each(errors)("%s is refused", (_, run, message) => {
    expect(run).toThrow(message);
  });

  test("push and pop", () => {
    const pushed = list("TensorListPushBack", list("EmptyTensorList", unknown, unknown), f([1], 4));
    const [rest, last] = call(listOps, "TensorListPopBack", FLOAT, pushed, unknown);
    expect(read(last!)).toEqual([[1], [4]]);
    expect(read(list("TensorListLength", rest!))).toEqual([[], [0]]);
    expect(read(list("TensorListLength", pushed))).toEqual([[], [1]]);
  });

  test("variants are stored as they are", () => {
    const inner = reserve(i32(1), 2);
    const variants = { element_dtype: { type: 21 }, shape_type: { type: 3 } };
    const outer = call(listOps, "TensorListReserve", variants, unknown, scalar(1))[0]!;
    const set = call(listOps, "TensorListSetItem", variants, outer, scalar(0), inner)[0]!;
    const got = call(listOps, "TensorListGetItem", variants, set, scalar(0), unknown)[0]!;
    expect(got.object).toBe(inner.object);
  });

  test("every version keeps its own contents", () => {
    const step = fc.record({ from: fc.nat(30), index: fc.nat(6), pop: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const models: (number | undefined)[][] = [[]];
        const lists = [new TensorList("float", undefined, [])];
        const numbers = (of: TensorList): (number | undefined)[] =>
          of.items.map((item) => (item === undefined ? undefined : Number((item as Tensor).data[0])));
        steps.forEach(({ from, index, pop }, n) => {
          const base = from % lists.length;
          const model = models[base]!;
          const version = lists[base]!;
          if (pop && model.length > 0) {
            models.push(model.slice(0, -1));
            lists.push(version.withoutLast());
          } else {
            const at = index % (model.length + 1);
            models.push(Object.assign([...model], { [at]: n }));
            lists.push(version.with(at, f([], n)));
          }
          lists.forEach((of, i) => {
            expect(of.length).toBe(models[i]!.length);
          });
        });
        for (let i = 0; i < lists.length; i += 2) expect(numbers(lists[i]!)).toEqual(models[i]!);
        for (let i = lists.length - 1; i >= 0; i--) expect(numbers(lists[i]!)).toEqual(models[i]!);
      }),
    );
  });
});

describe("TensorArray ops", () => {
  const flow = f([], 0);
  const create = (size: number, attrs: Parameters<typeof fakeNode>[1] = {}): Value =>
    call(
      tensorArrayOps,
      "TensorArrayV3",
      { dtype: { type: 1 }, tensor_array_name: { s: "ta" }, ...attrs },
      scalar(size),
    )[0]!;
  const on = (op: string, array: Value, ...inputs: Tensor[]): Value[] =>
    call(tensorArrayOps, op, { dtype: { type: 1 }, T: { type: 1 } }, array, ...inputs, flow);

  test("write, read, size, gather, close", () => {
    const array = create(2);
    on("TensorArrayWriteV3", array, scalar(0), f([2], 1, 2));
    on("TensorArrayWriteV3", array, scalar(1), f([2], 3, 4));
    expect(read(on("TensorArraySizeV3", array)[0]!)).toEqual([[], [2]]);
    expect(read(on("TensorArrayGatherV3", array, i32(1, 0))[0]!)).toEqual([
      [2, 2],
      [3, 4, 1, 2],
    ]);
    const again = create(2, { clear_after_read: { b: false } });
    on("TensorArrayScatterV3", again, i32(0, 1), f([2, 1], 5, 6));
    expect(read(on("TensorArrayReadV3", again, scalar(1))[0]!)).toEqual([[1], [6]]);
    const [joined, lengths] = on("TensorArrayConcatV3", again);
    expect(read(joined!)).toEqual([[2], [5, 6]]);
    expect(read(lengths!)).toEqual([[2], [1n, 1n]]);
    on("TensorArrayCloseV3", again);
    expect(() => on("TensorArraySizeV3", again)).toThrow("TensorArray ta has already been closed.");
  });

  test("split, dynamic size, unset elements", () => {
    const array = create(0, { dynamic_size: { b: true } });
    on("TensorArraySplitV3", array, f([3], 1, 2, 3), i64(1, 2));
    expect(read(on("TensorArrayReadV3", array, scalar(1))[0]!)).toEqual([[2], [2, 3]]);
    const blank = create(1, { element_shape: { shape: [2] } });
    expect(read(on("TensorArrayReadV3", blank, scalar(0))[0]!)).toEqual([[2], [0, 0]]);
  });

  test.each<[string, () => unknown, string]>([
    ["negative size", () => create(-1), "Size should be >= 0."],
    [
      "beyond",
      () => on("TensorArrayWriteV3", create(1), scalar(3), f([], 1)),
      "TensorArray ta: Tried to write to index 3 but array is not resizeable and size is: 1",
    ],
    [
      "negative index",
      () => on("TensorArrayWriteV3", create(1), scalar(-3), f([], 1)),
      "TensorArray ta: Tried to write to index -3 but index is negative",
    ],
    [
      "type",
      () => on("TensorArrayWriteV3", create(1), scalar(0), i32(1)),
      "TensorArray ta: Could not write to TensorArray index 0 because the value dtype is int32 but TensorArray dtype is float.",
    ],
    [
      "shape",
      () => on("TensorArrayWriteV3", create(1, { element_shape: { shape: [2] } }), scalar(0), f([1], 1)),
      "because the value shape is [1] which is incompatible with the TensorArray's inferred element shape: [2]",
    ],
    [
      "read beyond",
      () => on("TensorArrayReadV3", create(1), scalar(2)),
      "Tried to read from index 2 but array size is: 1",
    ],
    [
      "read unset",
      () => on("TensorArrayReadV3", create(1), scalar(0)),
      "TensorArray ta: Could not read from TensorArray index 0.",
    ],
    ["lengths", () => on("TensorArraySplitV3", create(2), f([3], 1, 2, 3), i64(1, 1)), "sum of lengths is 2"],
    [
      "rows",
      () => on("TensorArrayScatterV3", create(2), i32(0), f([2], 1, 2)),
      "Expected indices.size == value.shape[0]",
    ],
    [
      "gather nothing",
      () => on("TensorArrayGatherV3", create(0), i32()),
      "TensorArray has size zero, but element shape <unknown> is not fully defined.",
    ],
  ])("%s is refused", (_, run, message) => {
    expect(run).toThrow(message);
  });

  test("written twice", () => {
    const array = create(1);
    on("TensorArrayWriteV3", array, scalar(0), f([], 1));
    expect(() => on("TensorArrayWriteV3", array, scalar(0), f([], 1))).toThrow("has already been written to");
  });
});
