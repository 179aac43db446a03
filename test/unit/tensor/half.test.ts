import { expect, test } from "bun:test";
import {
  fromBfloat16Bits,
  fromHalfBits,
  roundToBfloat16,
  roundToHalf,
  toBfloat16Bits,
  toHalfBits,
} from "../../../src/tensor/half.ts";

const everyBits = Uint16Array.from({ length: 65536 }, (_, i) => i);
const isNaNBits = (bits: number, infinity: number) => (bits & 0x7fff) > infinity;

test("すべての half は広げて戻すと同じビットになる", () => {
  const back = toHalfBits(fromHalfBits(everyBits));
  for (const bits of everyBits) {
    if (isNaNBits(bits, 0x7c00)) expect(isNaNBits(back[bits]!, 0x7c00)).toBe(true);
    else if (back[bits] !== bits) throw new Error(`half ${bits} became ${back[bits]}`);
  }
});

test("すべての bfloat16 は広げて戻すと同じビットになる", () => {
  const back = toBfloat16Bits(fromBfloat16Bits(everyBits));
  for (const bits of everyBits) {
    if (isNaNBits(bits, 0x7f80)) expect(back[bits]).toBe((bits & 0x8000) | 0x7fc0);
    else if (back[bits] !== bits) throw new Error(`bfloat16 ${bits} became ${back[bits]}`);
  }
});

test.each([
  [1 + 2 ** -11, 1],
  [1 + 3 * 2 ** -11, 1 + 2 ** -9],
  [65519, 65504],
  [65520, Infinity],
  [2 ** -25, 0],
  [-(2 ** -24), -(2 ** -24)],
])("roundToHalf(%p) は同点を偶数に寄せる", (value, expected) => {
  expect(roundToHalf(value)).toBe(expected);
});

test.each([
  [1 + 2 ** -8, 1],
  [1 + 3 * 2 ** -8, 1 + 2 ** -6],
  [3.3895313892515355e38, 3.3895313892515355e38],
  [3.4e38, Infinity],
  [-0, -0],
  [Number.NaN, Number.NaN],
])("roundToBfloat16(%p) は同点を偶数に寄せる", (value, expected) => {
  expect(roundToBfloat16(value)).toBe(expected);
});
