import { invalidArgument, unimplemented } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { isBig } from "./elementwise.ts";
import { formatShape, makeTensor, newData, roundTo, toNumbers } from "./kernel_util.ts";
import { type PhiloxState, PhiloxStream, philoxBlock, skip } from "./philox.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";
import { intTensor } from "./shape.ts";

/**
 * 乱数。種を入力で受けるもの(Stateless…)は TF の CPU と同じ列を返す。
 * 種を属性に持つもの(RandomUniform など)は、種が指定されていればその列を、無ければ呼ぶたびに違う値を返す。
 *
 * @see tensorflow/core/lib/random/random_distributions.h
 */
const bits = new DataView(new ArrayBuffer(8));

/** 23 bit の仮数から [0, 1)。 */
function toFloat(word: number): number {
  bits.setUint32(0, 0x3f800000 | (word & 0x7fffff));
  return bits.getFloat32(0) - 1;
}

/** 52 bit の仮数から [0, 1)。 */
export function toDouble(high: number, low: number): number {
  bits.setUint32(0, 0x3ff00000 | (high & 0xfffff));
  bits.setUint32(4, low);
  return bits.getFloat64(0) - 1;
}

/** 2 つの一様乱数から 2 つの正規乱数(Box–Muller)。 */
function normalPair(first: number, second: number): [number, number] {
  const u = Math.sqrt(-2 * Math.log(Math.max(first, 1e-7)));
  const angle = 2 * Math.PI * second;
  return [Math.sin(angle) * u, Math.cos(angle) * u];
}

const TRUNCATE_AT = 2;
/** 切断正規分布は棄却で使う語の数が決まらないので、4 値ごとにこれだけのブロックを空けておく。 */
const TRUNCATED_STRIDE = 256;

type Fill = (state: PhiloxState, out: Float64Array, count: number) => void;

const eachBlock =
  (write: (words: Uint32Array, out: Float64Array, at: number) => number): Fill =>
  (state, out, count) => {
    const words = new Uint32Array(4);
    for (let at = 0, block = 0; at < count; block++) {
      philoxBlock(skip(state, block), words);
      at += write(words, out, at);
    }
  };

const uniformFloat = eachBlock((words, out, at) => {
  for (let i = 0; i < 4; i++) out[at + i] = toFloat(words[i]!);
  return 4;
});

const uniformDouble = eachBlock((words, out, at) => {
  out[at] = toDouble(words[0]!, words[1]!);
  out[at + 1] = toDouble(words[2]!, words[3]!);
  return 2;
});

const normalFloat = eachBlock((words, out, at) => {
  for (let i = 0; i < 4; i += 2) {
    [out[at + i], out[at + i + 1]] = normalPair(toFloat(words[i]!), toFloat(words[i + 1]!)) as [
      number,
      number,
    ];
  }
  return 4;
});

const normalDouble = eachBlock((words, out, at) => {
  const pair = normalPair(toDouble(words[0]!, words[1]!), toDouble(words[2]!, words[3]!));
  [out[at], out[at + 1]] = pair as [number, number];
  return 2;
});

const truncatedNormal: Fill = (state, out, count) => {
  for (let group = 0; group * 4 < count; group++) {
    const stream = new PhiloxStream(skip(state, group * TRUNCATED_STRIDE));
    for (let filled = 0; filled < 4; ) {
      const first = toFloat(stream.next());
      const second = toFloat(stream.next());
      for (const value of normalPair(first, second)) {
        if (Math.abs(value) < TRUNCATE_AT && filled < 4) out[group * 4 + filled++] = value;
      }
    }
  }
};

/** 分布と dtype ごとの埋め方。 */
const fills: Record<string, Partial<Record<DType, Fill>>> = {
  uniform: { float: uniformFloat, double: uniformDouble },
  normal: { float: normalFloat, double: normalDouble },
  truncated: { float: truncatedNormal },
};

export type Distribution = keyof typeof fills;

export function readShape(shape: Tensor): number[] {
  const dims = toNumbers(shape);
  if (dims.some((dim) => dim < 0))
    throw invalidArgument(`shape must be non-negative, got ${formatShape(dims)}`);
  return dims;
}

