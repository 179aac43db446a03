import { invalidArgument } from "../../base/status.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as bessel from "./bessel.ts";
import { mapNumbers, numbersOf, zipNumbers } from "./elementwise.ts";
import { formatShape, makeTensor, newData, roundTo } from "./kernel_util.ts";
import type { HostKernel, OpRow } from "./registry.ts";
import * as integrals from "./special_integrals.ts";

const unary: Readonly<Record<string, (x: number) => number>> = {
  BesselI0: bessel.besselI0,
  BesselI0e: bessel.besselI0e,
  BesselI1: bessel.besselI1,
  BesselI1e: bessel.besselI1e,
  BesselJ0: bessel.besselJ0,
  BesselJ1: bessel.besselJ1,
  BesselK0: bessel.besselK0,
  BesselK0e: bessel.besselK0e,
  BesselK1: bessel.besselK1,
  BesselK1e: bessel.besselK1e,
  BesselY0: bessel.besselY0,
  BesselY1: bessel.besselY1,
  Dawsn: integrals.dawsn,
  Expint: integrals.expint,
  FresnelCos: integrals.fresnelCos,
  FresnelSin: integrals.fresnelSin,
  Spence: integrals.spence,
};

const binary: Readonly<Record<string, (a: number, b: number) => number>> = {
  Zeta: integrals.zeta,
  Polygamma: integrals.polygamma,
};

/** 3 つの入力は同じ形か、スカラー。 */
const betainc: HostKernel = (inputs) => {
  const first = Math.max(
    inputs.findIndex(({ shape }) => shape.length > 0),
    0,
  );
  const full = inputs[first]!;
  for (const [i, { shape }] of inputs.entries()) {
    if (shape.length > 0 && formatShape(shape) !== formatShape(full.shape)) {
      throw invalidArgument(
        `Shapes of ${"abx"[first]} and ${"abx"[i]} are inconsistent: ${formatShape(full.shape)} vs. ${formatShape(shape)}`,
      );
    }
  }
  const [a, b, x] = inputs.map(numbersOf);
  const data = newData(full.dtype, full.shape) as Float64Array;
  const at = (input: number, i: number) => (inputs[input]!.shape.length > 0 ? i : 0);
  for (let i = 0; i < data.length; i++) {
    data[i] = integrals.betainc(a![at(0, i)]!, b![at(1, i)]!, x![at(2, i)]!);
  }
  roundTo(full.dtype, data as Tensor["data"]);
  return makeTensor(full.dtype, full.shape, data as Tensor["data"]);
};

/** 初等でない関数の演算。 */
export const specialMathOps: readonly OpRow[] = [
  ...Object.entries(unary).map(
    ([op, rule]): OpRow => ({
      op,
      host:
        () =>
        ([x]) =>
          mapNumbers(x!, x!.dtype, rule),
    }),
  ),
  ...Object.entries(binary).map(
    ([op, rule]): OpRow => ({
      op,
      host:
        () =>
        ([a, b]) =>
          zipNumbers(a!, b!, a!.dtype, rule),
    }),
  ),
  { op: "Betainc", host: () => betainc },
];
