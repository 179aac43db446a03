import { invalidArgument } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import { sizeOf, type Tensor, tensor } from "../../tensor/tensor.ts";
import { bytesOf, toLatin1 } from "./bytes.ts";
import {
  ExampleReader,
  type FeatureType,
  isFeatureType,
  MalformedExample,
  type MapEntry,
} from "./example_wire.ts";
import { decodeText, formatShape, makeTensor, newData, toNumbers } from "./kernel_util.ts";
import { type RaggedSpec, raggedSpecs, splitsOf } from "./parse_example.ts";
import { formatPartial } from "./partial_shape.ts";
import type { Attrs, HostKernel, OpRow } from "./registry.ts";
import { copyInto, gatherParts } from "./rows.ts";

type Values = Tensor["data"];

interface DenseSpec {
  readonly type: FeatureType;
  readonly shape: readonly number[];
}

/** context か feature_lists の、片側の設定。 */
interface Side {
  readonly dense: readonly DenseSpec[];
  readonly sparse: readonly FeatureType[];
  readonly ragged: readonly RaggedSpec[];
}
const kinds = ["sparse", "dense", "ragged"] as const;
type Kind = (typeof kinds)[number];
type Keys = { readonly [K in Kind]: readonly string[] };

interface Slot {
  readonly kind: Kind;
  readonly index: number;
}

const lengthOf = (values: Values | undefined): number => values?.length ?? 0;
const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0);

function featureTypes(dtypes: readonly (DType | undefined)[]): FeatureType[] {
  return dtypes.map((dtype) => {
    if (isFeatureType(dtype)) return dtype;
    throw invalidArgument(`Invalid input type: ${dtype}. Only float, int64 and string are supported`);
  });
}

function sideOf(attrs: Attrs, prefix: "context" | "feature_list", denseTypes: string, ragged: boolean): Side {
  const shapes = attrs.shapes(`${prefix}_dense_shapes`);
  return {
    dense: featureTypes(attrs.dtypes(denseTypes)).map((type, i) => {
      const shape = shapes[i];
      if (shape?.some((dim) => dim < 0) ?? true) {
        throw invalidArgument(`${prefix}_dense_shapes[${i}] is not fully defined: ${formatPartial(shape)}`);
      }
      return { type, shape: shape! };
    }),
    sparse: featureTypes(attrs.dtypes(`${prefix}_sparse_types`)),
    ragged: ragged
      ? raggedSpecs(
          attrs.dtypes(`${prefix}_ragged_value_types`),
          attrs.dtypes(`${prefix}_ragged_split_types`),
        )
      : [],
  };
}

const typeOf = (side: Side, { kind, index }: Slot): FeatureType =>
  kind === "sparse" ? side.sparse[index]! : side[kind][index]!.type;

function slotsOf(keys: Keys): ReadonlyMap<string, Slot> {
  const slots = new Map<string, Slot>();
  for (const kind of kinds) {
    keys[kind].forEach((key, index) => {
      slots.set(key, { kind, index });
    });
  }
  return slots;
}

/** 1 例の片側。context は 1 個の特徴だけの並びとして扱う。鍵が無ければ undefined。 */
type Row = { readonly [K in Kind]: (readonly Values[] | undefined)[] };

const emptyRow = (side: Side): Row => ({
  sparse: new Array<Values[] | undefined>(side.sparse.length).fill(undefined),
  dense: new Array<Values[] | undefined>(side.dense.length).fill(undefined),
  ragged: new Array<Values[] | undefined>(side.ragged.length).fill(undefined),
});

function readSide(
  entries: readonly MapEntry[],
  side: Side,
  slots: ReadonlyMap<string, Slot>,
  read: (entry: MapEntry, expected: FeatureType) => readonly Values[] | undefined,
): Row {
  const row = emptyRow(side);
  // 同じ鍵は最後のものが勝つ。
  for (const entry of new Map(entries.map((entry) => [entry.key, entry])).values()) {
    const slot = slots.get(entry.key);
    if (slot !== undefined) row[slot.kind][slot.index] = read(entry, typeOf(side, slot));
  }
  return row;
}

interface Example {
  readonly name: string;
  readonly context: Row;
  readonly lists: Row;
}

interface Config {
  readonly context: Side;
  readonly lists: Side;
  readonly contextKeys: Keys;
  readonly listKeys: Keys;
  /** feature_list_dense のうち、無ければ空とみなすもの。 */
  readonly assumedEmpty: readonly boolean[];
  readonly defaults: readonly Tensor[];
}