export function real(state: PhiloxState, shape: Shape, dtype: DType, distribution: Distribution): Tensor {
  const fill = fills[distribution]![dtype]!;
  const data = newData(dtype, shape);
  const count = sizeOf(shape);
  // 4 つずつ作るので、端の余りを受ける余裕を持たせる。
  const values = new Float64Array(count + 4);
  fill(state, values, count);
  (data as Float64Array).set(values.subarray(0, count));
  roundTo(dtype, data);
  return makeTensor(dtype, shape, data);
}

/** 埋め方が無い dtype を計画時に断る。 */
function supported(node: OpNode, distribution: Distribution): DType {
  const dtype = node.attrs.dtype("dtype") ?? "float";
  if (fills[distribution]![dtype] === undefined) {
    throw unimplemented(`${node.op} does not support dtype ${dtype}`);
  }
  return dtype;
}

/** [low, high) の整数。範囲が undefined なら全域。 */
export function integers(
  state: PhiloxState,
  shape: Shape,
  dtype: DType,
  range?: readonly [Tensor, Tensor],
): Tensor {
  const count = sizeOf(shape);
  const data = newData(dtype, shape);
  const words = new Uint32Array(4);
  if (isBig(dtype)) {
    const out = data as BigInt64Array;
    const [low, high] = range?.map((bound) => BigInt(bound.data[0] as number | bigint)) ?? [0n, 2n ** 64n];
    if (low! >= high!) throw invalidArgument(`Need minval < maxval, got ${low} >= ${high}`);
    for (let at = 0, block = 0; at < count; block++) {
      philoxBlock(skip(state, block), words);
      for (let i = 0; i < 4 && at < count; i += 2) {
        const word = BigInt(words[i]!) | (BigInt(words[i + 1]!) << 32n);
        out[at++] = low! + (word % (high! - low!));
      }
    }
  } else {
    const out = data as Int32Array;
    const [low, high] = range?.map((bound) => Number(bound.data[0])) ?? [0, 2 ** 32];
    if (low! >= high!) throw invalidArgument(`Need minval < maxval, got ${low} >= ${high}`);
    for (let at = 0, block = 0; at < count; block++) {
      philoxBlock(skip(state, block), words);
      for (let i = 0; i < 4 && at < count; i++) out[at++] = low! + (words[i]! % (high! - low!));
    }
  }
  return makeTensor(dtype, shape, data);
}

function checkInteger(node: OpNode): DType {
  const dtype = node.attrs.dtype("dtype") ?? "int32";
  if (dtype !== "int32" && dtype !== "int64" && dtype !== "uint32" && dtype !== "uint64") {
    throw unimplemented(`${node.op} does not support dtype ${dtype}`);
  }
  return dtype;
}

export const low32 = (value: bigint): number => Number(BigInt.asUintN(32, value));
export const high32 = (value: bigint): number => Number(BigInt.asUintN(32, value >> 32n));

/** 種 2 つを混ぜて、鍵とカウンタにする。 */
export function scramble(seed: Tensor): PhiloxState {
  if (sizeOf(seed.shape) !== 2) {
    throw invalidArgument(`seed must have shape [2], not ${formatShape(seed.shape)}`);
  }
  const [first, second] = Array.from(seed.data as ArrayLike<number | bigint>, (v) => BigInt(v)) as [
    bigint,
    bigint,
  ];
  const mixed = new Uint32Array(4);
  philoxBlock(
    {
      counter: [low32(first), high32(first), low32(second), high32(second)],
      key: [0x3ec8f720, 0x02461e29],
    },
    mixed,
  );
  return { counter: [0, 0, mixed[2]!, mixed[3]!], key: [mixed[0]!, mixed[1]!] };
}

/** V2 の演算が受ける、鍵とカウンタの入力。 */
export function readState(key: Tensor, counter: Tensor, algorithm: Tensor): PhiloxState {
  const kind = Number(algorithm.data[0]);
  // 1 が Philox、3 は自動(CPU では Philox)。
  if (kind !== 1 && kind !== 3) throw unimplemented(`random algorithm ${kind} is not supported`);
  const [k] = key.data as BigUint64Array;
  const [c0, c1] = counter.data as BigUint64Array;
  return {
    counter: [low32(c0!), high32(c0!), low32(c1!), high32(c1!)],
    key: [low32(k!), high32(k!)],
  };
}

const bigTensor = (values: readonly bigint[]): Tensor => {
  const data = newData("uint64", [values.length]);
  data.set(values);
  return makeTensor("uint64", [values.length], data);
};

