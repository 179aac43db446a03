import { invalidArgument } from "../../base/status.ts";
import { lanesOf } from "../../tensor/dtype.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import type { Device, DeviceTensor } from "../value.ts";
import { isBig } from "./elementwise.ts";
import { formatShape, makeTensor, newData, stridesOf } from "./kernel_util.ts";
import { matMul, matMulOnDevice } from "./matmul.ts";
import type { OpNode, OpRow } from "./registry.ts";
import { broadcastTo } from "./shape.ts";
import { gatherLattice, transpose, withShape } from "./strided_copy.ts";

/**
 * Einsum を「軸の整理 → バッチ行列積 → 並べ替え」に直して計算する。
 * 軸の名前は 1 文字、省略記号の軸は右から数えて `…0`, `…1` と名付ける。
 */
interface Equation {
  readonly inputs: readonly (readonly string[])[];
  readonly output: readonly string[];
}

function splitLabels(term: string): string[] {
  const dots = term.indexOf("...");
  if (dots < 0) return [...term];
  return [...term.slice(0, dots), "...", ...term.slice(dots + 3)];
}

/** @throws INVALID_ARGUMENT 書式の誤り。 */
function parseEquation(text: string): Equation {
  const compact = text.replaceAll(" ", "");
  const sides = compact.split("->");
  if (sides.length !== 2) throw invalidArgument(`Expecting exactly one '->' in einsum equation: ${text}`);
  const inputs = sides[0]!.split(",").map(splitLabels);
  if (inputs.length > 2)
    throw invalidArgument(
      `Expecting 1 or 2 input subscripts in equation '${text}' but got: ${inputs.length}`,
    );
  return { inputs, output: splitLabels(sides[1]!) };
}

/** 省略記号を、その入力の余った軸の名前に開く。 */
function expand(labels: readonly string[], rank: number): string[] {
  const dots = labels.indexOf("...");
  if (dots < 0) {
    if (labels.length !== rank) {
      throw invalidArgument(`Expected input to have rank ${labels.length} but got: ${rank}`);
    }
    return [...labels];
  }
  const extra = rank - (labels.length - 1);
  if (extra < 0) {
    throw invalidArgument(`Expected input to have rank at least ${labels.length - 1} but got: ${rank}`);
  }
  const hidden = Array.from({ length: extra }, (_, i) => `…${extra - 1 - i}`);
  return [...labels.slice(0, dots), ...hidden, ...labels.slice(dots + 1)];
}

/** 入力の軸の名前と、出力の軸の名前。 */
interface Resolved {
  readonly labels: readonly (readonly string[])[];
  readonly output: readonly string[];
  /** 名前ごとの大きさ(ブロードキャスト後)。 */
  readonly sizes: ReadonlyMap<string, number>;
}

function resolve(equation: Equation, shapes: readonly Shape[]): Resolved {
  const labels = equation.inputs.map((terms, i) => expand(terms, shapes[i]!.length));
  const sizes = new Map<string, number>();
  for (const [n, names] of labels.entries()) {
    for (const [axis, name] of names.entries()) {
      const dim = shapes[n]![axis]!;
      const known = sizes.get(name);
      if (known === undefined || (known === 1 && name.startsWith("…"))) sizes.set(name, dim);
      else if (known !== dim && !(dim === 1 && name.startsWith("…"))) {
        throw invalidArgument(
          `Expected dimension ${known} at axis ${axis} of the input shaped ${formatShape(shapes[n]!)} but got dimension ${dim}`,
        );
      }
    }
  }
  const hidden = Math.max(0, ...labels.map((names) => names.filter((name) => name.startsWith("…")).length));
  const output = equation.output.flatMap((name) =>
    name === "..." ? Array.from({ length: hidden }, (_, i) => `…${hidden - 1 - i}`) : [name],
  );
  return { labels, output, sizes };
}

