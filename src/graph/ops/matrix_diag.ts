import { invalidArgument } from "../../base/status.ts";
import { lanesOf } from "../../tensor/dtype.ts";
import { sizeOf, type Tensor } from "../../tensor/tensor.ts";
import { formatShape, makeTensor, newData, toNumber, toNumbers } from "./kernel_util.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";
import { fillData } from "./strided_copy.ts";

/** 型を消した配列(要素の移動だけをする)。 */
type Items = { [index: number]: unknown };

/** 対角の詰め方。`left` は先頭に寄せる。 */
interface Align {
  readonly superLeft: boolean;
  readonly subLeft: boolean;
}

const leftLeft: Align = { superLeft: true, subLeft: true };

function readAlign(node: OpNode): Align {
  const align = node.attrs.string("align");
  return { superLeft: align.startsWith("LEFT"), subLeft: align.endsWith("LEFT") };
}

/** 対角の範囲 [low, high]。 */
function readBand(k: Tensor): [number, number] {
  const values = toNumbers(k);
  const low = values[0]!;
  const high = values[1] ?? low;
  if (low > high) {
    throw invalidArgument(`lower_diag_index must not be larger than upper_diag_index: ${low} > ${high}`);
  }
  return [low, high];
}

/** 対角 `d` の長さと、幅 `width` の行の中での開始位置。 */
function diagonalSpan(
  d: number,
  rows: number,
  columns: number,
  width: number,
  align: Align,
): [number, number] {
  const length = Math.min(rows + Math.min(d, 0), columns - Math.max(d, 0));
  const left = (d >= 0 && align.superLeft) || (d <= 0 && align.subLeft);
  return [length, left ? 0 : width - length];
}

function checkBand(low: number, high: number, rows: number, columns: number): void {
  const outside = (d: number) => d !== 0 && !(d > -rows && d < columns);
  if (outside(low) || outside(high)) {
    const name = outside(low) ? "lower_diag_index" : "upper_diag_index";
    throw invalidArgument(
      `${name} is out of bound: ${outside(low) ? low : high}. It must be between ${-rows} and ${columns}`,
    );
  }
}

function bandWidth(low: number, high: number, rows: number, columns: number): number {
  return Math.min(rows + Math.min(high, 0), columns - Math.max(low, 0));
}

/** 行列から対角(の束)を取り出す。 */
function diagPart(x: Tensor, low: number, high: number, padding: Tensor | undefined, align: Align): Tensor {
  if (x.shape.length < 2) {
    throw invalidArgument(`input must be at least 2-dim, received shape: ${formatShape(x.shape)}`);
  }
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  checkBand(low, high, rows, columns);
  const batch = x.shape.slice(0, -2);
  const width = bandWidth(low, high, rows, columns);
  const count = high - low + 1;
  const shape = count === 1 ? [...batch, width] : [...batch, count, width];
  const lanes = lanesOf(x.dtype);
  const data = newData(x.dtype, shape);
  if (padding !== undefined) fillData(data, padding);
  const out = data as Items;
  const from = x.data as Items;
  for (let b = 0; b < sizeOf(batch); b++) {
    for (let d = high; d >= low; d--) {
      const [length, offset] = diagonalSpan(d, rows, columns, width, align);
      const to = (b * count + (high - d)) * width + offset;
      for (let i = 0; i < length; i++) {
        const at = (b * rows + i + Math.max(-d, 0)) * columns + i + Math.max(d, 0);
        for (let lane = 0; lane < lanes; lane++) out[(to + i) * lanes + lane] = from[at * lanes + lane];
      }
    }
  }
  return makeTensor(x.dtype, shape, data);
}

/** 対角(の束)を、行列 `data` に書き込む。 */
function writeDiagonals(
  diagonal: Tensor,
  data: Tensor["data"],
  batches: number,
  rows: number,
  columns: number,
  low: number,
  high: number,
  align: Align,
): void {
  const width = diagonal.shape.at(-1)!;
  const count = high - low + 1;
  const lanes = lanesOf(diagonal.dtype);
  const out = data as Items;
  const from = diagonal.data as Items;
  for (let b = 0; b < batches; b++) {
    for (let d = high; d >= low; d--) {
      const [length, offset] = diagonalSpan(d, rows, columns, width, align);
      const at = (b * count + (high - d)) * width + offset;
      for (let i = 0; i < length; i++) {
        const to = (b * rows + i + Math.max(-d, 0)) * columns + i + Math.max(d, 0);
        for (let lane = 0; lane < lanes; lane++) out[to * lanes + lane] = from[(at + i) * lanes + lane];
      }
    }
  }
}

function matrixDiag(
  diagonal: Tensor,
  low: number,
  high: number,
  givenRows: number,
  givenColumns: number,
  padding: Tensor | undefined,
  align: Align,
): Tensor {
  const count = high - low + 1;
  const width = diagonal.shape.at(-1);
  if (width === undefined) {
    throw invalidArgument(`diagonal must be at least 1-dim, received shape: ${formatShape(diagonal.shape)}`);
  }
  if (count > 1 && diagonal.shape.at(-2) !== count) {
    throw invalidArgument(
      "The number of diagonals provided in the input does not match the lower_diag_index and upper_diag_index range.",
    );
  }
  const minRows = width - Math.min(high, 0);
  const minColumns = width + Math.max(low, 0);
  let [rows, columns] = [givenRows, givenColumns];
  if (rows === -1 && columns === -1) {
    rows = Math.max(minRows, minColumns);
    columns = rows;
  } else if (rows === -1) rows = minRows;
  else if (columns === -1) columns = minColumns;
  if (rows < minRows) throw invalidArgument("The number of rows is too small.");
  if (columns < minColumns) throw invalidArgument("The number of columns is too small.");
  const batch = diagonal.shape.slice(0, count > 1 ? -2 : -1);
  const shape = [...batch, rows, columns];
  const data = newData(diagonal.dtype, shape);
  if (padding !== undefined) fillData(data, padding);
  writeDiagonals(diagonal, data, sizeOf(batch), rows, columns, low, high, align);
  return makeTensor(diagonal.dtype, shape, data);
}