export const joinWords = (low: number, high: number): bigint => BigInt(low) | (BigInt(high) << 32n);

const keyAndCounter = (seed: Tensor): [Tensor, Tensor] => {
  const { key, counter } = scramble(seed);
  return [
    bigTensor([joinWords(key[0], key[1])]),
    bigTensor([joinWords(counter[0], counter[1]), joinWords(counter[2], counter[3])]),
  ];
};

/** V1(形, 種)と V2(形, 鍵, カウンタ, 方式)の 2 行。 */
function statelessReal(op: string, distribution: Distribution): OpRow[] {
  return [
    {
      op,
      host: (node) => {
        const dtype = supported(node, distribution);
        return ([shape, seed]) => real(scramble(seed!), readShape(shape!), dtype, distribution);
      },
    },
    {
      op: `${op}V2`,
      host: (node) => {
        const dtype = supported(node, distribution);
        return ([shape, key, counter, algorithm]) =>
          real(readState(key!, counter!, algorithm!), readShape(shape!), dtype, distribution);
      },
    },
  ];
}

const statelessInt: OpRow[] = [
  {
    op: "StatelessRandomUniformInt",
    host: (node) => {
      const dtype = checkInteger(node);
      return ([shape, seed, low, high]) => integers(scramble(seed!), readShape(shape!), dtype, [low!, high!]);
    },
  },
  {
    op: "StatelessRandomUniformIntV2",
    host: (node) => {
      const dtype = checkInteger(node);
      return ([shape, key, counter, algorithm, low, high]) =>
        integers(readState(key!, counter!, algorithm!), readShape(shape!), dtype, [low!, high!]);
    },
  },
  {
    op: "StatelessRandomUniformFullInt",
    host: (node) => {
      const dtype = checkInteger(node);
      return ([shape, seed]) => integers(scramble(seed!), readShape(shape!), dtype);
    },
  },
  {
    op: "StatelessRandomUniformFullIntV2",
    host: (node) => {
      const dtype = checkInteger(node);
      return ([shape, key, counter, algorithm]) =>
        integers(readState(key!, counter!, algorithm!), readShape(shape!), dtype);
    },
  },
];

/** ガンマ分布は棄却で使う語の数が決まらないので、値ごとにこれだけのブロックを空けておく。 */
const GAMMA_STRIDE = 256;

/** 値 1 つのための、一様乱数と正規乱数の列。どちらも同じ語の列から取る。 */
class GammaSource {
  readonly #stream: PhiloxStream;
  #uniforms: number[] = [];
  #normals: number[] = [];

  constructor(state: PhiloxState) {
    this.#stream = new PhiloxStream(state);
  }

