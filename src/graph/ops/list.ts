import { internal, invalidArgument, unimplemented } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import { type Shape, type Tensor, tensor } from "../../tensor/tensor.ts";
import { EngineObject, Value } from "../value.ts";
import { formatShape, makeTensor, toNumber, toNumbers } from "./kernel_util.ts";
import { formatPartial, isCompatible, isFullyDefined, mergeShapes, readPartial } from "./partial_shape.ts";
import type { OpRow, RawKernel, RunState } from "./registry.ts";
import { gatherParts, rowAt, sliceRows, zeros } from "./rows.ts";
import { type ListItem, type PartialShape, TensorList } from "./tensor_list.ts";
import { VariantArray } from "./variant_array.ts";

const ofList = (list: TensorList): Value => Value.ofObject(list);
const listOf = (value: Value | undefined): TensorList => value!.objectOf(TensorList);

/** 1 回の呼び出しの入力を型つきで読む。 */
class Inputs {
  constructor(
    private readonly values: readonly Value[],
    private readonly run: RunState,
  ) {}

  list(index: number): TensorList {
    return listOf(this.values[index]);
  }

  tensor(index: number): Tensor {
    return this.values[index]!.tensor(this.run.device);
  }

  number(index: number): number {
    return toNumber(this.tensor(index));
  }

  shape(index: number): PartialShape {
    return readPartial(this.tensor(index));
  }

  /** variant はオブジェクト、それ以外はホストのテンソル。デバイスの写しは歩の終わりに消えるので持たない。 */
  item(index: number): Tensor | EngineObject {
    return this.values[index]!.object ?? this.tensor(index);
  }
}

type Kernel = (inputs: Inputs) => Value | readonly Value[];

const raw =
  (kernel: Kernel): RawKernel =>
  (values, run) =>
    kernel(new Inputs(values, run));

const itemType = (item: Tensor | EngineObject): DType | undefined =>
  item instanceof EngineObject ? undefined : item.dtype;

const itemShape = (item: Tensor | EngineObject): PartialShape =>
  item instanceof EngineObject ? [] : item.shape;

const name = (dtype: DType | undefined): string => dtype ?? "variant";

function checkType(dtype: DType | undefined, list: TensorList): void {
  if (dtype !== list.dtype) {
    throw invalidArgument(
      `Invalid data types; op elements ${name(dtype)} but list elements ${name(list.dtype)}`,
    );
  }
}

function checkLength(size: number, prefix: string): number {
  if (size < 0) throw invalidArgument(`${prefix} ${size}`);
  // 要素 1 つが配列の 1 枠を占める。
  if (size > 2 ** 26) throw invalidArgument(`TensorList of ${size} elements is too long`);
  return size;
}

function isTensor(item: ListItem): item is Tensor {
  return item !== undefined && !(item instanceof EngineObject);
}

/** 未初期化の要素に当てる形。定まらなければ書かれた要素の形を借りる。 */
function zeroShape(list: TensorList, wanted: PartialShape): PartialShape {
  const merged = mergeShapes(wanted, list.elementShape);
  if (isFullyDefined(merged)) return merged;
  const set = list.items.find(isTensor);
  return set === undefined ? merged : mergeShapes(merged, set.shape);
}

function readItem(list: TensorList, index: number, wanted: PartialShape): Value {
  const item = list.items[index];
  if (item instanceof EngineObject) return Value.ofObject(item);
  if (item !== undefined) {
    if (!isCompatible(wanted, item.shape)) mergeShapes(wanted, item.shape);
    return Value.ofTensor(item);
  }
  const shape = zeroShape(list, wanted);
  if (list.dtype === undefined) throw unimplemented("Reading an uninitialized variant is not supported");
  if (!isFullyDefined(shape)) {
    throw invalidArgument(
      `Trying to read an uninitialized tensor but element_shape is not fully defined: ${formatPartial(shape)} and no list element is set.`,
    );
  }
  return Value.ofTensor(zeros(list.dtype, shape));
}

/** 要素を同じ形にそろえて取り出す。 */
function uniform(
  list: TensorList,
  items: readonly ListItem[],
  wanted: PartialShape,
  verb: string,
): { shape: Shape; parts: Tensor[] } {
  if (list.dtype === undefined) throw internal("list of variants");
  let shape = mergeShapes(wanted, list.elementShape);
  for (const item of items) if (isTensor(item)) shape = mergeShapes(shape, item.shape);
  if (!isFullyDefined(shape)) {
    throw invalidArgument(
      items.length === 0
        ? `Tried to ${verb} elements of an empty list with non-fully-defined element_shape: ${formatPartial(shape)}`
        : `Tried to ${verb} list which only contains uninitialized tensors and has a non-fully-defined element_shape: ${formatPartial(shape)}`,
    );
  }
  const complete = shape;
  let blank: Tensor | undefined;
  const parts = items.map((item) => {
    if (isTensor(item)) return item;
    blank ??= zeros(list.dtype!, complete);
    return blank;
  });
  return { shape: complete, parts };
}

