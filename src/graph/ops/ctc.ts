import { failedPrecondition, invalidArgument } from "../../base/status.ts";
import { type Tensor, tensor } from "../../tensor/tensor.ts";
import { numbersOf } from "./elementwise.ts";
import { makeTensor, newData, roundTo, toNumbers } from "./kernel_util.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";

/** 確からしさの列と、行ごとの長さ。 */
interface Inputs {
  readonly frames: number;
  readonly batch: number;
  readonly classes: number;
  readonly data: ArrayLike<number>;
  readonly lengths: readonly number[];
}

function readInputs([inputs, lengthTensor]: readonly Tensor[]): Inputs {
  const { shape } = inputs!;
  if (shape.length !== 3) throw invalidArgument("inputs is not a 3-Tensor");
  const [frames, batch, classes] = shape as [number, number, number];
  if (frames * batch * classes === 0) throw invalidArgument("inputs must not be empty");
  if (lengthTensor!.shape.length !== 1) throw invalidArgument("sequence_length is not a vector");
  const lengths = toNumbers(lengthTensor!);
  if (lengths.length !== batch) {
    throw failedPrecondition(
      `len(sequence_length) != batch_size.  len(sequence_length):  ${lengths.length} batch_size: ${batch}`,
    );
  }
  const long = lengths.findIndex((length) => length > frames);
  if (long >= 0) throw failedPrecondition(`sequence_length(${long}) <= ${frames}`);
  return { frames, batch, classes, data: numbersOf(inputs!), lengths };
}

/** 行ごとの列を、疎なテンソル 3 本に。 */
function toSparse(sequences: readonly (readonly number[])[]): [Tensor, Tensor, Tensor] {
  const total = sequences.reduce((sum, { length }) => sum + length, 0);
  const indices = sequences.flatMap((sequence, row) =>
    sequence.flatMap((_, at) => [BigInt(row), BigInt(at)]),
  );
  const longest = Math.max(0, ...sequences.map(({ length }) => length));
  return [
    tensor("int64", [total, 2], BigInt64Array.from(indices)),
    tensor("int64", [total], BigInt64Array.from(sequences.flat(), BigInt)),
    tensor("int64", [2], BigInt64Array.of(BigInt(sequences.length), BigInt(longest))),
  ];
}

/** 確からしさの対数の和。 */
function scores(dtype: Tensor["dtype"], rows: readonly (readonly number[])[]): Tensor {
  const shape = [rows.length, rows[0]!.length];
  const data = newData(dtype, shape);
  rows.flat().forEach((value, i) => {
    data[i] = value;
  });
  roundTo(dtype, data);
  return makeTensor(dtype, shape, data);
}

/** 各時刻で最も確からしいものを並べ、空白と(望めば)繰り返しを除く。 */
const greedy = (node: OpNode): HostKernel => {
  const merges = node.attrs.bool("merge_repeated");
  const givenBlank = node.attrs.int("blank_index");
  return (tensors) => {
    const { batch, classes, data, lengths } = readInputs(tensors);
    const blank = givenBlank < 0 ? classes + givenBlank : givenBlank;
    if (blank < 0 || blank >= classes) {
      throw invalidArgument(
        `blank_index expected to be between ${-classes} and ${classes - 1} but was ${givenBlank}`,
      );
    }
    const sums: number[][] = [];
    const sequences = lengths.map((length, row) => {
      const sequence: number[] = [];
      let before = -1;
      let sum = 0;
      for (let t = 0; t < length; t++) {
        const at = (t * batch + row) * classes;
        let best = 0;
        for (let c = 1; c < classes; c++) if (data[at + c]! > data[at + best]!) best = c;
        sum -= data[at + best]!;
        if (best !== blank && !(merges && best === before)) sequence.push(best);
        before = best;
      }
      sums.push([sum]);
      return sequence;
    });
    return [...toSparse(sequences), scores(tensors[0]!.dtype, sums)];
  };
};

/** 確からしさの対数。 */
interface Odds {
  total: number;
  blank: number;
  label: number;
}

const NEVER = Number.NEGATIVE_INFINITY;
const never = (): Odds => ({ total: NEVER, blank: NEVER, label: NEVER });

/** 探索の木の節。根から節までの文字の並びを表す。 */
class Beam {
  readonly children = new Map<number, Beam>();
  before = never();
  now = never();

  constructor(
    readonly parent: Beam | undefined,
    readonly label: number,
  ) {}

  /** いま候補に残っているか。 */
  get isActive(): boolean {
    return this.now.total !== NEVER;
  }

  child(label: number): Beam {
    let found = this.children.get(label);
    if (found === undefined) {
      found = new Beam(this, label);
      this.children.set(label, found);
    }
    return found;
  }

