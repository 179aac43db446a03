import { invalidArgument, unimplemented } from "../../base/status.ts";
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
import { decodeText, formatShape, makeTensor, newData } from "./kernel_util.ts";
import { formatPartial } from "./partial_shape.ts";
import type { Attrs, HostKernel, OpRow } from "./registry.ts";
import { copyInto, gatherParts } from "./rows.ts";

/** 1 個の Feature の値。 */
type Values = Tensor["data"];

interface DenseSpec {
  readonly type: FeatureType;
  /** 先頭だけ -1(可変長)のことがある。 */
  readonly shape: readonly number[];
  readonly variable: boolean;
  /** 1 行の要素数。可変長なら 1 歩の要素数。 */
  readonly stride: number;
}

export interface RaggedSpec {
  readonly type: FeatureType;
  readonly splits: "int32" | "int64";
}

function featureType(dtype: DType | undefined): FeatureType {
  if (isFeatureType(dtype)) return dtype;
  throw invalidArgument(`Invalid input type: ${dtype}. Only float, int64 and string are supported`);
}

/** dense_shapes 属性を読む。 */
function denseSpecs(
  types: readonly (DType | undefined)[],
  shapes: readonly (number[] | undefined)[],
): DenseSpec[] {
  return types.map((dtype, i) => {
    const shape = shapes[i];
    if (shape === undefined || shape.slice(1).some((dim) => dim < 0)) {
      throw invalidArgument(
        `dense_shapes[${i}] has unknown rank or unknown inner dimensions: ${formatPartial(shape)}`,
      );
    }
    const variable = shape.length > 0 && shape[0]! < 0;
    return {
      type: featureType(dtype),
      shape,
      variable,
      stride: sizeOf(variable ? shape.slice(1) : shape),
    };
  });
}

/** @throws INVALID_ARGUMENT 既定値の形が合わない。 */
function checkDefaults(specs: readonly DenseSpec[], defaults: readonly Tensor[]): void {
  specs.forEach(({ type, shape, variable }, i) => {
    const given = defaults[i]!;
    if (variable) {
      if (given.data.length !== 1) {
        throw invalidArgument(
          `dense_shape[${i}] is a variable length shape: ${formatPartial(shape)}, therefore def_value[${i}] must contain a single element (the padding element).  But its shape is: ${formatShape(given.shape)}`,
        );
      }
    } else if (given.data.length > 0 && formatShape(given.shape) !== formatShape(shape)) {
      throw invalidArgument(
        `def_value[${i}].shape() == ${formatShape(given.shape)} is not compatible with dense_shapes_[${i}] == ${formatShape(shape)}`,
      );
    }
    if (given.dtype !== type) {
      throw invalidArgument(
        `dense_defaults[${i}].dtype() == ${given.dtype} != dense_types_[${i}] == ${type}`,
      );
    }
  });
}

/** 例の中の位置を言う、TF の文の前置き。 */
interface Where {
  /** 名前を添えた文(`Name: x, `)。 */
  readonly name: string;
  /** 添字(`, Index: 0.`)または `.`。 */
  readonly index: string;
}

const listName = { float: "float", int64: "int64", string: "bytes" } as const;
const protoName = { float: "float_list", int64: "int64_list", string: "bytes_list" } as const;

interface Config {
  readonly dense: readonly DenseSpec[];
  readonly sparse: readonly FeatureType[];
  readonly ragged: readonly RaggedSpec[];
}

/** 鍵 → どの出力か。 */
type Slots = ReadonlyMap<string, { readonly kind: keyof Config; readonly index: number }>;

function slotsOf(keys: { readonly [K in keyof Config]: readonly string[] }): Slots {
  const slots = new Map<string, { readonly kind: keyof Config; readonly index: number }>();
  for (const kind of ["dense", "sparse", "ragged"] as const) {
    keys[kind].forEach((key, index) => {
      if (slots.has(key)) throw invalidArgument(`Duplicate feature key: ${key}`);
      slots.set(key, { kind, index });
    });
  }
  return slots;
}

/** 1 例の特徴を、後に現れたものほど先に(同じ鍵は最後の 1 つだけ)訪れる。 */
function* wantedFeatures<S>(
  entries: readonly MapEntry[],
  slots: ReadonlyMap<string, S>,
): Generator<{ entry: MapEntry; slot: S }> {
  const seen = new Set<S>();
  for (let i = entries.length - 1; i >= 0; i--) {
    const entry = entries[i]!;
    const slot = slots.get(entry.key);
    if (slot === undefined || seen.has(slot)) continue;
    seen.add(slot);
    yield { entry, slot };
  }
}