/** variant の要素は配列のまま、それ以外は積み重ねたテンソルに。 */
function stack(list: TensorList, items: readonly ListItem[], wanted: PartialShape, verb: string): Value {
  if (list.dtype === undefined) {
    const objects = items.map((item) => {
      if (item instanceof EngineObject) return item;
      throw unimplemented("Stacking uninitialized variants is not supported");
    });
    return Value.ofObject(new VariantArray([objects.length], objects));
  }
  const { shape, parts } = uniform(list, items, wanted, verb);
  return Value.ofTensor(gatherParts(list.dtype, [parts.length, ...shape], parts));
}

/** 先頭の軸で分けた要素。 */
function unstack(value: Tensor | EngineObject): (Tensor | EngineObject)[] {
  if (value instanceof VariantArray) return [...value.items];
  if (value instanceof EngineObject)
    throw invalidArgument("Tensor must be at least a vector, but saw shape: []");
  if (value.shape.length === 0) {
    throw invalidArgument(`Tensor must be at least a vector, but saw shape: ${formatShape(value.shape)}`);
  }
  return Array.from({ length: value.shape[0]! }, (_, i) => rowAt(value, i));
}

function checkElementShape(elementShape: PartialShape, value: Tensor | EngineObject): void {
  if (value instanceof EngineObject) return;
  const inner = value.shape.slice(1);
  if (!isCompatible(elementShape, inner)) {
    throw invalidArgument(
      `Specified a list with shape ${formatPartial(elementShape)} from a tensor with shape ${formatShape(inner)}`,
    );
  }
}

function scatter(
  into: TensorList,
  value: Tensor | EngineObject,
  indices: readonly number[],
  fixed: boolean,
): TensorList {
  const rows = unstack(value);
  if (rows.length !== indices.length) {
    throw invalidArgument(
      `Invalid number of rows in input tensor. Expected: ${indices.length} Actual: ${rows.length}`,
    );
  }
  const items = [...into.items];
  indices.forEach((index, i) => {
    if (index < 0) throw invalidArgument("Indices in TensorListScatter must all be non-negative.");
    if (fixed && index >= items.length) {
      throw invalidArgument(
        `TensorListScatter: Trying to scatter at index ${index} in list with size ${items.length}`,
      );
    }
    checkLength(index, "");
    while (items.length < index) items.push(undefined);
    items[index] = rows[i];
  });
  return new TensorList(into.dtype, into.elementShape, items);
}

function push(list: TensorList, item: Tensor | EngineObject): TensorList {
  checkType(itemType(item), list);
  if (!isCompatible(list.elementShape, itemShape(item))) {
    throw invalidArgument(
      `Tried to append a tensor with incompatible shape to a list. Op element shape: ${formatPartial(itemShape(item))} list shape: ${formatPartial(list.elementShape)}`,
    );
  }
  const full = list.maxLength;
  if (full !== undefined && list.length >= full) {
    throw invalidArgument(
      `Tried to push item into a full list list size: ${list.length} max_num_elements: ${full}`,
    );
  }
  return list.with(list.length, item);
}

/** 添字つきの書き込み。`grow` なら足りない所まで伸ばす。 */
function setItem(list: TensorList, index: number, item: Tensor | EngineObject, grow: boolean): TensorList {
  checkType(itemType(item), list);
  if (index < 0 || (index >= list.length && !grow)) {
    throw invalidArgument(`Trying to modify element ${index} in a list with ${list.length} elements.`);
  }
  if (!isCompatible(list.elementShape, itemShape(item))) {
    throw invalidArgument(
      `Tried to set a tensor with incompatible shape at a list index. Item element shape: ${formatPartial(itemShape(item))} list shape: ${formatPartial(list.elementShape)}`,
    );
  }
  checkLength(index, "");
  let target = list;
  while (target.length < index) target = target.with(target.length, undefined);
  return target.with(index, item);
}

