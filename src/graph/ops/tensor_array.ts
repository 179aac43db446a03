import { invalidArgument } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import { type Tensor, tensor } from "../../tensor/tensor.ts";
import { EngineObject, Value } from "../value.ts";
import { formatShape, toNumber, toNumbers } from "./kernel_util.ts";
import { formatPartial, isCompatible, isFullyDefined, mergeShapes } from "./partial_shape.ts";
import type { OpRow, RawKernel, RunState } from "./registry.ts";
import { gatherParts, rowAt, sliceRows, zeros } from "./rows.ts";
import type { PartialShape } from "./tensor_list.ts";

/** TF1 の TensorArray。呼び出しごとに作られ、書き換えられる。 */
class TensorArray extends EngineObject {
  readonly kind = "tensor array";
  elementShape: PartialShape;
  readonly items: (Tensor | undefined)[];
  private closed = false;

  constructor(
    private readonly label: string,
    readonly dtype: DType,
    size: number,
    elementShape: PartialShape,
    private readonly options: {
      readonly grows: boolean;
      readonly clears: boolean;
      readonly uniform: boolean;
    },
  ) {
    super();
    this.elementShape = elementShape;
    this.items = new Array<Tensor | undefined>(size).fill(undefined);
  }

  close(): void {
    this.closed = true;
    this.items.length = 0;
  }

  private checkOpen(): void {
    if (this.closed) throw invalidArgument(`TensorArray ${this.label} has already been closed.`);
  }

  get size(): number {
    this.checkOpen();
    return this.items.length;
  }

  write(index: number, value: Tensor): void {
    this.checkOpen();
    const { items } = this;
    if (index < 0 || (index >= items.length && !this.options.grows)) {
      throw invalidArgument(
        index < 0
          ? `TensorArray ${this.label}: Tried to write to index ${index} but index is negative`
          : `TensorArray ${this.label}: Tried to write to index ${index} but array is not resizeable and size is: ${items.length}`,
      );
    }
    if (value.dtype !== this.dtype) {
      throw invalidArgument(
        `TensorArray ${this.label}: Could not write to TensorArray index ${index} because the value dtype is ${value.dtype} but TensorArray dtype is ${this.dtype}.`,
      );
    }
    if (!isCompatible(this.elementShape, value.shape)) {
      throw invalidArgument(
        `TensorArray ${this.label}: Could not write to TensorArray index ${index} because the value shape is ${formatShape(value.shape)} which is incompatible with the TensorArray's inferred element shape: ${formatPartial(this.elementShape)} (consider setting infer_shape=False).`,
      );
    }
    if (this.options.uniform) this.elementShape = mergeShapes(this.elementShape, value.shape);
    while (items.length <= index) items.push(undefined);
    if (items[index] !== undefined) {
      throw invalidArgument(
        `TensorArray ${this.label}: Could not write to TensorArray index ${index} because it has already been written to.`,
      );
    }
    items[index] = value;
  }

  read(index: number): Tensor {
    this.checkOpen();
    if (index < 0 || index >= this.items.length) {
      throw invalidArgument(`Tried to read from index ${index} but array size is: ${this.items.length}`);
    }
    const item = this.items[index];
    if (item === undefined) {
      if (isFullyDefined(this.elementShape)) return zeros(this.dtype, this.elementShape);
      throw invalidArgument(
        `TensorArray ${this.label}: Could not read from TensorArray index ${index}.  Furthermore, the element shape is not fully defined: ${formatPartial(this.elementShape)}.  It is possible you are working with a resizeable TensorArray and stop_gradients is not allowing the gradients to be written.  If you set the full element_shape property on the forward TensorArray, the proper all-zeros tensor will be returned instead of incurring this error.`,
      );
    }
    if (this.options.clears) this.items[index] = undefined;
    return item;
  }
}

class Inputs {
  constructor(
    private readonly values: readonly Value[],
    private readonly run: RunState,
  ) {}

  get array(): TensorArray {
    return this.values[0]!.objectOf(TensorArray);
  }

  tensor(index: number): Tensor {
    return this.values[index]!.tensor(this.run.device);
  }

  number(index: number): number {
    return toNumber(this.tensor(index));
  }

  numbers(index: number): number[] {
    return toNumbers(this.tensor(index));
  }
}

const raw =
  (kernel: (inputs: Inputs) => Value | readonly Value[]): (() => RawKernel) =>
  () =>
  (values, run) =>
    kernel(new Inputs(values, run));

/** 書き込みの順を伝えるだけの値。 */
const flow = (): Value => Value.ofTensor(tensor("float", [], new Float32Array(1)));

