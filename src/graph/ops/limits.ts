import { unimplemented } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";

/** 有限の値の範囲。 */
const limits: { readonly [D in DType]?: readonly [number | bigint, number | bigint] } = {
  float: [-3.4028234663852886e38, 3.4028234663852886e38],
  double: [-Number.MAX_VALUE, Number.MAX_VALUE],
  half: [-65504, 65504],
  bfloat16: [-3.3895313892515355e38, 3.3895313892515355e38],
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
};

function limit(dtype: DType, end: 0 | 1): number | bigint {
  const range = limits[dtype];
  if (range === undefined) throw unimplemented(`This kernel does not support elements of type ${dtype}`);
  return range[end];
}

/** その dtype の有限の値で最も小さいもの。64 bit 整数なら bigint。 */
export const lowest = (dtype: DType): number | bigint => limit(dtype, 0);
/** その dtype の有限の値で最も大きいもの。 */
export const highest = (dtype: DType): number | bigint => limit(dtype, 1);
