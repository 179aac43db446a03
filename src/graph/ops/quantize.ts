import { invalidArgument } from "../../base/status.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { numbersOf } from "./elementwise.ts";
import { formatShape, makeTensor, newData, roundTo, stridesOf, toNumber, toNumbers } from "./kernel_util.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";
import { roundHalfEven } from "./special_functions.ts";

/** 量子化した学習の名残。計算は TF と同じく単精度で刻む(境目の丸めが変わるため)。 */
const f32 = Math.fround;

/** 0 がちょうど表せるようにずらした範囲。 */
interface Nudged {
  readonly low: number;
  readonly high: number;
  readonly scale: number;
}

function nudge(low: number, high: number, quantMin: number, quantMax: number): Nudged {
  const scale = f32(f32(high - low) / (quantMax - quantMin));
  const zero = f32(quantMin - f32(low / scale));
  let point: number;
  if (zero < quantMin) point = quantMin;
  else if (zero > quantMax) point = quantMax;
  else point = Math.round(zero);
  return { low: f32(f32(quantMin - point) * scale), high: f32(f32(quantMax - point) * scale), scale };
}

function fake(x: number, { low, high, scale }: Nudged): number {
  const clamped = Math.min(Math.max(x, low), high);
  return f32(f32(Math.floor(f32(f32(f32(clamped - low) / scale) + 0.5)) * scale) + low);
}

interface Levels {
  readonly min: number;
  readonly max: number;
}

function readLevels(node: OpNode): Levels {
  const bits = node.attrs.int("num_bits");
  return { min: node.attrs.bool("narrow_range") ? 1 : 0, max: 2 ** bits - 1 };
}

/** 範囲は 1 組、または末尾の軸ごと。 */
function fakeQuantize(
  x: Tensor,
  lows: readonly number[],
  highs: readonly number[],
  { min, max }: Levels,
): Tensor {
  const from = numbersOf(x);
  const out = newData("float", x.shape);
  const ranges = lows.map((low, c) =>
    low === 0 && highs[c] === 0 ? undefined : nudge(low, highs[c]!, min, max),
  );
  for (let i = 0; i < from.length; i++) {
    const range = ranges[i % ranges.length];
    out[i] = range === undefined ? 0 : fake(from[i]!, range);
  }
  return makeTensor("float", x.shape, out);
}

const withArgs = (node: OpNode): HostKernel => {
  const levels = readLevels(node);
  const [low, high] = [node.attrs.float("min"), node.attrs.float("max")];
  return ([x]) => fakeQuantize(x!, [low], [high], levels);
};

const withVars = (node: OpNode): HostKernel => {
  const levels = readLevels(node);
  return ([x, low, high]) => fakeQuantize(x!, toNumbers(low!), toNumbers(high!), levels);
};

const withChannelVars = (node: OpNode): HostKernel => {
  const levels = readLevels(node);
  return ([x, low, high]) => {
    const depth = x!.shape.at(-1);
    if (low!.shape[0] !== depth || high!.shape[0] !== depth) {
      throw invalidArgument(`min has incorrect size, expected ${depth} was ${formatShape(low!.shape)}`);
    }
    return fakeQuantize(x!, toNumbers(low!), toNumbers(high!), levels);
  };
};

/** 量子化して戻す刻み。範囲の大きい側に合わせる。 */
interface Step {
  readonly scale: number;
  readonly inverse: number;
  readonly low: number;
  readonly high: number;
}

function stepOf(low: number, high: number, signed: boolean, bits: number, narrow: boolean): Step {
  const quantMin = signed ? -(2 ** (bits - 1)) + (narrow ? 1 : 0) : 0;
  const quantMax = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  const fromLow = quantMin * low > 0 ? f32(quantMin / low) : Number.MAX_VALUE;
  const fromHigh = quantMax * high > 0 ? f32(quantMax / high) : Number.MAX_VALUE;
  if (fromLow < fromHigh) {
    const inverse = f32(low / quantMin);
    return { scale: fromLow, inverse, low, high: f32(quantMax * inverse) };
  }
  const inverse = f32(high / quantMax);
  return { scale: fromHigh, inverse, low: f32(quantMin * inverse), high };
}

/** 範囲は入力で受けるか、値から測る。`axis` が 0 以上なら軸ごと。 */
function quantizeAndDequantize(node: OpNode): HostKernel {
  const signed = node.attrs.bool("signed_input");
  const given = node.attrs.bool("range_given");
  const narrow = node.attrs.bool("narrow_range");
  const axis = node.attrs.int("axis");
  const dynamicBits = node.op === "QuantizeAndDequantizeV3";
  const fixedBits = dynamicBits ? 0 : node.attrs.int("num_bits");
  const halfUp = !dynamicBits && node.attrs.string("round_mode") === "HALF_UP";
  const round = halfUp ? (x: number) => Math.floor(f32(x + 0.5)) : roundHalfEven;
  return ([x, lowTensor, highTensor, bitsTensor]) => {
    const bits = dynamicBits ? toNumber(bitsTensor!) : fixedBits;
    const from = numbersOf(x!);
    const inner = axis < 0 ? 1 : stridesOf(x!.shape)[axis]!;
    const size = axis < 0 ? 1 : x!.shape[axis]!;
    const channel = (i: number) => (axis < 0 ? 0 : Math.floor(i / inner) % size);
    let lows = toNumbers(lowTensor!);
    let highs = toNumbers(highTensor!);
    if (!given) {
      lows = new Array<number>(size).fill(Number.POSITIVE_INFINITY);
      highs = new Array<number>(size).fill(Number.NEGATIVE_INFINITY);
      for (let i = 0; i < from.length; i++) {
        const c = channel(i);
        lows[c] = Math.min(lows[c]!, from[i]!);
        highs[c] = Math.max(highs[c]!, from[i]!);
      }
    } else if (lows.some((low, c) => low > highs[c]!)) {
      throw invalidArgument(`Invalid range: input_min ${lows[0]} > input_max ${highs[0]}`);
    }
    const steps = lows.map((low, c) => stepOf(low, highs[c]!, signed, bits, narrow));
    const data = newData(x!.dtype, x!.shape);
    const out = data as Float64Array;
    for (let i = 0; i < from.length; i++) {
      const { scale, inverse, low, high } = steps[channel(i)]!;
      const value = given ? Math.min(Math.max(from[i]!, low), high) : from[i]!;
      out[i] = f32(round(f32(value * scale)) * inverse);
    }
    roundTo(x!.dtype, data);
    return makeTensor(x!.dtype, x!.shape, data);
  };
}

export const quantizeOps: readonly OpRow[] = [
  { op: "FakeQuantWithMinMaxArgs", host: withArgs },
  { op: "FakeQuantWithMinMaxVars", host: withVars },
  { op: "FakeQuantWithMinMaxVarsPerChannel", host: withChannelVars },
  { op: "QuantizeAndDequantizeV2", host: quantizeAndDequantize },
  { op: "QuantizeAndDequantizeV3", host: quantizeAndDequantize },
  { op: "QuantizeAndDequantizeV4", host: quantizeAndDequantize },
];