  path(merges: boolean): number[] {
    const labels: number[] = [];
    let before = -1;
    for (let at: Beam = this; at.parent !== undefined; at = at.parent) {
      if (!merges || at.label !== before) labels.push(at.label);
      before = at.label;
    }
    return labels.reverse();
  }
}

function logAdd(a: number, b: number): number {
  if (a === NEVER) return b;
  if (b === NEVER) return a;
  return Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));
}

/** 上位 `width` 個の候補を、確からしい順に保つ。 */
class Leaves {
  beams: Beam[] = [];

  constructor(private readonly width: number) {}

  get isFull(): boolean {
    return this.beams.length >= this.width;
  }

  get last(): Beam | undefined {
    return this.beams.at(-1);
  }

  accepts(total: number): boolean {
    return total > NEVER && (!this.isFull || total > this.last!.now.total);
  }

  push(beam: Beam): void {
    let at = this.beams.length;
    while (at > 0 && this.beams[at - 1]!.now.total < beam.now.total) at--;
    this.beams.splice(at, 0, beam);
    if (this.beams.length > this.width) this.beams.pop();
  }
}

/**
 * 同じ文字の並びになる道をまとめながら、上位の並びだけを残して進む。空白は最後の番号。
 *
 * @see Graves, Supervised Sequence Labelling with Recurrent Neural Networks, 7.5
 */
function search({ batch, classes, data, lengths }: Inputs, row: number, width: number): Leaves {
  const blank = classes - 1;
  const root = new Beam(undefined, -1);
  root.now = { total: 0, blank: 0, label: NEVER };
  let leaves = new Leaves(width);
  leaves.push(root);
  for (let t = 0; t < lengths[row]!; t++) {
    const at = (t * batch + row) * classes;
    // 入力は softmax の前の値。
    let highest = data[at]!;
    for (let c = 1; c < classes; c++) highest = Math.max(highest, data[at + c]!);
    let sum = 0;
    for (let c = 0; c < classes; c++) sum += Math.exp(data[at + c]! - highest);
    const norm = highest + Math.log(sum);
    const odds = (label: number) => data[at + label]! - norm;
    const branches = leaves.beams;
    leaves = new Leaves(width);
    for (const beam of branches) beam.before = { ...beam.now };
    for (const beam of branches) {
      const { parent, now, before } = beam;
      if (parent !== undefined) {
        if (parent.isActive) {
          const previous = beam.label === parent.label ? parent.before.blank : parent.before.total;
          now.label = logAdd(now.label, previous);
        }
        now.label += odds(beam.label);
      }
      now.blank = before.total + odds(blank);
      now.total = logAdd(now.blank, now.label);
      leaves.push(beam);
    }
    for (const beam of branches) {
      if (!leaves.accepts(beam.before.total)) continue;
      for (let label = 0; label < blank; label++) {
        const child = beam.child(label);
        if (child.isActive) continue;
        const previous = label === beam.label ? beam.before.blank : beam.before.total;
        const total = odds(label) + previous;
        child.now = { blank: NEVER, label: total, total };
        if (leaves.accepts(total)) {
          if (leaves.isFull) leaves.last!.now = never();
          leaves.push(child);
        } else {
          child.before = never();
          child.now = never();
        }
      }
    }
  }
  return leaves;
}

const beamSearch = (node: OpNode): HostKernel => {
  const width = node.attrs.int("beam_width");
  const paths = node.attrs.int("top_paths");
  const merges = node.attrs.bool("merge_repeated");
  return (tensors) => {
    const inputs = readInputs(tensors);
    if (paths > width) throw invalidArgument("requested more paths than the beam width.");
    const found = inputs.lengths.map((_, row) => {
      const { beams } = search(inputs, row, width);
      if (paths > beams.length) throw invalidArgument("Less leaves in the beam search than requested.");
      return beams.slice(0, paths);
    });
    const sparse = Array.from({ length: paths }, (_, p) =>
      toSparse(found.map((beams) => beams[p]!.path(merges))),
    );
    const totals = found.map((beams) => beams.map((beam) => beam.now.total));
    const part = (k: 0 | 1 | 2) => sparse.map((tensors3) => tensors3[k]);
    return [...part(0), ...part(1), ...part(2), scores(tensors[0]!.dtype, totals)];
  };
};

/** 音や文字の列の、時刻ごとの確からしさから並びを求める演算。 */
export const ctcOps: readonly OpRow[] = [
  { op: "CTCGreedyDecoder", host: greedy },
  { op: "CTCBeamSearchDecoder", host: beamSearch },
];
