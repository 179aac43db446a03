import { invalidArgument } from "../../base/status.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { Value } from "../value.ts";
import { isBig, numbersOf } from "./elementwise.ts";
import { formatShape, makeTensor, newData, roundTo, toNumber } from "./kernel_util.ts";
import { type PhiloxState, PhiloxStream, skip } from "./philox.ts";
import {
  type Distribution,
  gamma,
  high32,
  integers,
  joinWords,
  low32,
  readShape,
  readState,
  real,
  scramble,
  sequence,
  toDouble,
} from "./random.ts";
import type { OpNode, OpRow, RawKernel } from "./registry.ts";
import { lgamma } from "./special_functions.ts";
import { gatherLattice } from "./strided_copy.ts";
import { Variable } from "./variable.ts";
import { generatorUpdates } from "./variable_update_names.ts";

/** 1 つのブロックから倍精度の一様乱数を 2 つ取る。 */
function nextDouble(stream: PhiloxStream): number {
  const high = stream.next();
  return toDouble(high, stream.next());
}

/** 行ごとの対数の重みに従って、番号を引く。 */
function categorical(state: PhiloxState, logits: Tensor, samples: number, dtype: Tensor["dtype"]): Tensor {
  if (logits.shape.length !== 2) {
    throw invalidArgument(`logits should be a matrix, got shape ${formatShape(logits.shape)}`);
  }
  if (samples < 0) throw invalidArgument(`num_samples should be nonnegative, got ${samples}`);
  const [rows, classes] = logits.shape as [number, number];
  if (classes < 1) throw invalidArgument(`num_classes should be positive, got ${classes}`);
  const from = numbersOf(logits);
  const data = newData(dtype, [rows, samples]);
  const stream = new PhiloxStream(state);
  const cumulative = new Float64Array(classes);
  for (let row = 0; row < rows; row++) {
    let highest = Number.NEGATIVE_INFINITY;
    for (let c = 0; c < classes; c++) {
      const logit = from[row * classes + c]!;
      if (Number.isFinite(logit)) highest = Math.max(highest, logit);
    }
    let total = 0;
    for (let c = 0; c < classes; c++) {
      const logit = from[row * classes + c]!;
      if (Number.isFinite(logit)) total += Math.exp(logit - highest);
      cumulative[c] = total;
    }
    for (let i = 0; i < samples; i++) {
      const wanted = nextDouble(stream) * total;
      let [low, high] = [0, classes];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (cumulative[middle]! > wanted) high = middle;
        else low = middle + 1;
      }
      data[row * samples + i] = isBig(dtype) ? BigInt(low) : low;
    }
  }
  return makeTensor(dtype, [rows, samples], data);
}

/** 先頭の軸を並べ替える。 */
function shuffle(state: PhiloxState, x: Tensor): Tensor {
  const count = x.shape[0] ?? 1;
  if (count <= 1) return x;
  const order = Array.from({ length: count }, (_, i) => i);
  const stream = new PhiloxStream(state);
  for (let i = 0; i < count - 1; i++) {
    const other = i + (stream.next() % (count - i));
    [order[i], order[other]] = [order[other]!, order[i]!];
  }
  const inner = x.shape.slice(1);
  const width = sizeOf(inner);
  const strides = inner.map((_, i) => sizeOf(inner.slice(i + 1)));
  const data = newData(x.dtype, x.shape) as Float64Array;
  for (const [to, from] of order.entries()) {
    const row = gatherLattice(x.dtype, inner, { data: x.data, at: from * width, strides });
    const lanes = width === 0 ? 0 : row.data.length;
    for (let i = 0; i < lanes; i++) data[to * lanes + i] = row.data[i] as number;
  }
  return makeTensor(x.dtype, x.shape, data as Tensor["data"]);
}

/** ポアソン分布は棄却で使う語の数が決まらないので、値ごとにこれだけのブロックを空けておく。 */
const POISSON_STRIDE = 256;

/** 1 つのブロックから作った 2 つを、後ろから使う一様乱数。 */
function uniformsOf(state: PhiloxState): () => number {
  const stream = new PhiloxStream(state);
  let held: number[] = [];
  return () => {
    if (held.length === 0) held = [nextDouble(stream), nextDouble(stream)];
    return held.pop()!;
  };
}