function setDiag(x: Tensor, diagonal: Tensor, low: number, high: number, align: Align): Tensor {
  if (x.shape.length < 2) {
    throw invalidArgument(`input must be at least 2-dim, received shape: ${formatShape(x.shape)}`);
  }
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  checkBand(low, high, rows, columns);
  const batch = x.shape.slice(0, -2);
  const width = bandWidth(low, high, rows, columns);
  const expected = high === low ? [...batch, width] : [...batch, high - low + 1, width];
  if (formatShape(expected) !== formatShape(diagonal.shape)) {
    throw invalidArgument(
      `Either first dimensions of diagonal don't match input.shape[:-2], or diagonal.shape[:-1] is not equal to the longests diagonal in range [lower_diag_index:upper_diag_index].\nInput shape: ${formatShape(x.shape)}\nDiagonal shape: ${formatShape(diagonal.shape)}\nExpected diagonal shape: ${formatShape(expected)}`,
    );
  }
  const data = (x.data as Float64Array).slice() as Tensor["data"];
  writeDiagonals(diagonal, data, sizeOf(batch), rows, columns, low, high, align);
  return makeTensor(x.dtype, x.shape, data);
}

/** 帯の外を 0 にする。負の幅は「すべて残す」。 */
const bandPart: HostKernel = ([x, lowTensor, highTensor]) => {
  const low = toNumber(lowTensor!);
  const high = toNumber(highTensor!);
  const [rows, columns] = x!.shape.slice(-2) as [number, number];
  if (x!.shape.length < 2) {
    throw invalidArgument(`input must be at least 2-dim, received shape: ${formatShape(x!.shape)}`);
  }
  const lanes = lanesOf(x!.dtype);
  const data = newData(x!.dtype, x!.shape);
  const out = data as Items;
  const from = x!.data as Items;
  const batches = sizeOf(x!.shape.slice(0, -2));
  for (let b = 0; b < batches; b++) {
    for (let i = 0; i < rows; i++) {
      const start = low < 0 ? 0 : Math.max(0, i - low);
      const end = high < 0 ? columns : Math.min(columns, i + high + 1);
      for (let j = start * lanes; j < end * lanes; j++) {
        const at = (b * rows + i) * columns * lanes + j;
        out[at] = from[at];
      }
    }
  }
  return makeTensor(x!.dtype, x!.shape, data);
};

/** 任意の階数の対角。形状 [...s] → [...s, ...s]。 */
const diag: HostKernel = ([x]) => {
  const size = sizeOf(x!.shape);
  const square = matrixDiag(makeTensor(x!.dtype, [size], x!.data), 0, 0, -1, -1, undefined, leftLeft);
  return makeTensor(x!.dtype, [...x!.shape, ...x!.shape], square.data);
};

const diagPartAll: HostKernel = ([x]) => {
  const half = x!.shape.length / 2;
  const shape = x!.shape.slice(0, half);
  if (formatShape(shape) !== formatShape(x!.shape.slice(half))) {
    throw invalidArgument(`Invalid shape ${formatShape(x!.shape)}: dimensions must be repeated`);
  }
  const size = sizeOf(shape);
  return makeTensor(
    x!.dtype,
    shape,
    diagPart(makeTensor(x!.dtype, [size, size], x!.data), 0, 0, undefined, leftLeft).data,
  );
};

const alignOf = (op: string, node: OpNode): Align => (op.endsWith("V3") ? readAlign(node) : leftLeft);

const diagRow = (op: string): OpRow => ({
  op,
  host: (node) => {
    const align = alignOf(op, node);
    return ([diagonal, k, rows, columns, padding]) => {
      const [low, high] = readBand(k!);
      return matrixDiag(diagonal!, low, high, toNumber(rows!), toNumber(columns!), padding!, align);
    };
  },
});

const diagPartRow = (op: string): OpRow => ({
  op,
  host: (node) => {
    const align = alignOf(op, node);
    return ([x, k, padding]) => {
      const [low, high] = readBand(k!);
      return diagPart(x!, low, high, padding!, align);
    };
  },
});

const setDiagRow = (op: string): OpRow => ({
  op,
  host: (node) => {
    const align = alignOf(op, node);
    return ([x, diagonal, k]) => {
      const [low, high] = readBand(k!);
      return setDiag(x!, diagonal!, low, high, align);
    };
  },
});

export const matrixDiagOps: readonly OpRow[] = [
  {
    op: "MatrixDiag",
    host:
      () =>
      ([x]) =>
        matrixDiag(x!, 0, 0, -1, -1, undefined, leftLeft),
  },
  {
    op: "MatrixDiagPart",
    host:
      () =>
      ([x]) =>
        diagPart(x!, 0, 0, undefined, leftLeft),
  },
  {
    op: "MatrixSetDiag",
    host:
      () =>
      ([x, diagonal]) =>
        setDiag(x!, diagonal!, 0, 0, leftLeft),
  },
  diagRow("MatrixDiagV2"),
  diagRow("MatrixDiagV3"),
  diagPartRow("MatrixDiagPartV2"),
  diagPartRow("MatrixDiagPartV3"),
  setDiagRow("MatrixSetDiagV2"),
  setDiagRow("MatrixSetDiagV3"),
  { op: "MatrixBandPart", host: () => bandPart },
  { op: "Diag", host: () => diag },
  { op: "DiagPart", host: () => diagPartAll },
];
