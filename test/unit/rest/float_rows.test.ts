import { expect, test } from "bun:test";
import fc from "fast-check";
import { ByteSink } from "../../../src/rest/byte_sink.ts";
import { writeFloats } from "../../../src/rest/float_rows.ts";
import { formatFloat } from "../../../src/rest/format_float.ts";

function wanted(values: Float32Array, columns: number): string {
  const texts = Array.from(values, (value) => formatFloat(value, true));
  if (columns === 0) return texts.join(", ");
  const rows = Array.from({ length: values.length / columns }, (_, row) =>
    texts.slice(row * columns, (row + 1) * columns).join(", "),
  );
  return rows.map((row) => `[${row}]`).join(", ");
}

/** 前に何かあり、前後に書かない値があっても。 */
function check(values: Float32Array, columns: number): void {
  const sink = new ByteSink(1);
  sink.ascii("x");
  const around = new Float32Array([7, ...values, 7]);
  writeFloats(sink, around, 1, values.length, columns);
  expect(sink.toAscii()).toBe(`x${wanted(values, columns)}`);
}

/** どのビットの並びも。 */
const anyBits = fc
  .integer({ min: 0, max: 2 ** 32 - 1 })
  .map((bits) => new Float32Array(Uint32Array.of(bits).buffer)[0]!);
const probability = fc.float({ min: 0, max: 1, noNaN: true });
const decimal = fc
  .tuple(fc.integer({ min: -9_999_999, max: 9_999_999 }), fc.integer({ min: -20, max: 3 }))
  .map(([digits, power]) => Math.fround(Number(`${digits}e${power}`)));
const special = fc.constantFrom(0, -0, 1, -1, 1e6, 999999.94, 1e-14, 9.9999998e-15, NaN, Infinity, -Infinity);

test("writeFloats() writes what formatFloat() does, one by one", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 6 }),
      fc.array(fc.oneof(anyBits, probability, decimal, special), { maxLength: 60 }),
      (columns, values) => {
        const whole = columns === 0 ? values.length : values.length - (values.length % columns);
        check(Float32Array.from(values.slice(0, whole)), columns);
      },
    ),
    { numRuns: 2000 },
  );
});

test.each([0, 1, 3, 5000])("writeFloats() goes on from block to block, %d columns", (columns) => {
  const values = Float32Array.from({ length: 15_000 }, (_, i) =>
    i % 97 === 0 ? NaN : Math.exp((i % 61) - 40),
  );
  check(values, columns);
});

test("writeFloats() at the ends of powers of ten and of two", () => {
  const edges: number[] = [];
  for (let power = -46; power <= 38; power++) edges.push(Number(`1e${power}`));
  for (let power = -149; power <= 127; power++) edges.push(2 ** power);
  const bits = new Uint32Array(Float32Array.from(edges).buffer).map((edge) => edge);
  const near = [-2, -1, 0, 1, 2].flatMap((step) => [...bits.map((edge) => Math.max(0, edge + step))]);
  check(new Float32Array(Uint32Array.from(near).buffer), 0);
});
