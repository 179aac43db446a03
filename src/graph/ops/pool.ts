import { invalidArgument, unimplemented } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import { type Shape, sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { isBig, isFloating, numbersOf } from "./elementwise.ts";
import { formatShape, makeTensor, newData, roundTo, toNumbers } from "./kernel_util.ts";
import { requireChannelsLast } from "./layout.ts";
import { lowest } from "./limits.ts";
import type { DeviceRow, HostKernel, OpNode, OpRow } from "./registry.ts";
import { type Padding, paddingOf, readPadding, spatialAttr, type WindowAxis, windowAxis } from "./window.ts";

/** 窓の集約。チャンネルは末尾だけ。2 次元は奥行き 1 の 3 次元として計算する。 */
interface PoolAttrs {
  readonly rank: 2 | 3;
  readonly size: readonly number[];
  readonly strides: readonly number[];
  readonly padding: Padding;
}

function readAttrs(node: OpNode, rank: 2 | 3): PoolAttrs {
  requireChannelsLast(node, rank === 2 ? "NHWC" : "NDHWC");
  return {
    rank,
    size: spatialAttr(node, "ksize", rank),
    strides: spatialAttr(node, "strides", rank),
    padding: readPadding(node, rank),
  };
}

function axesOf(x: Shape, { rank, size, strides, padding }: PoolAttrs): [WindowAxis, WindowAxis, WindowAxis] {
  if (x.length !== rank + 2) {
    throw invalidArgument(`tensor_in must be ${rank + 2}-dimensional: ${formatShape(x)}`);
  }
  const axes = Array.from({ length: rank }, (_, i) =>
    windowAxis(x[i + 1]!, size[i]!, strides[i]!, 1, paddingOf(padding, i)),
  );
  if (rank === 2) axes.unshift(windowAxis(1, 1, 1, 1, "VALID"));
  return axes as [WindowAxis, WindowAxis, WindowAxis];
}

/** 窓が入力と重なる範囲 [from, to)。 */
function overlap(axis: WindowAxis, out: number): [number, number] {
  const start = out * axis.stride - axis.before;
  return [Math.max(start, 0), Math.min(start + axis.filter, axis.input)];
}

/** 1 つの窓: 出力の列の先頭、その窓に入る入力の列の番号。 */
type WindowVisitor = (outAt: number, batch: number, cells: readonly number[]) => void;

function eachWindow(batch: number, [d, h, w]: readonly WindowAxis[], visit: WindowVisitor): void {
  let outAt = 0;
  for (let n = 0; n < batch; n++) {
    for (let od = 0; od < d!.output; od++) {
      const [z0, z1] = overlap(d!, od);
      for (let oh = 0; oh < h!.output; oh++) {
        const [y0, y1] = overlap(h!, oh);
        for (let ow = 0; ow < w!.output; ow++) {
          const [x0, x1] = overlap(w!, ow);
          const cells: number[] = [];
          for (let z = z0; z < z1; z++) {
            for (let y = y0; y < y1; y++) {
              for (let x = x0; x < x1; x++) {
                cells.push(((n * d!.input + z) * h!.input + y) * w!.input + x);
              }
            }
          }
          visit(outAt++, n, cells);
        }
      }
    }
  }
}

type Kind = "max" | "avg";

function pool(x: Tensor, attrs: PoolAttrs, kind: Kind): Tensor {
  const axes = axesOf(x.shape, attrs);
  const channels = x.shape.at(-1)!;
  const shape = [x.shape[0]!, ...axes.slice(3 - attrs.rank).map((axis) => axis.output), channels];
  const data = newData(x.dtype, shape);
  if (kind === "avg") average(numbersOf(x), data as Float64Array, channels, x.shape[0]!, axes);
  else largest(x.data as Float64Array, data as Float64Array, channels, x.shape[0]!, axes, lowest(x.dtype));
  roundTo(x.dtype, data);
  return makeTensor(x.dtype, shape, data);
}

function average(
  from: ArrayLike<number>,
  out: Float64Array,
  channels: number,
  batch: number,
  axes: readonly WindowAxis[],
): void {
  eachWindow(batch, axes, (outAt, _, cells) => {
    for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (const cell of cells) sum += from[cell * channels + c]!;
      // 余白は数に入れない。
      out[outAt * channels + c] = sum / cells.length;
    }
  });
}

