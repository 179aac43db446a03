import { failedPrecondition, invalidArgument, unimplemented } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import { sizeOf, type Tensor, tensor } from "../../tensor/tensor.ts";
import { EngineObject, Value } from "../value.ts";
import { fromLatin1, toLatin1 } from "./bytes.ts";
import { decodeText, formatShape, makeTensor, newData } from "./kernel_util.ts";
import { integerRange, parseDouble, parseInteger } from "./parse_number.ts";
import type { OpNode, OpRow, RawKernel } from "./registry.ts";
import { copyInto } from "./rows.ts";

/** ファイルの 1 行のうち何を使うか。0 以上なら区切られた列の番号。 */
const WHOLE_LINE = -2;
const LINE_NUMBER = -1;

type Key = string | bigint | number;

/** キーを Map で等しく比べられる形に。文字列は 1 文字 1 バイト。 */
function keyAt(data: Tensor["data"], index: number): Key {
  const item = data[index]!;
  return item instanceof Uint8Array ? toLatin1(item) : item;
}

/**
 * 連想表。値は `valueShape` のテンソルで、1 件ぶんずつ `values` に詰めて並べる。
 */
class LookupTable extends EngineObject {
  readonly kind = "lookup table";
  readonly #rows = new Map<Key, Tensor["data"]>();
  initialized: boolean;

  /**
   * @param writable 後から書き込める表(MutableHashTable)。書き込めない表は初期化が 1 度だけ要る。
   */
  constructor(
    readonly keyDType: DType,
    readonly valueDType: DType,
    readonly valueShape: readonly number[],
    readonly writable: boolean,
  ) {
    super();
    this.initialized = writable;
  }

  get size(): number {
    return this.#rows.size;
  }

  get(key: Key): Tensor["data"] | undefined {
    return this.#rows.get(key);
  }

  set(key: Key, row: Tensor["data"]): void {
    this.#rows.set(key, row);
  }

  delete(key: Key): void {
    this.#rows.delete(key);
  }

  clear(): void {
    this.#rows.clear();
  }

  /** 全件を詰めて返す。順は入れた順。 */
  export(): [Tensor, Tensor] {
    const count = this.#rows.size;
    const keys = newData(this.keyDType, [count]);
    const values = newData(this.valueDType, [count, ...this.valueShape]);
    const width = sizeOf(this.valueShape);
    let at = 0;
    for (const [key, row] of this.#rows) {
      if (Array.isArray(keys)) keys[at] = fromLatin1(key as string);
      else (keys as Float64Array)[at] = key as number;
      copyInto(this.valueDType, values, at * width, row);
      at++;
    }
    return [
      makeTensor(this.keyDType, [count], keys),
      makeTensor(this.valueDType, [count, ...this.valueShape], values),
    ];
  }
}

const tableOf = (value: Value | undefined): LookupTable => value!.objectOf(LookupTable);

/** 読み書きしてよい状態かを確かめて返す。 */
function ready(value: Value | undefined): LookupTable {
  const table = tableOf(value);
  if (!table.initialized) throw failedPrecondition("Table not initialized.");
  return table;
}

function checkDTypes(table: LookupTable, keys: Tensor, values: Tensor | undefined): void {
  if (keys.dtype !== table.keyDType) {
    throw invalidArgument(`Key must be type ${table.keyDType} but got ${keys.dtype}`);
  }
  if (values !== undefined && values.dtype !== table.valueDType) {
    throw invalidArgument(`Expected value of type ${table.valueDType} but got ${values.dtype}`);
  }
}

/** 1 件ぶんの値を切り出す。元の配列は共有する。 */
function rowOf(values: Tensor, index: number, width: number): Tensor["data"] {
  const { data } = values;
  const [from, to] = [index * width, (index + 1) * width];
  return Array.isArray(data) ? data.slice(from, to) : data.subarray(from, to);
}

function insertAll(table: LookupTable, keys: Tensor, values: Tensor): void {
  checkDTypes(table, keys, values);
  const width = sizeOf(table.valueShape);
  const count = sizeOf(keys.shape);
  if (sizeOf(values.shape) !== count * width) {
    throw invalidArgument(
      `Expected shape ${formatShape([...keys.shape, ...table.valueShape])} for value, got ${formatShape(values.shape)}`,
    );
  }
  for (let i = 0; i < count; i++) {
    const key = keyAt(keys.data, i);
    const row = rowOf(values, i, width);
    if (!table.writable) {
      const old = table.get(key);
      if (old !== undefined && keyAt(old, 0) !== keyAt(row, 0)) {
        throw failedPrecondition(
          `HashTable has different value for same key. Key ${String(key)} has ${show(old)} and trying to add value ${show(row)}`,
        );
      }
    }
    table.set(key, row);
  }
}

function show(row: Tensor["data"]): string {
  const item = row[0];
  return item instanceof Uint8Array ? decodeText(item) : String(item);
}