  /** 1 ブロックから作った 2 つを、後ろから使う。 */
  uniform(): number {
    if (this.#uniforms.length === 0) this.#uniforms = [this.#double(), this.#double()];
    return this.#uniforms.pop()!;
  }

  normal(): number {
    if (this.#normals.length === 0) this.#normals = normalPair(this.#double(), this.#double());
    return this.#normals.pop()!;
  }

  #double(): number {
    const high = this.#stream.next();
    return toDouble(high, this.#stream.next());
  }
}

/**
 * 形の母数 `alpha` のガンマ分布から 1 つ。
 *
 * @see Marsaglia and Tsang, "A simple method for generating gamma variables", TOMS 26 (2000)
 */
function gammaSample(alpha: number, source: GammaSource): number {
  if (alpha === 1) return -Math.log1p(-source.uniform());
  const isSmall = alpha < 1;
  const d = alpha + (isSmall ? 2 / 3 : -1 / 3);
  const c = 1 / 3 / Math.sqrt(d);
  for (;;) {
    const x = source.normal();
    const root = 1 + c * x;
    if (root <= 0) continue;
    const v = root ** 3;
    const u = source.uniform();
    if (!(u < 1 - 0.0331 * x ** 4) && !(Math.log(u) < 0.5 * x * x + d * (1 - v + Math.log(v)))) continue;
    return isSmall ? d * v * source.uniform() ** (1 / alpha) : d * v;
  }
}

/** @param alpha 形は `shape` の末尾と同じ。 */
export function gamma(state: PhiloxState, shape: Shape, alpha: Tensor): Tensor {
  const alphas = alpha.data as Float64Array;
  const tail = shape.slice(shape.length - alpha.shape.length);
  if (shape.length < alpha.shape.length || formatShape(tail) !== formatShape(alpha.shape)) {
    throw invalidArgument(
      `Shape must end with alpha's shape: ${formatShape(shape)} vs ${formatShape(alpha.shape)}`,
    );
  }
  const data = newData(alpha.dtype, shape) as Float64Array;
  const perAlpha = data.length / Math.max(1, alphas.length);
  for (let a = 0; a < alphas.length; a++) {
    if (!(alphas[a]! > 0)) throw invalidArgument("Input alpha must be positive");
    for (let i = 0; i < perAlpha; i++) {
      const source = new GammaSource(skip(state, (a * perAlpha + i) * GAMMA_STRIDE));
      data[i * alphas.length + a] = gammaSample(alphas[a]!, source);
    }
  }
  roundTo(alpha.dtype, data as Tensor["data"]);
  return makeTensor(alpha.dtype, shape, data as Tensor["data"]);
}

function checkGamma(node: OpNode): void {
  const dtype = node.attrs.dtype("dtype");
  if (dtype !== "float" && dtype !== "double" && dtype !== "half" && dtype !== "bfloat16") {
    throw unimplemented(`${node.op} does not support dtype ${dtype}`);
  }
}

/** 値 1 つに 256 ブロックまで使えるように、先へ進めておくブロックの数。 */
const reservedBlocks = (count: number): number => count * TRUNCATED_STRIDE;

/**
 * 属性の種から始まり、呼ぶたびに進む列。両方 0 なら予測できない種で始める。
 *
 * @param blocksFor 1 度に進めるブロックの数。
 */
export function sequence(node: OpNode, blocksFor = reservedBlocks): (count: number) => PhiloxState {
  const [first, second] = [node.attrs.bigint("seed"), node.attrs.bigint("seed2")];
  const chosen =
    first === 0n && second === 0n ? crypto.getRandomValues(new BigUint64Array(2)) : [first, second];
  let state: PhiloxState = {
    counter: [0, 0, low32(chosen[1]!), high32(chosen[1]!)],
    key: [low32(chosen[0]!), high32(chosen[0]!)],
  };
  return (count) => {
    const mine = state;
    state = skip(state, blocksFor(count));
    return mine;
  };
}

function statefulReal(op: string, distribution: Distribution): OpRow {
  return {
    op,
    stateful: true,
    host: (node): HostKernel => {
      const dtype = supported(node, distribution);
      const draw = sequence(node);
      return ([shape]) => {
        const dims = readShape(shape!);
        return real(draw(sizeOf(dims)), dims, dtype, distribution);
      };
    },
  };
}

export const randomOps: readonly OpRow[] = [
  ...statelessReal("StatelessRandomUniform", "uniform"),
  ...statelessReal("StatelessRandomNormal", "normal"),
  ...statelessReal("StatelessTruncatedNormal", "truncated"),
  ...statelessInt,
  {
    op: "StatelessRandomGammaV2",
    host: (node) => {
      checkGamma(node);
      return ([shape, seed, alpha]) => gamma(scramble(seed!), readShape(shape!), alpha!);
    },
  },
  {
    op: "StatelessRandomGammaV3",
    host: (node) => {
      checkGamma(node);
      return ([shape, key, counter, algorithm, alpha]) =>
        gamma(readState(key!, counter!, algorithm!), readShape(shape!), alpha!);
    },
  },
  {
    op: "StatelessRandomGetKeyCounter",
    host:
      () =>
      ([seed]) =>
        keyAndCounter(seed!),
  },
  {
    op: "StatelessRandomGetKeyCounterAlg",
    host:
      () =>
      ([seed]) => [...keyAndCounter(seed!), intTensor("int32", [], [1])],
  },
  { op: "StatelessRandomGetAlg", host: () => () => intTensor("int32", [], [1]) },
  statefulReal("RandomUniform", "uniform"),
  statefulReal("RandomStandardNormal", "normal"),
  statefulReal("TruncatedNormal", "truncated"),
  {
    op: "RandomUniformInt",
    stateful: true,
    host: (node) => {
      const dtype = node.attrs.dtype("Tout") === "int64" ? "int64" : "int32";
      const draw = sequence(node);
      return ([shape, low, high]) => {
        const dims = readShape(shape!);
        return integers(draw(sizeOf(dims)), dims, dtype, [low!, high!]);
      };
    },
  },
];