function readExample(serialized: Uint8Array, name: string, config: Config): Example {
  const reader = new ExampleReader(serialized);
  const checkType = (actual: FeatureType, expected: FeatureType, what: string): void => {
    if (actual === expected) return;
    throw invalidArgument(`Name: ${name}, ${what}.  Data types don't match. Expected type: ${expected}`);
  };
  const contextEntries = reader.entries(reader.whole, 1);
  const context = readSide(contextEntries, config.context, slotsOf(config.contextKeys), (entry, expected) => {
    const actual = reader.typeOf(entry.value);
    if (actual === undefined) return undefined;
    checkType(actual, expected, `Context feature: ${entry.key}`);
    return [reader.values(entry.value, actual)];
  });
  const listEntries = reader.entries(reader.whole, 2);
  const lists = readSide(listEntries, config.lists, slotsOf(config.listKeys), (entry, expected) =>
    reader.list(entry.value).map((feature, i) => {
      const actual = reader.typeOf(feature);
      if (actual === undefined) return newData(expected, [0]);
      checkType(actual, expected, `Feature list: ${entry.key}, Index: ${i}`);
      return reader.values(feature, actual);
    }),
  );
  lists.dense.forEach((list, i) => {
    if (list !== undefined || config.assumedEmpty[i]) return;
    throw invalidArgument(
      `Name: ${name}, Feature list '${config.listKeys.dense[i]}' is required but could not be found.  Did you mean to include it in feature_list_dense_missing_assumed_empty or feature_list_dense_defaults?`,
    );
  });
  return { name, context, lists };
}

function join(type: FeatureType, parts: readonly Values[]): Tensor {
  return gatherParts(
    type,
    [sum(parts.map(lengthOf))],
    parts.map((part) => makeTensor(type, [part.length], part)),
  );
}

/** 添字の行(末尾の次元を除く)と、その行に入る値の列。 */
interface SparseRow {
  readonly at: readonly number[];
  readonly values: Values;
}

/** SparseTensor の [添字, 値, 形]。`shape` は末尾の次元(最大の長さ)を除く。 */
function sparseTriple(
  type: FeatureType,
  shape: readonly number[],
  rows: readonly SparseRow[],
): [Tensor, Tensor, Tensor] {
  const total = sum(rows.map(({ values }) => values.length));
  const rank = shape.length + 1;
  const indices = new BigInt64Array(total * rank);
  let out = 0;
  let widest = 0;
  for (const { at, values } of rows) {
    widest = Math.max(widest, values.length);
    for (let i = 0; i < values.length; i++) {
      for (const coordinate of at) indices[out++] = BigInt(coordinate);
      indices[out++] = BigInt(i);
    }
  }
  return [
    tensor("int64", [total, rank], indices),
    join(
      type,
      rows.map(({ values }) => values),
    ),
    tensor("int64", [rank], BigInt64Array.from([...shape, widest], BigInt)),
  ];
}

function denseContext(config: Config, index: number, examples: readonly Example[]): Tensor {
  const { type, shape } = config.context.dense[index]!;
  const key = config.contextKeys.dense[index]!;
  const fallback = config.defaults[index]!.data;
  const size = sizeOf(shape);
  const rows = examples.map(({ context }) => context.dense[index]?.[0] ?? fallback);
  const most = Math.max(0, ...rows.map(lengthOf));
  if (most !== size) {
    throw invalidArgument(
      `Inconsistent max number of elements for feature ${key}: expected ${size}, but found ${most}`,
    );
  }
  rows.forEach((row, r) => {
    if (row.length !== size) {
      throw invalidArgument(`Unexpected number of elements in example ${examples[r]!.name}`);
    }
  });
  return gatherParts(
    type,
    [rows.length, ...shape],
    rows.map((row) => makeTensor(type, [row.length], row)),
  );
}

/** 0 で埋めてそろえた値と、例ごとの長さ。 */
function denseList(config: Config, index: number, examples: readonly Example[]): [Tensor, number[]] {
  const { type, shape } = config.lists.dense[index]!;
  const key = config.listKeys.dense[index]!;
  const size = sizeOf(shape);
  const rows = examples.map(({ lists }) => lists.dense[index] ?? []);
  rows.forEach((list, r) => {
    const total = sum(list.map(lengthOf));
    if (size > 0 ? total % size !== 0 : total !== 0) {
      throw invalidArgument(
        `Feature list '${key}' has an unexpected number of values.  Total values size: ${total} is not consistent with output shape: ${formatPartial([-1, ...shape])}`,
      );
    }
    list.forEach((values, i) => {
      if (values.length === size) return;
      throw invalidArgument(
        `Name: ${examples[r]!.name}, Key: ${key}, Index: ${i}.  Number of values != expected.  values size: ${values.length} but output shape: ${formatShape(shape)}`,
      );
    });
  });
  const lengths = rows.map((list) => list.length);
  const longest = Math.max(0, ...lengths);
  const outShape = [rows.length, longest, ...shape];
  const out = newData(type, outShape);
  rows.forEach((list, r) => {
    list.forEach((values, i) => {
      copyInto(type, out, (r * longest + i) * size, values);
    });
  });
  return [makeTensor(type, outShape, out), lengths];
}