/** @throws INVALID_ARGUMENT tf.Example として読めない。 */
function readerOf<T>(serialized: Uint8Array, read: (reader: ExampleReader) => T): T {
  try {
    return read(new ExampleReader(serialized));
  } catch (error) {
    if (!(error instanceof MalformedExample)) throw error;
    throw invalidArgument(`Could not parse example input, value: '${decodeText(serialized)}'`, error);
  }
}

/** 1 例ぶんの値。欠けたものは undefined。 */
interface Row {
  readonly dense: (Values | undefined)[];
  readonly sparse: (Values | undefined)[];
  readonly ragged: (Values | undefined)[];
}

function readRow(
  serialized: Uint8Array,
  slots: Slots,
  { dense, sparse, ragged }: Config,
  where: Where | undefined,
): Row {
  const row: Row = {
    dense: new Array<Values | undefined>(dense.length).fill(undefined),
    sparse: new Array<Values | undefined>(sparse.length).fill(undefined),
    ragged: new Array<Values | undefined>(ragged.length).fill(undefined),
  };
  readerOf(serialized, (reader) => {
    for (const { entry, slot } of wantedFeatures(reader.entries(reader.whole, 1), slots)) {
      const { kind, index } = slot;
      const actual = reader.typeOf(entry.value);
      if (actual === undefined) continue;
      const key = entry.key;
      const expected = kind === "sparse" ? sparse[index]! : (kind === "dense" ? dense : ragged)[index]!.type;
      if (actual !== expected) {
        const { name, index: at } = where ?? { name: "", index: "." };
        const what =
          kind === "dense"
            ? `Data type: ${actual} but expected type: ${expected}`
            : `Expected type: ${expected}, Actual type: ${actual}`;
        throw invalidArgument(`${name}Key: ${key}${at}  Data types don't match. ${what}`);
      }
      const values = reader.values(entry.value, actual);
      if (kind === "dense") checkDense(dense[index]!, key, values, where);
      row[kind][index] = values;
    }
  });
  return row;
}

function checkDense(spec: DenseSpec, key: string, values: Values, where: Where | undefined): void {
  const { type, shape, variable, stride } = spec;
  const count = values.length;
  if (variable) {
    if (count % stride === 0) return;
    throw invalidArgument(
      where === undefined
        ? `Error while parsing feature with key ${key}: number of elements should be divisible by ${stride}, found ${count} instead`
        : `${where.name}Key: ${key}${where.index}  Number of ${listName[type]} values is not a multiple of stride length. Saw ${count} values but output shape is: ${formatPartial(shape)}`,
    );
  }
  if (count === stride) return;
  if (where !== undefined && type === "string" && count > stride) {
    // 文字列の読み手は、入りきらない値に出会うとそこで読めないと言う。
    throw invalidArgument(`${where.name}Key: ${key}${where.index}  Can't parse serialized Example.`);
  }
  throw invalidArgument(
    where === undefined
      ? `Key: ${key}.  Can't parse serialized Example: Some ${protoName[type]} slice was not parsed.`
      : `${where.name}Key: ${key}${where.index}  Number of ${listName[type]} values != expected.  Values size: ${count} but output shape: ${formatShape(shape)}`,
  );
}

function fillMissing(
  row: Row,
  dense: readonly DenseSpec[],
  defaults: readonly Tensor[],
  keys: readonly string[],
  name: string,
): void {
  dense.forEach(({ type, variable }, i) => {
    if (row.dense[i] !== undefined || variable) return;
    const fallback = defaults[i]!;
    if (fallback.data.length === 0 && dense[i]!.stride > 0) {
      throw invalidArgument(
        `${name}Feature: ${keys[i]} (data type: ${type}) is required but could not be found.`,
      );
    }
    row.dense[i] = fallback.data;
  });
}

const lengthOf = (values: Values | undefined): number => values?.length ?? 0;
const present = (values: readonly (Values | undefined)[]): Values[] =>
  values.filter((value) => value !== undefined);

function join(type: FeatureType, parts: readonly (Values | undefined)[]): Tensor {
  const all = present(parts);
  const total = all.reduce((sum, part) => sum + part.length, 0);
  return gatherParts(
    type,
    [total],
    all.map((part) => makeTensor(type, [part.length], part)),
  );
}