/** 表を作るノードの、作り方。 */
function describeTable(node: TableNode, writable: boolean): () => LookupTable {
  const { attrs } = node;
  const keyDType = attrs.dtype("key_dtype");
  const valueDType = attrs.dtype("value_dtype");
  if (keyDType === undefined || valueDType === undefined) {
    throw unimplemented(`${node.op} with resource or variant elements is not supported`);
  }
  const valueShape = attrs.has("value_shape") ? (attrs.shape("value_shape") ?? []) : [];
  return () => new LookupTable(keyDType, valueDType, valueShape, writable);
}

type TableNode = Pick<OpNode, "name" | "op" | "attrs" | "session">;

/** ノードが指す表。`shared_name` が同じなら同じもの。 */
function sharedTable(node: TableNode, writable: boolean): LookupTable {
  const { attrs, session } = node;
  const key = `table/${attrs.string("container")}/${attrs.string("shared_name") || node.name}`;
  return session.resource(key, describeTable(node, writable));
}

/** チェックポイントにある中身で表を置き換える。 */
export function importTable(node: TableNode, keys: Tensor, values: Tensor): void {
  const table = sharedTable(node, true);
  table.clear();
  insertAll(table, keys, values);
}

const shared =
  (writable: boolean) =>
  (node: OpNode): RawKernel => {
    const value = Value.ofObject(sharedTable(node, writable));
    return () => value;
  };

const anonymous =
  (writable: boolean) =>
  (node: OpNode): RawKernel => {
    const make = describeTable(node, writable);
    return () => Value.ofObject(make());
  };

const find =
  (): RawKernel =>
  ([handle, keysValue, defaultValue], run) => {
    const table = ready(handle);
    const keys = keysValue!.tensor(run.device);
    const fallback = defaultValue!.tensor(run.device);
    checkDTypes(table, keys, fallback);
    const width = sizeOf(table.valueShape);
    if (fallback.data.length !== width) {
      throw invalidArgument(
        `Expected shape ${formatShape(table.valueShape)} for default value, got ${formatShape(fallback.shape)}`,
      );
    }
    const shape = [...keys.shape, ...table.valueShape];
    const out = newData(table.valueDType, shape);
    const count = sizeOf(keys.shape);
    if (width === 1) {
      const items = out as (number | Uint8Array)[];
      const missing = fallback.data[0] as number;
      for (let i = 0; i < count; i++) {
        const row = table.get(keyAt(keys.data, i));
        items[i] = row === undefined ? missing : (row[0] as number);
      }
    } else {
      for (let i = 0; i < count; i++) {
        copyInto(table.valueDType, out, i * width, table.get(keyAt(keys.data, i)) ?? fallback.data);
      }
    }
    return Value.ofTensor(makeTensor(table.valueDType, shape, out));
  };

const size =
  (): RawKernel =>
  ([handle]) =>
    Value.ofTensor(tensor("int64", [], BigInt64Array.of(BigInt(ready(handle).size))));

const initialize =
  (): RawKernel =>
  ([handle, keys, values], run) => {
    const table = tableOf(handle);
    // 同じ初期化が 2 度走ることは許される。
    if (!table.initialized) insertAll(table, keys!.tensor(run.device), values!.tensor(run.device));
    table.initialized = true;
    return [];
  };

const insert =
  (): RawKernel =>
  ([handle, keys, values], run) => {
    const table = tableOf(handle);
    if (!table.writable) throw unimplemented("Insert is not supported by a table that is initialized once");
    insertAll(table, keys!.tensor(run.device), values!.tensor(run.device));
    return [];
  };

/** 中身を丸ごと置き換える。書き込めない表では 1 度きりの初期化として働く。 */
const replaceAll =
  (): RawKernel =>
  ([handle, keys, values], run) => {
    const table = tableOf(handle);
    if (!table.writable && table.initialized) return [];
    table.clear();
    insertAll(table, keys!.tensor(run.device), values!.tensor(run.device));
    table.initialized = true;
    return [];
  };

const remove =
  (): RawKernel =>
  ([handle, keysValue], run) => {
    const table = tableOf(handle);
    const keys = keysValue!.tensor(run.device);
    checkDTypes(table, keys, undefined);
    for (let i = 0; i < keys.data.length; i++) table.delete(keyAt(keys.data, i));
    return [];
  };

const exportAll =
  (): RawKernel =>
  ([handle]) =>
    ready(handle).export().map(Value.ofTensor);

/** ファイルの一部を表の要素の型に読む。 */
function parserOf(dtype: DType): (field: Uint8Array) => number | bigint | Uint8Array {
  const check = <T>(value: T | undefined, field: Uint8Array): T => {
    if (value !== undefined) return value;
    throw invalidArgument(`Field ${decodeText(field)} in line is not a valid ${dtype}.`);
  };
  switch (dtype) {
    case "string":
      return (field) => field;
    case "int64":
      return (field) => check(parseInteger(field, ...integerRange.int64), field);
    case "int32":
      return (field) => Number(check(parseInteger(field, ...integerRange.int32), field));
    case "float":
    case "double":
      return (field) => check(parseDouble(field), field);
    default:
      throw unimplemented(`Reading a table of ${dtype} from a text file is not supported`);
  }
}