interface Outputs {
  readonly contextSparse: [Tensor, Tensor, Tensor][];
  readonly contextDense: Tensor[];
  readonly contextRagged: [Tensor, Tensor][];
  readonly listSparse: [Tensor, Tensor, Tensor][];
  readonly listDense: [Tensor, Tensor][];
  readonly listRagged: [Tensor, Tensor, Tensor][];
}

function assemble(config: Config, examples: readonly Example[], batched: boolean): Outputs {
  const count = examples.length;
  const batch = batched ? [count] : [];
  const at = (r: number): number[] => (batched ? [r] : []);
  const unbatch = (value: Tensor): Tensor =>
    batched ? value : makeTensor(value.dtype, value.shape.slice(1), value.data);
  return {
    contextSparse: config.context.sparse.map((type, k) =>
      sparseTriple(
        type,
        batch,
        examples.map(({ context }, r) => ({
          at: at(r),
          values: context.sparse[k]?.[0] ?? newData(type, [0]),
        })),
      ),
    ),
    contextDense: config.context.dense.map((_, k) => unbatch(denseContext(config, k, examples))),
    contextRagged: config.context.ragged.map(({ type, splits }, k) => {
      const rows = examples.map(({ context }) => context.ragged[k]?.[0] ?? newData(type, [0]));
      const ends = splitsOf(splits, rows.map(lengthOf));
      return [join(type, rows), batched ? ends : makeTensor(splits, [], newData(splits, []))];
    }),
    listSparse: config.lists.sparse.map((type, k) => {
      const rows = examples.flatMap(({ lists }, r) =>
        (lists.sparse[k] ?? []).map((values, i) => ({ at: [...at(r), i], values })),
      );
      const longest = Math.max(0, ...examples.map(({ lists }) => lists.sparse[k]?.length ?? 0));
      return sparseTriple(type, [...batch, longest], rows);
    }),
    listDense: config.lists.dense.map((_, k) => {
      const [values, lengths] = denseList(config, k, examples);
      return [unbatch(values), unbatch(tensor("int64", [count], BigInt64Array.from(lengths, BigInt)))];
    }),
    listRagged: config.lists.ragged.map(({ type, splits }, k) => {
      const rows = examples.map(({ lists }) => lists.ragged[k] ?? []);
      const flat = rows.flat();
      const outer = splitsOf(
        splits,
        rows.map((row) => row.length),
      );
      return [
        join(type, flat),
        batched ? outer : makeTensor(splits, [], newData(splits, [])),
        splitsOf(splits, flat.map(lengthOf)),
      ];
    }),
  };
}

function parse(serialized: Tensor, names: Tensor, config: Config): Outputs {
  if (serialized.shape.length > 1) {
    throw invalidArgument(`Expected serialized to be a vector, got shape: ${formatShape(serialized.shape)}`);
  }
  if (names.data.length > 0 && names.data.length !== serialized.data.length) {
    throw invalidArgument(`Expected len(debug_name) == ${serialized.data.length}, got ${names.data.length}`);
  }
  config.context.dense.forEach(({ shape, type }, i) => {
    const given = config.defaults[i]!;
    if (given.data.length > 0 && formatShape(given.shape) !== formatShape(shape)) {
      throw invalidArgument(
        `default_value[${i}].shape() == ${formatShape(given.shape)} != context_dense_shapes[${i}] == ${formatShape(shape)}`,
      );
    }
    if (given.dtype !== type) {
      throw invalidArgument(
        `context_dense_defaults[${i}].dtype() == ${given.dtype} != context_dense_types[${i}] == ${type}`,
      );
    }
  });
  const examples = bytesOf(serialized).map((bytes, r) => {
    const name = names.data.length > 0 ? decodeText(bytesOf(names)[r]!) : "<unknown>";
    try {
      return readExample(bytes, name, config);
    } catch (error) {
      if (!(error instanceof MalformedExample)) throw error;
      throw invalidArgument(`Invalid protocol message input, example id: ${name}`, error);
    }
  });
  return assemble(config, examples, serialized.shape.length === 1);
}