/**
 * 率 `rate` のポアソン分布から 1 つ。小さい率は Knuth の積、大きい率は変換棄却法。
 *
 * @see Hörmann, "The transformed rejection method for generating Poisson random variables" (1993)
 */
function poissonSample(rate: number, uniform: () => number): number {
  if (!(rate >= 0) || !Number.isFinite(rate)) return Number.NaN;
  if (rate < 10) {
    const limit = Math.exp(-rate);
    let product = uniform();
    let count = 0;
    for (; product > limit; count++) product *= uniform();
    return count;
  }
  const b = 0.931 + 2.53 * Math.sqrt(rate);
  const a = -0.059 + 0.02483 * b;
  const inverseAlpha = 1.1239 + 1.1328 / (b - 3.4);
  const logRate = Math.log(rate);
  for (;;) {
    const u = uniform() - 0.5;
    const v = uniform();
    const us = 0.5 - Math.abs(u);
    const k = Math.floor(((2 * a) / us + b) * u + rate + 0.43);
    if (us >= 0.07 && v <= 0.9277 - 3.6224 / (b - 2)) return k;
    if (k < 0 || (us < 0.013 && v > us)) continue;
    if (Math.log((v * inverseAlpha) / (a / (us * us) + b)) <= -rate + k * logRate - lgamma(k + 1)) return k;
  }
}

/** @param shape 出力の形。末尾は率の形。 */
function poisson(state: PhiloxState, shape: Shape, rates: Tensor, dtype: Tensor["dtype"]): Tensor {
  const from = numbersOf(rates);
  const data = newData(dtype, shape);
  const samples = from.length === 0 ? 0 : sizeOf(shape) / from.length;
  for (let r = 0; r < from.length; r++) {
    for (let i = 0; i < samples; i++) {
      const uniform = uniformsOf(skip(state, (r * samples + i) * POISSON_STRIDE));
      const value = poissonSample(from[r]!, uniform);
      data[i * from.length + r] = isBig(dtype) ? BigInt(Number.isNaN(value) ? 0 : value) : value;
    }
  }
  roundTo(dtype, data);
  return makeTensor(dtype, shape, data);
}

/** 種を属性に持ち、呼ぶたびに違う値を返すもの。 */
const sequential: readonly OpRow[] = [
  {
    op: "Multinomial",
    stateful: true,
    host: (node) => {
      const dtype = node.attrs.dtype("output_dtype") ?? "int64";
      const draw = sequence(node);
      return ([logits, count]) => {
        const samples = toNumber(count!);
        // 倍精度なので 2 倍を、4 つごとに切り上げて空ける。
        const reserved = (logits!.shape[0] ?? 0) * Math.ceil(samples / 4) * 8;
        return categorical(draw(reserved), logits!, samples, dtype);
      };
    },
  },
  {
    op: "RandomShuffle",
    stateful: true,
    host: (node) => {
      const draw = sequence(node, (count) => Math.ceil(count / 4));
      return ([x]) => shuffle(draw(x!.shape[0] ?? 0), x!);
    },
  },
  {
    op: "RandomGamma",
    stateful: true,
    host: (node) => {
      const draw = sequence(node);
      return ([shape, alpha]) => {
        const dims = [...readShape(shape!), ...alpha!.shape];
        return gamma(draw(sizeOf(dims)), dims, alpha!);
      };
    },
  },
  {
    op: "RandomPoissonV2",
    stateful: true,
    host: (node) => {
      const dtype = node.attrs.dtype("dtype") ?? "int64";
      const draw = sequence(node);
      return ([shape, rates]) => {
        const dims = [...readShape(shape!), ...rates!.shape];
        return poisson(draw(sizeOf(dims)), dims, rates!, dtype);
      };
    },
  },
];

