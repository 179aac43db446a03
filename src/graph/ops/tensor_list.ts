import type { DType } from "../../tensor/dtype.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { EngineObject } from "../value.ts";

/** 未知の次元は -1、階数が未知なら undefined。 */
export type PartialShape = readonly number[] | undefined;

/** リストの要素。variant の要素はオブジェクト。まだ書かれていない所は undefined。 */
export type ListItem = Tensor | EngineObject | undefined;

/** ひとつ新しい版との違い。 */
interface Difference {
  readonly newer: TensorList;
  readonly index: number;
  readonly item: ListItem;
  readonly length: number;
}

/**
 * TensorList の値。不変だが、最新の版への書き込みと追加は O(1)。
 *
 * 配列は最新の版だけが持ち、古い版は「新しい版との違い」を持つ(Baker の持続的配列)。ループの変数のように
 * 最新だけが使われ続けるかぎり写しは起きず、古い版を読まれたときだけ違いをさかのぼって配列を取り戻す。
 *
 * @see https://dl.acm.org/doi/10.1145/122598.122614
 */
export class TensorList extends EngineObject {
  readonly kind = "tensor list";
  private difference: Difference | undefined;
  private array: ListItem[] | undefined;

  constructor(
    readonly dtype: DType | undefined,
    readonly elementShape: PartialShape,
    items: ListItem[],
    /** 追加できる長さの上限。 */
    readonly maxLength?: number,
  ) {
    super();
    this.array = items;
  }

  /** 読むだけ。書き換えてはならない。次の {@link with} で内容が変わる。 */
  get items(): readonly ListItem[] {
    return this.root();
  }

  get length(): number {
    return this.difference?.length ?? this.array!.length;
  }

  /** `index` を置き換えた(`index` が長さなら追加した)新しい版。 */
  with(index: number, item: ListItem): TensorList {
    const items = this.root();
    const newer = new TensorList(this.dtype, this.elementShape, items, this.maxLength);
    this.difference = { newer, index, item: items[index], length: items.length };
    this.array = undefined;
    items[index] = item;
    return newer;
  }

  /** 末尾を除いた新しい版。 */
  withoutLast(): TensorList {
    const items = this.root();
    const newer = new TensorList(this.dtype, this.elementShape, items, this.maxLength);
    this.difference = { newer, index: items.length - 1, item: items.at(-1), length: items.length };
    this.array = undefined;
    items.pop();
    return newer;
  }

  /** この版を配列の持ち主にする。 */
  private root(): ListItem[] {
    if (this.array !== undefined) return this.array;
    const chain: TensorList[] = [];
    let holder: TensorList = this;
    while (holder.difference !== undefined) {
      chain.push(holder);
      holder = holder.difference.newer;
    }
    const items = holder.array!;
    for (let i = chain.length - 1; i >= 0; i--) {
      const older = chain[i]!;
      const { newer, index, item, length } = older.difference!;
      newer.difference = { newer: older, index, item: items[index], length: items.length };
      newer.array = undefined;
      if (index < length) items[index] = item;
      items.length = length;
      older.difference = undefined;
      older.array = items;
    }
    return items;
  }
}