/** 64 bit 整数でも同じ比べ方で済む(要素の型は `from` と `start` で同じ)。TF と同じく NaN は選ばれない。 */
function largest(
  from: ArrayLike<number>,
  out: Float64Array,
  channels: number,
  batch: number,
  axes: readonly WindowAxis[],
  start: number | bigint,
): void {
  eachWindow(batch, axes, (outAt, _, cells) => {
    for (let c = 0; c < channels; c++) {
      let value = start as number;
      for (const cell of cells) {
        const item = from[cell * channels + c]!;
        if (item > value) value = item;
      }
      out[outAt * channels + c] = value;
    }
  });
}

/** 窓の最大と、その位置(画像 1 枚の中、または全体の中での平らな番号)。 */
function maxPoolWithArgmax(node: OpNode): HostKernel {
  const attrs: PoolAttrs = {
    rank: 2,
    size: spatialAttr(node, "ksize", 2),
    strides: spatialAttr(node, "strides", 2),
    padding: readPadding(node, 2),
  };
  const wholeBatch = node.attrs.bool("include_batch_in_index");
  const indexType: DType = node.attrs.dtype("Targmax") ?? "int64";
  return ([x]) => {
    const axes = axesOf(x!.shape, attrs);
    const channels = x!.shape[3]!;
    const shape = [x!.shape[0]!, axes[1].output, axes[2].output, channels];
    const values = newData(x!.dtype, shape);
    const positions = newData(indexType, shape);
    const from = x!.data as ArrayLike<number>;
    const perImage = sizeOf(x!.shape.slice(1));
    eachWindow(x!.shape[0]!, axes, (outAt, batch, cells) => {
      for (let c = 0; c < channels; c++) {
        let best = cells[0]! * channels + c;
        for (const cell of cells) if (from[cell * channels + c]! > from[best]!) best = cell * channels + c;
        (values as Float64Array)[outAt * channels + c] = from[best]!;
        const at = wholeBatch ? best : best - batch * perImage;
        if (isBig(indexType)) (positions as BigInt64Array)[outAt * channels + c] = BigInt(at);
        else (positions as Int32Array)[outAt * channels + c] = at;
      }
    });
    return [makeTensor(x!.dtype, shape, values), makeTensor(indexType, shape, positions)];
  };
}

function poolDevice(kernel: string, rank: 2 | 3, kind: Kind): DeviceRow {
  return {
    build: (node) => {
      const attrs = readAttrs(node, rank);
      // 1×1 の窓は XNNPACK が受け付けない。明示の余白は tfjs の平均が別の数え方をする。
      const { padding } = attrs;
      if (sizeOf(attrs.size) === 1 || typeof padding !== "string") return undefined;
      const given = {
        filterSize: attrs.size,
        strides: attrs.strides,
        pad: padding.toLowerCase(),
        dataFormat: rank === 2 ? "NHWC" : "NDHWC",
      };
      return (inputs, device) => {
        const x = inputs.shape(0);
        const axes = axesOf(x, attrs);
        if (sizeOf(x) === 0 || axes.some((axis) => axis.output === 0))
          return pool(inputs.host(0), attrs, kind);
        return device.call(kernel, { x: inputs.device(0) }, given);
      };
    },
  };
}

function poolRow(op: string, rank: 2 | 3, kind: Kind): OpRow {
  return {
    op,
    host: (node) => {
      const attrs = readAttrs(node, rank);
      return ([x]) => {
        if (kind === "avg" && !isFloating(x!.dtype)) {
          throw unimplemented(`${op} does not support elements of type ${x!.dtype}`);
        }
        return pool(x!, attrs, kind);
      };
    },
    // tfjs の 3 次元の最大は、負の値だけの窓で誤る(初期値が最小の正の数)。
    device: op === "MaxPool3D" ? undefined : poolDevice(op, rank, kind),
  };
}

/** 窓の大きさを入力で受ける MaxPool。 */
const maxPoolV2: OpRow = {
  op: "MaxPoolV2",
  host: (node) => {
    requireChannelsLast(node);
    const padding = readPadding(node, 2);
    return ([x, size, strides]) => {
      const [k, s] = [toNumbers(size!), toNumbers(strides!)];
      return pool(x!, { rank: 2, size: k.slice(1, 3), strides: s.slice(1, 3), padding }, "max");
    };
  },
};

export const poolOps: readonly OpRow[] = [
  poolRow("MaxPool", 2, "max"),
  poolRow("AvgPool", 2, "avg"),
  poolRow("MaxPool3D", 3, "max"),
  poolRow("AvgPool3D", 3, "avg"),
  maxPoolV2,
  { op: "MaxPoolWithArgmax", host: maxPoolWithArgmax },
];
