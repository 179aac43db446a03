import fc from "fast-check";
import { allocate, type DType, dtypes, lanesOf } from "../../../src/tensor/dtype.ts";
import { roundToBfloat16, roundToHalf } from "../../../src/tensor/half.ts";
import { sizeOf, type Tensor, tensor } from "../../../src/tensor/tensor.ts";

const elements: { readonly [D in DType]: fc.Arbitrary<unknown> } = {
  float: fc.float({ noNaN: true }),
  double: fc.double({ noNaN: true }),
  int32: fc.integer(),
  uint8: fc.nat(255),
  int16: fc.integer({ min: -32768, max: 32767 }),
  int8: fc.integer({ min: -128, max: 127 }),
  string: fc.uint8Array({ maxLength: 200 }),
  complex64: fc.float({ noNaN: true }),
  int64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  bool: fc.nat(1),
  qint8: fc.integer({ min: -128, max: 127 }),
  quint8: fc.nat(255),
  qint32: fc.integer(),
  bfloat16: fc.float({ noNaN: true }).map(roundToBfloat16),
  qint16: fc.integer({ min: -32768, max: 32767 }),
  quint16: fc.nat(65535),
  uint16: fc.nat(65535),
  complex128: fc.double({ noNaN: true }),
  half: fc.float({ noNaN: true }).map(roundToHalf),
  uint32: fc.nat(0xffffffff),
  uint64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
};

/** どの dtype、どの形(空も含む)のテンソルも生む。NaN のビット列は protobuf-es が揃えてしまうので除く。 */
export const anyTensor: fc.Arbitrary<Tensor> = fc
  .record({
    dtype: fc.constantFrom(...dtypes),
    shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }),
  })
  .chain(({ dtype, shape }) => {
    const length = sizeOf(shape) * lanesOf(dtype);
    return fc.array(elements[dtype], { minLength: length, maxLength: length }).map((items) => {
      if (dtype === "string") return tensor(dtype, shape, items as Uint8Array[]);
      const data = allocate(dtype, sizeOf(shape)) as unknown as unknown[];
      items.forEach((item, i) => {
        data[i] = item;
      });
      return tensor(dtype, shape, data as never);
    });
  });