function gather(array: TensorArray, indices: readonly number[], wanted: PartialShape): Tensor {
  const parts = indices.map((index) => array.read(index));
  let shape = mergeShapes(wanted, array.elementShape);
  for (const part of parts) shape = mergeShapes(shape, part.shape);
  if (!isFullyDefined(shape)) {
    throw invalidArgument(
      `TensorArray has size zero, but element shape ${formatPartial(shape)} is not fully defined. Currently only static shapes are supported when packing zero-size TensorArrays.`,
    );
  }
  return gatherParts(array.dtype, [parts.length, ...shape], parts);
}

function concat(array: TensorArray, inner: PartialShape): readonly Value[] {
  const parts = Array.from({ length: array.size }, (_, i) => array.read(i));
  let rest = inner;
  for (const part of parts) rest = mergeShapes(rest, part.shape.slice(1));
  if (!isFullyDefined(rest)) {
    throw invalidArgument(
      `TensorArray has size zero, but element_shape_except0 ${formatPartial(rest)} is not fully defined. Currently only static shapes are supported when concatenating zero-size TensorArrays.`,
    );
  }
  const lengths = BigInt64Array.from(parts, ({ shape }) => BigInt(shape[0]!));
  const total = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
  return [
    Value.ofTensor(gatherParts(array.dtype, [total, ...rest], parts)),
    Value.ofTensor(tensor("int64", [lengths.length], lengths)),
  ];
}

function split(array: TensorArray, value: Tensor, lengths: readonly number[]): void {
  const rows = value.shape[0] ?? 0;
  const total = lengths.reduce((sum, length) => sum + length, 0);
  if (total !== rows) {
    throw invalidArgument(
      `Expected sum of lengths to be equal to values.shape[0], but sum of lengths is ${total} and value's shape is: ${formatShape(value.shape)}`,
    );
  }
  let at = 0;
  lengths.forEach((length, i) => {
    array.write(i, sliceRows(value, at, length));
    at += length;
  });
}

/** TF1 の while_loop と dynamic_rnn が使う配列。 */
export const tensorArrayOps: readonly OpRow[] = [
  {
    op: "TensorArrayV3",
    stateful: true,
    raw: ({ attrs, name }) => {
      const dtype = attrs.dtype("dtype");
      const shape = attrs.shape("element_shape");
      const options = {
        grows: attrs.bool("dynamic_size"),
        clears: attrs.bool("clear_after_read"),
        uniform: attrs.bool("identical_element_shapes"),
      };
      const label = attrs.string("tensor_array_name") || name;
      return ([size], run) => {
        const length = toNumber(size!.tensor(run.device));
        if (length < 0) throw invalidArgument("Size should be >= 0.");
        if (length > 2 ** 26) throw invalidArgument(`TensorArray of ${length} elements is too long`);
        if (dtype === undefined) throw invalidArgument("TensorArray of resources is not supported");
        return [Value.ofObject(new TensorArray(label, dtype, length, shape, options)), flow()];
      };
    },
  },
  {
    op: "TensorArrayWriteV3",
    stateful: true,
    raw: raw((inputs) => {
      inputs.array.write(inputs.number(1), inputs.tensor(2));
      return flow();
    }),
  },
  {
    op: "TensorArrayReadV3",
    stateful: true,
    raw: raw((inputs) => Value.ofTensor(inputs.array.read(inputs.number(1)))),
  },
  {
    op: "TensorArrayGatherV3",
    stateful: true,
    raw: ({ attrs }) => {
      const wanted = attrs.shape("element_shape");
      return raw((inputs) => Value.ofTensor(gather(inputs.array, inputs.numbers(1), wanted)))();
    },
  },
  {
    op: "TensorArrayScatterV3",
    stateful: true,
    raw: raw((inputs) => {
      const value = inputs.tensor(2);
      const indices = inputs.numbers(1);
      if (value.shape.length === 0 || value.shape[0] !== indices.length) {
        throw invalidArgument(
          `Expected indices.size == value.shape[0], but saw ${indices.length} vs. shape ${formatShape(value.shape)}`,
        );
      }
      indices.forEach((index, i) => {
        inputs.array.write(index, rowAt(value, i));
      });
      return flow();
    }),
  },
  {
    op: "TensorArrayConcatV3",
    stateful: true,
    raw: ({ attrs }) => {
      const inner = attrs.shape("element_shape_except0");
      return raw((inputs) => concat(inputs.array, inner))();
    },
  },
  {
    op: "TensorArraySplitV3",
    stateful: true,
    raw: raw((inputs) => {
      split(inputs.array, inputs.tensor(1), inputs.numbers(2));
      return flow();
    }),
  },
  {
    op: "TensorArraySizeV3",
    stateful: true,
    raw: raw((inputs) => Value.ofTensor(tensor("int32", [], Int32Array.of(inputs.array.size)))),
  },
  {
    op: "TensorArrayCloseV3",
    stateful: true,
    raw: raw((inputs) => {
      inputs.array.close();
      return [];
    }),
  },
];
