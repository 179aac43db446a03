import { invalidArgument } from "../../base/status.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { numbersOf } from "./elementwise.ts";
import { formatShape, makeTensor, roundTo } from "./kernel_util.ts";
import type { HostKernel, OpRow } from "./registry.ts";

/** 黄、青、赤、黄緑、紫、オリーブ、栗、紺、水、赤紫。 */
const palette = [
  [1, 1, 0, 1],
  [0, 0, 1, 1],
  [1, 0, 0, 1],
  [0, 1, 0, 1],
  [0.5, 0, 0.5, 1],
  [0.5, 0.5, 0, 1],
  [0.5, 0, 0, 1],
  [0, 0, 0.5, 1],
  [0, 1, 1, 1],
  [1, 0, 1, 1],
];

function colorsOf(given: Tensor | undefined, depth: number): number[][] {
  let colors = palette.map((color) => [...color]);
  if (given !== undefined && given.data.length > 0) {
    const [count, width] = given.shape as [number, number];
    const from = numbersOf(given);
    colors = Array.from({ length: count }, (_, i) =>
      Array.from({ length: 4 }, (__, c) => (c < width ? from[i * width + c]! : 0)),
    );
  }
  // 白黒の画像では、どの色も白。
  if (depth === 1) for (const color of colors) color[0] = 1;
  return colors;
}

/** 画像に枠を描く。座標は [0, 1] の [上, 左, 下, 右]。 */
const drawBoxes: HostKernel = ([images, boxes, givenColors]) => {
  if (images!.shape.length !== 4) throw invalidArgument("The rank of the images should be 4");
  if (boxes!.shape.length !== 3) throw invalidArgument("The rank of the boxes tensor should be 3");
  if (images!.shape[0] !== boxes!.shape[0]) throw invalidArgument("The batch sizes should be the same");
  const [batch, height, width, depth] = images!.shape as [number, number, number, number];
  if (depth !== 1 && depth !== 3 && depth !== 4) {
    throw invalidArgument("Channel depth should be either 1 (GRY), 3 (RGB), or 4 (RGBA)");
  }
  if (boxes!.shape[2] !== 4) {
    throw invalidArgument(`boxes must have 4 columns, got shape ${formatShape(boxes!.shape)}`);
  }
  const colors = colorsOf(givenColors, depth);
  const out = (images!.data as Float32Array).slice();
  const corners = numbersOf(boxes!);
  const count = boxes!.shape[1]!;
  for (let b = 0; b < batch; b++) {
    for (let k = 0; k < count; k++) {
      const at = (b * count + k) * 4;
      const side = (i: number, last: number) => Math.trunc(Math.fround(corners[at + i]! * last));
      const [top, left] = [side(0, height - 1), side(1, width - 1)];
      const [bottom, right] = [side(2, height - 1), side(3, width - 1)];
      if (top > bottom || left > right) continue;
      if (top >= height || bottom < 0 || left >= width || right < 0) continue;
      const color = colors[k % colors.length]!;
      const paint = (y: number, x: number) => {
        const to = ((b * height + y) * width + x) * depth;
        for (let c = 0; c < depth; c++) out[to + c] = color[c]!;
      };
      const [fromX, toX] = [Math.max(left, 0), Math.min(right, width - 1)];
      const [fromY, toY] = [Math.max(top, 0), Math.min(bottom, height - 1)];
      for (let x = fromX; x <= toX; x++) {
        if (top >= 0) paint(top, x);
        if (bottom < height) paint(bottom, x);
      }
      for (let y = fromY; y <= toY; y++) {
        if (left >= 0) paint(y, left);
        if (right < width) paint(y, right);
      }
    }
  }
  roundTo(images!.dtype, out);
  return makeTensor(images!.dtype, images!.shape, out);
};

export const drawBoxesOps: readonly OpRow[] = [
  { op: "DrawBoundingBoxes", host: () => drawBoxes },
  { op: "DrawBoundingBoxesV2", host: () => drawBoxes },
];