/** 組の列を、組の中の順ごとに並べ直す。 */
function columns(groups: readonly (readonly Tensor[])[], width: number): Tensor[] {
  return Array.from({ length: width }, (_, i) => groups.map((group) => group[i]!)).flat();
}

const keysOf = (value: Tensor): string[] => bytesOf(value).map(toLatin1);

function sequenceV1(attrs: Attrs): HostKernel {
  const context = sideOf(attrs, "context", "Tcontext_dense", false);
  const lists = sideOf(attrs, "feature_list", "feature_list_dense_types", false);
  const names = (name: string): string[] => attrs.bytesList(name).map(toLatin1);
  const listKeys: Keys = {
    dense: names("feature_list_dense_keys"),
    sparse: names("feature_list_sparse_keys"),
    ragged: [],
  };
  const empties = names("feature_list_dense_missing_assumed_empty");
  const fixed = {
    context,
    lists,
    listKeys,
    contextKeys: { dense: names("context_dense_keys"), sparse: names("context_sparse_keys"), ragged: [] },
    assumedEmpty: listKeys.dense.map((key) => empties.includes(key)),
  };
  return ([serialized, debugName, ...defaults]) => {
    const out = parse(serialized!, debugName!, { ...fixed, defaults });
    return [
      ...columns(out.contextSparse, 3),
      ...out.contextDense,
      ...columns(out.listSparse, 3),
      ...columns(out.listDense, 2),
    ];
  };
}

function sequenceV2(attrs: Attrs): HostKernel {
  const context = sideOf(attrs, "context", "Tcontext_dense", true);
  const lists = sideOf(attrs, "feature_list", "feature_list_dense_types", true);
  return (inputs) => {
    const key = (index: number): string[] => keysOf(inputs[index]!);
    const out = parse(inputs[0]!, inputs[1]!, {
      context,
      lists,
      contextKeys: { sparse: key(2), dense: key(3), ragged: key(4) },
      listKeys: { sparse: key(5), dense: key(6), ragged: key(7) },
      assumedEmpty: toNumbers(inputs[8]!).map((flag) => flag !== 0),
      defaults: inputs.slice(9),
    });
    return [
      ...columns(out.contextSparse, 3),
      ...out.contextDense,
      ...columns(out.contextRagged, 2),
      ...columns(out.listSparse, 3),
      ...columns(out.listDense, 2),
      ...columns(out.listRagged, 3),
    ];
  };
}

/** 鍵を 1 本ずつの入力で受け、1 例だけを解く。feature_list の長さは出さない。 */
function sequenceSingle(attrs: Attrs): HostKernel {
  const context = sideOf(attrs, "context", "Tcontext_dense", false);
  const lists = sideOf(attrs, "feature_list", "feature_list_dense_types", false);
  return ([serialized, empties, ...rest]) => {
    if (serialized!.shape.length !== 0) {
      throw invalidArgument(
        `Expected serialized to be a scalar, got shape: ${formatShape(serialized!.shape)}`,
      );
    }
    const take = (count: number): Tensor[] => rest.splice(0, count);
    const keys = (count: number): string[] => take(count).flatMap(keysOf);
    const contextKeys: Keys = {
      sparse: keys(context.sparse.length),
      dense: keys(context.dense.length),
      ragged: [],
    };
    const listKeys: Keys = { sparse: keys(lists.sparse.length), dense: keys(lists.dense.length), ragged: [] };
    const defaults = take(context.dense.length);
    const assumed = new Set(keysOf(empties!));
    const assumedEmpty = listKeys.dense.map((key) => assumed.has(key));
    const out = parse(serialized!, rest[0]!, {
      context,
      lists,
      contextKeys,
      listKeys,
      assumedEmpty,
      defaults,
    });
    return [
      ...columns(out.contextSparse, 3),
      ...out.contextDense,
      ...columns(out.listSparse, 3),
      ...columns(out.listDense, 1),
    ];
  };
}

/** tf.SequenceExample を解く演算。 */
export const parseSequenceExampleOps: readonly OpRow[] = [
  { op: "ParseSequenceExample", host: ({ attrs }) => sequenceV1(attrs) },
  { op: "ParseSingleSequenceExample", host: ({ attrs }) => sequenceSingle(attrs) },
  { op: "ParseSequenceExampleV2", host: ({ attrs }) => sequenceV2(attrs) },
];