/** 同じ名前が 2 度現れる入力は対角を取り、相手にも出力にも無い名前は足し込む。 */
function simplify(x: Tensor, names: readonly string[], keep: ReadonlySet<string>): [Tensor, string[]] {
  const strides = stridesOf(x.shape);
  const unique = [...new Set(names)];
  let out = x;
  if (unique.length !== names.length) {
    const sizes = unique.map((name) => x.shape[names.indexOf(name)]!);
    const diagonal = unique.map((name) =>
      names.reduce((sum, other, i) => (other === name ? sum + strides[i]! : sum), 0),
    );
    out = gatherLattice(x.dtype, sizes, { data: x.data, at: 0, strides: diagonal });
  }
  const kept = unique.filter((name) => keep.has(name));
  if (kept.length === unique.length) return [out, unique];
  const gone = unique.filter((name) => !keep.has(name));
  const ordered = reorder(out, unique, [...kept, ...gone]);
  const count = sizeOf(gone.map((name) => out.shape[unique.indexOf(name)]!));
  const shape = kept.map((name) => out.shape[unique.indexOf(name)]!);
  // 足し込みは、1 の列との積。
  const ones = newData(x.dtype, [count, 1]);
  const lanes = lanesOf(x.dtype);
  for (let i = 0; i < ones.length; i += lanes) ones[i] = isBig(x.dtype) ? 1n : 1;
  const summed = matMul(withShape(ordered, [sizeOf(shape), count]), makeTensor(x.dtype, [count, 1], ones));
  return [withShape(summed, shape), kept];
}

function reorder(x: Tensor, from: readonly string[], to: readonly string[]): Tensor {
  if (from.every((name, i) => name === to[i])) return x;
  return transpose(
    x,
    to.map((name) => from.indexOf(name)),
  );
}

/** 2 入力の軸の役割。 */
interface Roles {
  readonly batch: readonly string[];
  readonly left: readonly string[];
  readonly contract: readonly string[];
  readonly right: readonly string[];
}

function rolesOf(a: readonly string[], b: readonly string[], output: readonly string[]): Roles {
  const inB = new Set(b);
  const inA = new Set(a);
  return {
    batch: output.filter((name) => inA.has(name) && inB.has(name)),
    left: output.filter((name) => inA.has(name) && !inB.has(name)),
    // 右の並びを保てば、右が重みのとき並べ替えずに済む。
    contract: b.filter((name) => inA.has(name) && !output.includes(name)),
    right: output.filter((name) => !inA.has(name) && inB.has(name)),
  };
}

function einsumOnHost(equation: Equation, inputs: readonly Tensor[]): Tensor {
  const { labels, output, sizes } = resolve(
    equation,
    inputs.map((x) => x.shape),
  );
  const outShape = output.map((name) => sizes.get(name)!);
  const keepFor = (other: number) => new Set([...output, ...(labels[other] ?? [])]);
  const [a, aNames] = simplify(inputs[0]!, labels[0]!, keepFor(1));
  if (inputs.length === 1) return reorder(a, aNames, output);
  const [b, bNames] = simplify(inputs[1]!, labels[1]!, keepFor(0));
  const { batch, left, contract, right } = rolesOf(aNames, bNames, output);
  const dims = (names: readonly string[]) => names.map((name) => sizes.get(name)!);
  // 省略記号の軸は片方が 1 のことがある。
  const stretch = (x: Tensor, names: readonly string[]) =>
    x.shape.every((dim, i) => dim === sizes.get(names[i]!)) ? x : broadcastTo(x, dims(names));
  const size = (names: readonly string[]) => sizeOf(dims(names));
  const lhs = withShape(reorder(stretch(a, aNames), aNames, [...batch, ...left, ...contract]), [
    size(batch),
    size(left),
    size(contract),
  ]);
  const rhs = withShape(reorder(stretch(b, bNames), bNames, [...batch, ...contract, ...right]), [
    size(batch),
    size(contract),
    size(right),
  ]);
  const names = [...batch, ...left, ...right];
  const product = withShape(matMul(lhs, rhs), dims(names));
  return withShape(reorder(product, names, output), outShape);
}