/** SparseTensor の [添字, 値, 形]。 */
function sparseTriple(type: FeatureType, rows: readonly (Values | undefined)[]): [Tensor, Tensor, Tensor] {
  const total = rows.reduce((sum, row) => sum + lengthOf(row), 0);
  const indices = new BigInt64Array(total * 2);
  let at = 0;
  let widest = 0;
  rows.forEach((row, r) => {
    const width = lengthOf(row);
    widest = Math.max(widest, width);
    for (let i = 0; i < width; i++) {
      indices[at++] = BigInt(r);
      indices[at++] = BigInt(i);
    }
  });
  const shape = BigInt64Array.of(BigInt(rows.length), BigInt(widest));
  return [tensor("int64", [total, 2], indices), join(type, rows), tensor("int64", [2], shape)];
}

/** 各行の終わりの位置(先頭は 0)。 */
export function splitsOf(type: "int32" | "int64", lengths: readonly number[]): Tensor {
  const data = newData(type, [lengths.length + 1]);
  let at = 0;
  lengths.forEach((length, i) => {
    at += length;
    if (data instanceof Int32Array) data[i + 1] = at;
    else data[i + 1] = BigInt(at);
  });
  return makeTensor(type, [data.length], data);
}

function denseColumn(
  { type, shape, variable, stride }: DenseSpec,
  rows: readonly (Values | undefined)[],
  padding: Tensor,
): Tensor {
  if (!variable) {
    const parts = rows.map((row) => makeTensor(type, shape, row!));
    return gatherParts(type, [rows.length, ...shape], parts);
  }
  const longest = rows.reduce((most, row) => Math.max(most, lengthOf(row)), 0);
  const outShape = [rows.length, stride === 0 ? 0 : longest / stride, ...shape.slice(1)];
  const out = newData(type, outShape);
  (out as unknown[]).fill(padding.data[0]);
  rows.forEach((row, r) => {
    if (row !== undefined) copyInto(type, out, r * longest, row);
  });
  return makeTensor(type, outShape, out);
}

/** 例の並びを解く。出力は sparse の添字・値・形、dense、ragged の値・区切りの順。 */
function parseBatch(
  serialized: readonly Uint8Array[],
  names: readonly Uint8Array[],
  keys: { readonly [K in keyof Config]: readonly string[] },
  config: Config,
  defaults: readonly Tensor[],
): readonly Tensor[] {
  const slots = slotsOf(keys);
  const rows = serialized.map((bytes, r) => {
    const name = `Name: ${names.length > 0 ? decodeText(names[r]!) : "<unknown>"}, `;
    const row = readRow(bytes, slots, config, { name, index: `, Index: ${r}.` });
    fillMissing(row, config.dense, defaults, keys.dense, name);
    return row;
  });
  const triples = config.sparse.map((type, i) =>
    sparseTriple(
      type,
      rows.map((row) => row.sparse[i]),
    ),
  );
  const ragged = config.ragged.map((_, i) => rows.map((row) => row.ragged[i]));
  return [
    ...triples.map(([indices]) => indices),
    ...triples.map(([, values]) => values),
    ...triples.map(([, , shape]) => shape),
    ...config.dense.map((spec, i) =>
      denseColumn(
        spec,
        rows.map((row) => row.dense[i]),
        defaults[i]!,
      ),
    ),
    ...config.ragged.map(({ type }, i) => join(type, ragged[i]!)),
    ...config.ragged.map(({ splits }, i) => splitsOf(splits, ragged[i]!.map(lengthOf))),
  ];
}

/** 1 例だけを、バッチの軸なしで解く。 */
function parseSingle(
  serialized: Uint8Array,
  keys: { readonly [K in keyof Config]: readonly string[] },
  config: Config,
  defaults: readonly Tensor[],
): readonly Tensor[] {
  const row = readRow(serialized, slotsOf(keys), config, undefined);
  fillMissing(row, config.dense, defaults, keys.dense, "");
  const indices = config.sparse.map((_, i) =>
    BigInt64Array.from({ length: lengthOf(row.sparse[i]) }, (_, j) => BigInt(j)),
  );
  return [
    ...indices.map((data) => tensor("int64", [data.length, 1], data)),
    ...config.sparse.map((type, i) => join(type, [row.sparse[i]])),
    ...indices.map((data) => tensor("int64", [1], BigInt64Array.of(BigInt(data.length)))),
    ...config.dense.map(({ type, shape, variable, stride }, i) => {
      const values = row.dense[i] ?? newData(type, [0]);
      const dims = variable ? [stride === 0 ? 0 : values.length / stride, ...shape.slice(1)] : shape;
      return makeTensor(type, dims, values);
    }),
    ...config.ragged.map(({ type }, i) => join(type, [row.ragged[i]])),
    ...config.ragged.map(({ splits }) => makeTensor(splits, [0], newData(splits, [0]))),
  ];
}