function concat(list: TensorList, wanted: PartialShape, leading: readonly number[]): readonly Value[] {
  if (list.dtype === undefined) throw unimplemented("TensorListConcat is not supported for variants");
  const dtype = list.dtype;
  let inner = mergeShapes(wanted, list.elementShape)?.slice(1);
  const items = list.items;
  for (const item of items) if (isTensor(item)) inner = mergeShapes(inner, item.shape.slice(1))?.slice();
  if (!isFullyDefined(inner)) {
    throw invalidArgument(
      items.length === 0
        ? `All except the first dimension must be fully defined when concating an empty tensor list. element_shape: ${formatPartial(mergeShapes(wanted, list.elementShape))}`
        : `All list elements must have the same shape after the first dimension; got ${formatPartial(inner)}`,
    );
  }
  const rest = inner;
  const first = mergeShapes(wanted, list.elementShape)?.[0] ?? -1;
  const fallback = first >= 0 ? first : items.find(isTensor)?.shape[0];
  const parts = items.map((item, i) => {
    if (isTensor(item)) return item;
    const rows = leading[i] ?? fallback;
    if (rows === undefined) {
      throw invalidArgument(
        `List contains uninitialized tensor at index ${i} but leading_dims has only ${leading.length} elements.`,
      );
    }
    return zeros(dtype, [rows, ...rest]);
  });
  const lengths = BigInt64Array.from(parts, ({ shape }) => BigInt(shape[0]!));
  const total = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
  return [
    Value.ofTensor(gatherParts(dtype, [total, ...rest], parts)),
    Value.ofTensor(tensor("int64", [lengths.length], lengths)),
  ];
}

function split(value: Tensor, elementShape: PartialShape, lengths: readonly number[]): TensorList {
  if (value.shape.length < 1) {
    throw invalidArgument(`Tensor must be at least a vector, but saw shape: ${formatShape(value.shape)}`);
  }
  let at = 0;
  const total = value.shape[0]!;
  const items = lengths.map((length) => {
    if (length < 0) throw invalidArgument(`Invalid value in lengths: ${length}`);
    const end = at + length;
    if (end > total) {
      throw invalidArgument(`Attempting to slice [${at}, ${end}] from tensor with length ${total}`);
    }
    const part = sliceRows(value, at, length);
    at = end;
    return part;
  });
  if (at !== total) {
    throw invalidArgument(`Unused values in tensor. Length of tensor: ${total} Values used: ${at}`);
  }
  return new TensorList(value.dtype, elementShape, items);
}

function getAt(list: TensorList, index: number, wanted: PartialShape, dtype: DType | undefined): Value {
  checkType(dtype, list);
  if (index < 0 || index >= list.length) {
    throw invalidArgument(`Trying to access element ${index} in a list with ${list.length} elements.`);
  }
  return readItem(list, index, wanted);
}

