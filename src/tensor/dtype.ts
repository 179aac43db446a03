import { DataType } from "../gen/tensorflow/core/framework/types_pb.ts";

/** 数値 dtype と、それを載せる型付き配列。bool は 0/1、half と bfloat16 は「その精度で表せる値」だけを入れた Float32Array、複素数は実部・虚部の交互。 */
interface NumericData {
  float: Float32Array;
  double: Float64Array;
  int32: Int32Array;
  uint8: Uint8Array;
  int16: Int16Array;
  int8: Int8Array;
  complex64: Float32Array;
  int64: BigInt64Array;
  bool: Uint8Array;
  qint8: Int8Array;
  quint8: Uint8Array;
  qint32: Int32Array;
  bfloat16: Float32Array;
  qint16: Int16Array;
  quint16: Uint16Array;
  uint16: Uint16Array;
  complex128: Float64Array;
  half: Float32Array;
  uint32: Uint32Array;
  uint64: BigUint64Array;
}

/** dtype ごとの中身の型。文字列は復号しない生バイトの列。 */
export interface DataByDType extends NumericData {
  string: Uint8Array[];
}

/** 要素型。綴りは TF のエラー文に出る小文字名(`float`, `double`, `half` …)と同じ。 */
export type DType = keyof DataByDType;
export type NumericDType = keyof NumericData;

export type TypedArray = NumericData[NumericDType];

interface TypedArrayConstructor<A> {
  new (length: number): A;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): A;
  readonly BYTES_PER_ELEMENT: number;
}

interface DTypeRow {
  /** ワイヤ上の番号。 */
  readonly wire: DataType;
  /** ワイヤ上の 1 要素のバイト数。string は 0。 */
  readonly bytes: number;
  /** 1 要素が占める配列要素の数(複素数は 2)。 */
  readonly lanes: number;
  readonly array: TypedArrayConstructor<TypedArray> | undefined;
}

const row = (
  wire: DataType,
  bytes: number,
  array: TypedArrayConstructor<TypedArray> | undefined,
  lanes = 1,
): DTypeRow => ({ wire, bytes, lanes, array });

const rows: { readonly [D in DType]: DTypeRow } = {
  float: row(DataType.DT_FLOAT, 4, Float32Array),
  double: row(DataType.DT_DOUBLE, 8, Float64Array),
  int32: row(DataType.DT_INT32, 4, Int32Array),
  uint8: row(DataType.DT_UINT8, 1, Uint8Array),
  int16: row(DataType.DT_INT16, 2, Int16Array),
  int8: row(DataType.DT_INT8, 1, Int8Array),
  string: row(DataType.DT_STRING, 0, undefined),
  complex64: row(DataType.DT_COMPLEX64, 8, Float32Array, 2),
  int64: row(DataType.DT_INT64, 8, BigInt64Array),
  bool: row(DataType.DT_BOOL, 1, Uint8Array),
  qint8: row(DataType.DT_QINT8, 1, Int8Array),
  quint8: row(DataType.DT_QUINT8, 1, Uint8Array),
  qint32: row(DataType.DT_QINT32, 4, Int32Array),
  bfloat16: row(DataType.DT_BFLOAT16, 2, Float32Array),
  qint16: row(DataType.DT_QINT16, 2, Int16Array),
  quint16: row(DataType.DT_QUINT16, 2, Uint16Array),
  uint16: row(DataType.DT_UINT16, 2, Uint16Array),
  complex128: row(DataType.DT_COMPLEX128, 16, Float64Array, 2),
  half: row(DataType.DT_HALF, 2, Float32Array),
  uint32: row(DataType.DT_UINT32, 4, Uint32Array),
  uint64: row(DataType.DT_UINT64, 8, BigUint64Array),
};

const byWire = new Map(Object.entries(rows).map(([dtype, { wire }]) => [wire, dtype as DType]));

/** 値を持てるすべての dtype。 */
export const dtypes = Object.keys(rows) as readonly DType[];

/**
 * ワイヤの番号から dtype を引く。参照型(+100)は値の型に直す。
 *
 * @returns 値を持てない型(resource, variant)や未知の番号は undefined。
 */
export function dtypeOfWire(wire: number): DType | undefined {
  return byWire.get((wire > 100 ? wire - 100 : wire) as DataType);
}

export function wireOfDType(dtype: DType): DataType {
  return rows[dtype].wire;
}

/** ワイヤ上の 1 要素のバイト数。string は 0。 */
export function byteWidth(dtype: DType): number {
  return rows[dtype].bytes;
}

/** 1 要素が占める配列要素の数。複素数だけ 2。 */
export function lanesOf(dtype: DType): number {
  return rows[dtype].lanes;
}

/** `count` 要素ぶんの、0(string は空)で埋めた入れ物。 */
export function allocate<D extends DType>(dtype: D, count: number): DataByDType[D] {
  const { array, lanes } = rows[dtype as DType];
  const data = array === undefined ? Array.from({ length: count }, () => EMPTY) : new array(count * lanes);
  return data as DataByDType[D];
}

/** ホスト側の配列の構築子。string には無い。 */
export function arrayOf(dtype: NumericDType): TypedArrayConstructor<TypedArray> {
  return rows[dtype].array!;
}

/** TF のエラー文での型名。値を持てない型も名前を持つ。 */
export function dtypeName(wire: number): string {
  const reference = wire > 100;
  const base = DataType[reference ? wire - 100 : wire];
  if (base === undefined) return `unknown dtype enum (${wire})`;
  return base.replace("DT_", "").toLowerCase() + (reference ? "_ref" : "");
}

const EMPTY = new Uint8Array(0);