const keysOf = (value: Tensor): string[] => bytesOf(value).map(toLatin1);

function checkNames(names: Tensor, serialized: Tensor): void {
  if (names.data.length > 0 && formatShape(names.shape) !== formatShape(serialized.shape)) {
    throw invalidArgument(
      `Expected names have the same shape as serialized: name.shape=${formatShape(names.shape)}, serialized.shape=${formatShape(serialized.shape)}`,
    );
  }
}

/** ragged の値と区切りの型を組にする。 */
export function raggedSpecs(
  values: readonly (DType | undefined)[],
  splits: readonly (DType | undefined)[],
): RaggedSpec[] {
  return values.map((dtype, i) => ({
    type: featureType(dtype),
    splits: splits[i] === "int32" ? "int32" : "int64",
  }));
}

function parseExampleV1(attrs: Attrs): HostKernel {
  const sparse = attrs.dtypes("sparse_types").map(featureType);
  const dense = denseSpecs(attrs.dtypes("Tdense"), attrs.shapes("dense_shapes"));
  const config: Config = { dense, sparse, ragged: [] };
  return ([serialized, names, ...rest]) => {
    if (serialized!.shape.length !== 1) {
      throw invalidArgument(
        `Expected serialized to be a vector, got shape: ${formatShape(serialized!.shape)}`,
      );
    }
    checkNames(names!, serialized!);
    const keys = {
      sparse: rest.slice(0, sparse.length).flatMap(keysOf),
      dense: rest.slice(sparse.length, sparse.length + dense.length).flatMap(keysOf),
      ragged: [],
    };
    const defaults = rest.slice(sparse.length + dense.length);
    checkDefaults(dense, defaults);
    return parseBatch(bytesOf(serialized!), bytesOf(names!), keys, config, defaults);
  };
}

function parseExampleV2(attrs: Attrs): HostKernel {
  const config: Config = {
    dense: denseSpecs(attrs.dtypes("Tdense"), attrs.shapes("dense_shapes")),
    sparse: attrs.dtypes("sparse_types").map(featureType),
    ragged: raggedSpecs(attrs.dtypes("ragged_value_types"), attrs.dtypes("ragged_split_types")),
  };
  return ([serialized, names, sparseKeys, denseKeys, raggedKeys, ...defaults]) => {
    if (serialized!.shape.length > 1) {
      throw invalidArgument(
        `Expected serialized to be a scalar or vector, got shape: ${formatShape(serialized!.shape)}`,
      );
    }
    checkNames(names!, serialized!);
    const keys = { dense: keysOf(denseKeys!), sparse: keysOf(sparseKeys!), ragged: keysOf(raggedKeys!) };
    for (const kind of ["dense", "sparse", "ragged"] as const) {
      if (keys[kind].length !== config[kind].length) {
        throw invalidArgument(
          `Expected len(${kind}_keys) == ${config[kind].length}, got ${keys[kind].length}`,
        );
      }
    }
    checkDefaults(config.dense, defaults);
    if (serialized!.shape.length === 0) {
      return parseSingle(bytesOf(serialized!)[0]!, keys, config, defaults);
    }
    return parseBatch(bytesOf(serialized!), bytesOf(names!), keys, config, defaults);
  };
}

function parseSingleExample(attrs: Attrs): HostKernel {
  const config: Config = {
    dense: denseSpecs(attrs.dtypes("Tdense"), attrs.shapes("dense_shapes")),
    sparse: attrs.dtypes("sparse_types").map(featureType),
    ragged: [],
  };
  const names = (name: string): string[] => attrs.bytesList(name).map(toLatin1);
  const keys = { dense: names("dense_keys"), sparse: names("sparse_keys"), ragged: [] };
  if (keys.dense.length !== config.dense.length || keys.sparse.length !== config.sparse.length) {
    throw unimplemented("ParseSingleExample with mismatched key and type lists is not supported");
  }
  return ([serialized, ...defaults]) => {
    if (serialized!.shape.length !== 0) {
      throw invalidArgument(
        `Expected serialized to be a scalar, got shape: ${formatShape(serialized!.shape)}`,
      );
    }
    checkDefaults(config.dense, defaults);
    return parseSingle(bytesOf(serialized!)[0]!, keys, config, defaults);
  };
}

/** tf.Example を解く演算。 */
export const parseExampleOps: readonly OpRow[] = [
  { op: "ParseExample", host: ({ attrs }) => parseExampleV1(attrs) },
  { op: "ParseExampleV2", host: ({ attrs }) => parseExampleV2(attrs) },
  { op: "ParseSingleExample", host: ({ attrs }) => parseSingleExample(attrs) },
];