/** 種を入力で受けるもの。 */
const stateless: readonly OpRow[] = [
  {
    op: "StatelessShuffle",
    host:
      () =>
      ([x, key, counter, algorithm]) =>
        shuffle(readState(key!, counter!, algorithm!), x!),
  },
  {
    op: "StatelessMultinomial",
    host: (node) => {
      const dtype = node.attrs.dtype("output_dtype") ?? "int64";
      return ([logits, count, seed]) => categorical(scramble(seed!), logits!, toNumber(count!), dtype);
    },
  },
  {
    op: "StatelessRandomPoisson",
    host: (node) => {
      const dtype = node.attrs.dtype("dtype") ?? "int64";
      return ([shape, seed, rates]) => poisson(scramble(seed!), readShape(shape!), rates!, dtype);
    },
  },
];

/** 状態の変数は、カウンタ 2 語と鍵 1 語。 */
function stateOf(words: readonly bigint[]): PhiloxState {
  const [c0, c1, key] = words.map((word) => BigInt.asUintN(64, word)) as [bigint, bigint, bigint];
  return { counter: [low32(c0), high32(c0), low32(c1), high32(c1)], key: [low32(key), high32(key)] };
}

/** 値 1 つに空けておくブロックの数。 */
const GENERATOR_STRIDE = 256n;

/** 変数の状態を `count` 個ぶん進め、進める前の状態を返す。 */
function advance(target: Value, count: bigint, run: Parameters<RawKernel>[1]): readonly bigint[] {
  const variable = target.objectOf(Variable);
  const before = variable.read().tensor(run.device);
  if (before.dtype !== "int64" || before.data.length < 3) {
    throw invalidArgument(
      `For the Philox algorithm, the size of state must be at least 3; got ${before.data.length}`,
    );
  }
  const words = [...before.data];
  let state = stateOf(words);
  // 進める数は 2^53 を超えうるので、上の語から分けて足す。
  const blocks = count * GENERATOR_STRIDE;
  state = skip(state, Number(BigInt.asUintN(52, blocks)));
  const { counter } = state;
  const after = BigInt64Array.from(words);
  after[0] = BigInt.asIntN(64, joinWords(counter[0], counter[1]));
  after[1] = BigInt.asIntN(64, joinWords(counter[2], counter[3]));
  variable.assign(Value.ofTensor(makeTensor("int64", before.shape, after)), run.device);
  return words;
}

const generators: Readonly<Record<string, (node: OpNode) => RawKernel>> = {
  RngReadAndSkip:
    () =>
    ([target, , delta], run) => {
      const words = advance(target!, BigInt(delta!.tensor(run.device).data[0] as bigint), run);
      return Value.ofTensor(makeTensor("int64", [3], BigInt64Array.from(words.slice(0, 3))));
    },
  RngSkip:
    () =>
    ([target, , delta], run) => {
      advance(target!, BigInt(delta!.tensor(run.device).data[0] as bigint), run);
      return [];
    },
  StatefulUniform: reals("uniform"),
  StatefulStandardNormalV2: reals("normal"),
  StatefulTruncatedNormal: reals("truncated"),
  StatefulUniformInt: ints(true),
  StatefulUniformFullInt: ints(false),
};

function reals(distribution: Distribution) {
  return (node: OpNode): RawKernel => {
    const dtype = node.attrs.dtype("dtype") ?? "float";
    return ([target, , shape], run) => {
      const dims = readShape(shape!.tensor(run.device));
      const state = stateOf(advance(target!, BigInt(sizeOf(dims)), run));
      return Value.ofTensor(real(state, dims, dtype, distribution));
    };
  };
}

function ints(hasRange: boolean) {
  return (node: OpNode): RawKernel => {
    const dtype = node.attrs.dtype("dtype") ?? (hasRange ? "int64" : "uint64");
    return ([target, , shape, low, high], run) => {
      const dims = readShape(shape!.tensor(run.device));
      const state = stateOf(advance(target!, BigInt(sizeOf(dims)), run));
      const range = hasRange ? ([low!.tensor(run.device), high!.tensor(run.device)] as const) : undefined;
      return Value.ofTensor(integers(state, dims, dtype, range));
    };
  };
}

/** 分布から引く演算のうち、使うモデルの少ないもの。 */
export const samplingOps: readonly OpRow[] = [
  ...sequential,
  ...stateless,
  ...generatorUpdates.map((op): OpRow => ({ op, stateful: true, raw: generators[op]! })),
];