function reorderOnDevice(
  device: Device,
  x: DeviceTensor,
  from: readonly string[],
  to: readonly string[],
): DeviceTensor {
  if (from.every((name, i) => name === to[i])) return x;
  return device.call("Transpose", { x }, { perm: to.map((name) => from.indexOf(name)) });
}

/** @returns デバイスで素直に計算できない式なら undefined。 */
function einsumOnDevice(
  { labels, output, sizes }: Resolved,
  device: Device,
  first: DeviceTensor,
  second: DeviceTensor,
): DeviceTensor {
  const dims = (names: readonly string[]) => names.map((name) => sizes.get(name)!);
  const size = (names: readonly string[]) => sizeOf(dims(names));
  // 出力の並びが [バッチ, 右, 左] なら、左右を入れ替えれば最後の並べ替えが要らない。
  const forward = rolesOf(labels[0]!, labels[1]!, output);
  const swapped = [...forward.batch, ...forward.right, ...forward.left].every(
    (name, i) => name === output[i],
  );
  const inOrder = [...forward.batch, ...forward.left, ...forward.right].every(
    (name, i) => name === output[i],
  );
  const swap = swapped && !inOrder;
  const [a, b] = swap ? [second, first] : [first, second];
  const [aNames, bNames] = swap ? [labels[1]!, labels[0]!] : [labels[0]!, labels[1]!];
  const { batch, left, contract, right } = swap ? rolesOf(aNames, bNames, output) : forward;
  const lhs = reorderOnDevice(device, a, aNames, [...batch, ...left, ...contract]);
  const transposed = [...batch, ...right, ...contract];
  const transposeB =
    bNames.every((name, i) => name === transposed[i]) && contract.length > 0 && right.length > 0;
  const rhs = transposeB ? b : reorderOnDevice(device, b, bNames, [...batch, ...contract, ...right]);
  const product = matMulOnDevice(
    device,
    device.reshape(lhs, [size(batch), size(left), size(contract)]),
    device.reshape(
      rhs,
      transposeB ? [size(batch), size(right), size(contract)] : [size(batch), size(contract), size(right)],
    ),
    false,
    transposeB,
  );
  const names = [...batch, ...left, ...right];
  return reorderOnDevice(device, device.reshape(product, dims(names)), names, output);
}

/** 対角も、片側だけで消える軸も、広げる軸も無いか。 */
function isPlain({ labels, output, sizes }: Resolved, shapes: readonly Shape[]): boolean {
  return labels.every((names, n) => {
    const other = labels[1 - n]!;
    return (
      new Set(names).size === names.length &&
      names.every(
        (name, axis) =>
          (output.includes(name) || other.includes(name)) && sizes.get(name) === shapes[n]![axis],
      )
    );
  });
}

const einsum: OpRow = {
  op: "Einsum",
  host: (node: OpNode) => {
    const equation = parseEquation(node.attrs.string("equation"));
    return (inputs) => einsumOnHost(equation, inputs);
  },
  device: {
    work: (inputs) => {
      const elements = inputs.map((x) => sizeOf(x.shape));
      // 片方の要素数 × もう片方の末尾の軸、を積和の数の目安にする。
      return Math.max(...elements) * Math.max(...inputs.map((x) => x.shape.at(-1) ?? 1));
    },
    build: (node) => {
      const equation = parseEquation(node.attrs.string("equation"));
      if (equation.inputs.length !== 2) return undefined;
      return (inputs, device) => {
        const shapes = [inputs.shape(0), inputs.shape(1)];
        const resolved = resolve(equation, shapes);
        if (!isPlain(resolved, shapes) || shapes.some((shape) => sizeOf(shape) === 0)) {
          return einsumOnHost(equation, [inputs.host(0), inputs.host(1)]);
        }
        const out = einsumOnDevice(resolved, device, inputs.device(0), inputs.device(1));
        return device.reshape(out, out.shape);
      };
    },
  },
};

export const einsumOps: readonly OpRow[] = [einsum];