/** TF2 の while ループ(LSTM, GRU, map_fn)が使うリスト。 */
export const listOps: readonly OpRow[] = [
  {
    op: "EmptyTensorList",
    foldable: false,
    raw: ({ attrs }) => {
      const dtype = attrs.dtype("element_dtype");
      return raw((inputs) => {
        const max = inputs.number(1);
        return ofList(new TensorList(dtype, inputs.shape(0), [], max < 0 ? undefined : max));
      });
    },
  },
  {
    op: "TensorListReserve",
    foldable: false,
    raw: ({ attrs }) => {
      const dtype = attrs.dtype("element_dtype");
      return raw((inputs) => {
        const count = inputs.tensor(1);
        if (count.data.length !== 1) {
          throw invalidArgument(
            `The num_elements to reserve must be a tensor size 1, but got ${formatShape(count.shape)}`,
          );
        }
        const length = checkLength(
          toNumber(count),
          "The num_elements to reserve must be a non negative number, but got",
        );
        const items = new Array<ListItem>(length).fill(undefined);
        return ofList(new TensorList(dtype, inputs.shape(0), items));
      });
    },
  },
  {
    op: "TensorListFromTensor",
    raw: () =>
      raw((inputs) => {
        const value = inputs.item(0);
        const rows = unstack(value);
        const elementShape = inputs.shape(1);
        checkElementShape(elementShape, value);
        return ofList(new TensorList(itemType(rows[0] ?? value), elementShape, rows));
      }),
  },
  {
    op: "TensorListStack",
    raw: ({ attrs }) => {
      const count = attrs.int("num_elements");
      const dtype = attrs.dtype("element_dtype");
      return raw((inputs) => {
        const list = inputs.list(0);
        checkType(dtype, list);
        if (count !== -1 && list.length !== count) {
          throw invalidArgument(
            `Operation expected a list with ${count} elements but got a list with ${list.length} elements.`,
          );
        }
        return stack(list, list.items, inputs.shape(1), "stack");
      });
    },
  },
  {
    op: "TensorListGetItem",
    raw: ({ attrs }) => {
      const dtype = attrs.dtype("element_dtype");
      return raw((inputs) => getAt(inputs.list(0), inputs.number(1), inputs.shape(2), dtype));
    },
  },
  {
    op: "TensorListSetItem",
    raw: ({ attrs }) => {
      const grow = attrs.has("resize_if_index_out_of_bounds") && attrs.bool("resize_if_index_out_of_bounds");
      return raw((inputs) => ofList(setItem(inputs.list(0), inputs.number(1), inputs.item(2), grow)));
    },
  },
  { op: "TensorListPushBack", raw: () => raw((inputs) => ofList(push(inputs.list(0), inputs.item(1)))) },
  {
    op: "TensorListPopBack",
    raw: ({ attrs }) => {
      const dtype = attrs.dtype("element_dtype");
      return raw((inputs) => {
        const list = inputs.list(0);
        checkType(dtype, list);
        if (list.length === 0) throw invalidArgument("Trying to pop from an empty list.");
        const last = readItem(list, list.length - 1, inputs.shape(1));
        return [ofList(list.withoutLast()), last];
      });
    },
  },
  {
    op: "TensorListLength",
    raw: () => raw((inputs) => Value.ofTensor(tensor("int32", [], Int32Array.of(inputs.list(0).length)))),
  },
  {
    op: "TensorListResize",
    raw: () =>
      raw((inputs) => {
        const list = inputs.list(0);
        const size = checkLength(inputs.number(1), "TensorListSlice expects size to be non-negative. Got:");
        const items: ListItem[] = list.items.slice(0, size);
        while (items.length < size) items.push(undefined);
        return ofList(new TensorList(list.dtype, list.elementShape, items));
      }),
  },
  {
    op: "TensorListElementShape",
    raw: ({ attrs }) => {
      const dtype = attrs.dtype("shape_type") === "int32" ? "int32" : "int64";
      return raw((inputs) => {
        const shape = inputs.list(0).elementShape;
        const dims = shape ?? [-1];
        const data = dtype === "int32" ? Int32Array.from(dims) : BigInt64Array.from(dims, BigInt);
        return Value.ofTensor(makeTensor(dtype, shape === undefined ? [] : [dims.length], data));
      });
    },
  },
  {
    op: "TensorListGather",
    raw: ({ attrs }) => {
      const dtype = attrs.dtype("element_dtype");
      return raw((inputs) => {
        const list = inputs.list(0);
        checkType(dtype, list);
        const all = list.items;
        const items = toNumbers(inputs.tensor(1)).map((index) => {
          if (index < 0 || index >= all.length) {
            throw invalidArgument(`Trying to gather element ${index} in a list with ${all.length} elements.`);
          }
          return all[index];
        });
        const wanted = mergeShapes(inputs.shape(2), list.elementShape);
        const shape = isFullyDefined(wanted) || items.some(isTensor) ? wanted : zeroShape(list, wanted);
        return stack(list, items, shape, "gather");
      });
    },
  },
  {
    op: "TensorListScatter",
    raw: () =>
      raw((inputs) => {
        const value = inputs.item(0);
        const empty = new TensorList(itemType(value), inputs.shape(2), []);
        checkElementShape(empty.elementShape, value);
        return ofList(scatter(empty, value, toNumbers(inputs.tensor(1)), false));
      }),
  },
  {
    op: "TensorListScatterV2",
    raw: () =>
      raw((inputs) => {
        const value = inputs.item(0);
        const size = inputs.number(3);
        if (size < -1) {
          throw invalidArgument(`TensorListScatter expects num_elements >= -1, found: ${size}`);
        }
        const items = new Array<ListItem>(checkLength(Math.max(size, 0), "")).fill(undefined);
        const empty = new TensorList(itemType(value), inputs.shape(2), items);
        checkElementShape(empty.elementShape, value);
        return ofList(scatter(empty, value, toNumbers(inputs.tensor(1)), size !== -1));
      }),
  },
  {
    op: "TensorListScatterIntoExistingList",
    raw: () =>
      raw((inputs) => {
        const value = inputs.item(1);
        checkElementShape(inputs.list(0).elementShape, value);
        return ofList(scatter(inputs.list(0), value, toNumbers(inputs.tensor(2)), false));
      }),
  },
  {
    op: "TensorListConcat",
    raw: ({ attrs }) => {
      const wanted = attrs.shape("element_shape");
      return raw((inputs) => concat(inputs.list(0), wanted, []));
    },
  },
  {
    op: "TensorListConcatV2",
    raw: () => raw((inputs) => concat(inputs.list(0), inputs.shape(1), toNumbers(inputs.tensor(2)))),
  },
  {
    op: "TensorListSplit",
    raw: () => raw((inputs) => ofList(split(inputs.tensor(0), inputs.shape(1), toNumbers(inputs.tensor(2))))),
  },
  {
    op: "TensorListConcatLists",
    raw: () =>
      raw((inputs) => {
        const [a, b] = [inputs.list(0), inputs.list(1)];
        checkType(b.dtype, a);
        return ofList(
          new TensorList(a.dtype, mergeShapes(a.elementShape, b.elementShape), [...a.items, ...b.items]),
        );
      }),
  },
];