/** 行に分ける。最後の改行の後に何も無ければ行と数えない。CR は行の一部にしない。 */
function linesOf(file: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let from = 0; from < file.length; ) {
    const newline = file.indexOf(0x0a, from);
    const to = newline < 0 ? file.length : newline;
    const line = file.subarray(from, to);
    lines.push(line.includes(0x0d) ? line.filter((byte) => byte !== 0x0d) : line);
    from = to + 1;
  }
  return lines;
}

function split(line: Uint8Array, delimiter: number): Uint8Array[] {
  const fields: Uint8Array[] = [];
  let from = 0;
  for (let at = line.indexOf(delimiter); at >= 0; at = line.indexOf(delimiter, from)) {
    fields.push(line.subarray(from, at));
    from = at + 1;
  }
  fields.push(line.subarray(from));
  return fields;
}

/** @see tensorflow/core/kernels/lookup_util.cc TextFileLineIterator */
const initializeFromFile = (node: OpNode): RawKernel => {
  const { attrs, session } = node;
  const indexes = [attrs.int("key_index"), attrs.int("value_index")];
  const vocabSize = attrs.int("vocab_size");
  const offset = attrs.has("offset") ? attrs.int("offset") : 0;
  const delimiter = attrs.bytes("delimiter")[0] ?? 0x09;
  const readerOf = (index: number, dtype: DType) => {
    if (index === LINE_NUMBER) {
      return (_line: Uint8Array, _fields: Uint8Array[], number: number) =>
        dtype === "int64" ? BigInt(number + offset) : number + offset;
    }
    const parse = parserOf(dtype);
    if (index === WHOLE_LINE) return (line: Uint8Array) => parse(line);
    return (line: Uint8Array, fields: Uint8Array[], number: number) => {
      const field = fields[index];
      if (field === undefined) {
        throw invalidArgument(
          `Invalid number of columns in line ${number} (${decodeText(line)}) : expected at least ${index + 1} got ${fields.length}`,
        );
      }
      return parse(field);
    };
  };
  return ([handle, filename], run) => {
    const table = tableOf(handle);
    if (table.initialized) return [];
    const path = decodeText((filename!.tensor(run.device) as Tensor & { dtype: "string" }).data[0]!);
    const lines = linesOf(session.readAsset(path));
    if (vocabSize >= 0 && lines.length < vocabSize) {
      throw invalidArgument(
        `Invalid vocab_size in ${path}: expected ${vocabSize} but got ${lines.length} elements in the file.`,
      );
    }
    const count = vocabSize >= 0 ? vocabSize : lines.length;
    const readKey = readerOf(indexes[0]!, table.keyDType);
    const readValue = readerOf(indexes[1]!, table.valueDType);
    const keys = newData(table.keyDType, [count]) as unknown[];
    const values = newData(table.valueDType, [count]) as unknown[];
    const splits = indexes.some((index) => index >= 0);
    for (let i = 0; i < count; i++) {
      const line = lines[i]!;
      const fields = splits ? split(line, delimiter) : [];
      keys[i] = readKey(line, fields, i);
      values[i] = readValue(line, fields, i);
    }
    insertAll(
      table,
      makeTensor(table.keyDType, [count], keys as Tensor["data"]),
      makeTensor(table.valueDType, [count], values as Tensor["data"]),
    );
    table.initialized = true;
    return [];
  };
};

/** 古い名前(参照の resource)と V2 の両方を同じカーネルで。 */
const both = (op: string, row: Omit<OpRow, "op">): OpRow[] => [
  { op, ...row },
  { op: `${op}V2`, ...row },
];

/** 中身を丸ごと置き換える演算。書き戻しの手順の中にあれば、表の中身はチェックポイントにある。 */
export const tableImportOps: ReadonlySet<string> = new Set(["LookupTableImport", "LookupTableImportV2"]);

/**
 * 連想表。書き換えられるものも、1 度だけ初期化されるものも同じ構造で持つ。
 *
 * @see tensorflow/core/kernels/lookup_table_op.cc
 */
export const tableOps: readonly OpRow[] = [
  ...both("HashTable", { foldable: true, raw: shared(false) }),
  ...both("MutableHashTable", { foldable: true, raw: shared(true) }),
  ...both("MutableHashTableOfTensors", { foldable: true, raw: shared(true) }),
  { op: "AnonymousHashTable", raw: anonymous(false) },
  { op: "AnonymousMutableHashTable", raw: anonymous(true) },
  { op: "AnonymousMutableHashTableOfTensors", raw: anonymous(true) },
  ...both("InitializeTable", { stateful: true, raw: initialize }),
  ...both("InitializeTableFromTextFile", { stateful: true, raw: initializeFromFile }),
  ...both("LookupTableFind", { raw: find }),
  ...both("LookupTableSize", { raw: size }),
  ...both("LookupTableExport", { raw: exportAll }),
  ...both("LookupTableInsert", { stateful: true, raw: insert }),
  ...both("LookupTableImport", { stateful: true, raw: replaceAll }),
  { op: "LookupTableRemoveV2", stateful: true, raw: remove },
];
