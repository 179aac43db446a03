import { invalidArgument } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { EngineObject, Value } from "../value.ts";
import { toNumber } from "./kernel_util.ts";
import type { OpRow } from "./registry.ts";

/** TF1 の while_loop が、周ごとの値を積んでおく所。呼び出しごとに作られる。 */
class Stack extends EngineObject {
  readonly kind = "stack";
  readonly #items: Tensor[] = [];
  #closed = false;

  /** @param maxSize 負なら限りが無い。 */
  constructor(
    private readonly label: string,
    private readonly dtype: DType | undefined,
    private readonly maxSize: number,
  ) {
    super();
  }

  push(item: Tensor): void {
    this.#checkOpen();
    if (this.dtype !== undefined && item.dtype !== this.dtype) {
      throw invalidArgument(`Must have type ${this.dtype} but got ${item.dtype}`);
    }
    if (this.maxSize >= 0 && this.#items.length >= this.maxSize) {
      throw invalidArgument(`Stack[${this.label}] overflowed its max_size (${this.maxSize})`);
    }
    this.#items.push(item);
  }

  pop(): Tensor {
    this.#checkOpen();
    const item = this.#items.pop();
    if (item === undefined) throw invalidArgument(`Stack[${this.label}] is empty when calling Pop().`);
    return item;
  }

  close(): void {
    this.#closed = true;
    this.#items.length = 0;
  }

  #checkOpen(): void {
    if (this.#closed) throw invalidArgument(`Stack[${this.label}] has already been closed.`);
  }
}

/** @see tensorflow/core/kernels/stack.cc */
export const stackOps: readonly OpRow[] = [
  {
    op: "StackV2",
    stateful: true,
    raw: ({ attrs, name }) => {
      const dtype = attrs.dtype("elem_type");
      const label = attrs.string("stack_name") || name;
      return ([maxSize], run) =>
        Value.ofObject(new Stack(label, dtype, toNumber(maxSize!.tensor(run.device))));
    },
  },
  {
    op: "StackPushV2",
    stateful: true,
    raw:
      () =>
      ([handle, item], run) => {
        handle!.objectOf(Stack).push(item!.tensor(run.device));
        return item!;
      },
  },
  {
    op: "StackPopV2",
    stateful: true,
    raw:
      () =>
      ([handle]) =>
        Value.ofTensor(handle!.objectOf(Stack).pop()),
  },
  {
    op: "StackCloseV2",
    stateful: true,
    raw:
      () =>
      ([handle]) => {
        handle!.objectOf(Stack).close();
        return [];
      },
  },
];
