import { invalidArgument, unimplemented } from "../../base/status.ts";
import { lanesOf } from "../../tensor/dtype.ts";
import { tensor } from "../../tensor/tensor.ts";
import { formatShape, makeTensor, newData, toNumbers } from "./kernel_util.ts";
import type { HostKernel, OpNode, OpRow } from "./registry.ts";
import { readPadding, spatialAttr, windowAxis } from "./window.ts";

/** 3 次元の窓ごとの画素を奥行きに並べる。 */
const volumePatches = (node: OpNode): HostKernel => {
  const sizes = spatialAttr(node, "ksizes", 3);
  const strides = spatialAttr(node, "strides", 3);
  const padding = readPadding(node, 3);
  if (typeof padding !== "string") {
    throw unimplemented("ExtractVolumePatches supports only SAME and VALID padding");
  }
  return ([input]) => {
    if (input!.shape.length !== 5) {
      throw invalidArgument(`input must be 5-dimensional${formatShape(input!.shape)}`);
    }
    const [batch, ...rest] = input!.shape as [number, number, number, number, number];
    const channels = rest[3]!;
    const depth = channels * lanesOf(input!.dtype);
    const [p, r, c] = [0, 1, 2].map((i) => windowAxis(rest[i]!, sizes[i]!, strides[i]!, 1, padding));
    const window = sizes[0]! * sizes[1]! * sizes[2]!;
    const shape = [batch, p!.output, r!.output, c!.output, window * channels];
    const data = newData(input!.dtype, shape) as Float64Array;
    const from = input!.data as Float64Array;
    let to = 0;
    for (let b = 0; b < batch; b++) {
      for (let op = 0; op < p!.output; op++) {
        for (let or = 0; or < r!.output; or++) {
          for (let oc = 0; oc < c!.output; oc++) {
            for (let k = 0; k < window; k++, to += depth) {
              const z = op * p!.stride - p!.before + Math.floor(k / (sizes[1]! * sizes[2]!));
              const y = or * r!.stride - r!.before + (Math.floor(k / sizes[2]!) % sizes[1]!);
              const x = oc * c!.stride - c!.before + (k % sizes[2]!);
              if (z < 0 || z >= p!.input || y < 0 || y >= r!.input || x < 0 || x >= c!.input) continue;
              const at = (((b * p!.input + z) * r!.input + y) * c!.input + x) * depth;
              for (let d = 0; d < depth; d++) data[to + d] = from[at + d]!;
            }
          }
        }
      }
    }
    return makeTensor(input!.dtype, shape, data as never);
  };
};

/**
 * 画像の一部を切り出す。はみ出した所は 0(乱数で埋める指定は断る)。
 *
 * @param isSecond V2 では、中心からの正規化された座標でなければ、座標は切り出す範囲の左上を指す。
 * @see tensorflow/core/kernels/image/attention_ops.cc
 */
const glimpse =
  (isSecond: boolean) =>
  (node: OpNode): HostKernel => {
    const centered = node.attrs.bool("centered");
    const normalized = node.attrs.bool("normalized");
    const noise = node.attrs.string("noise");
    if (noise !== "zero") {
      throw unimplemented(`Filling what is outside of the image with ${noise} noise is not supported`);
    }
    return ([input, size, offsets]) => {
      if (input!.shape.length !== 4) {
        throw invalidArgument(
          `input must be 4-dimensional (batch_size, height, width, depth)${formatShape(input!.shape)}`,
        );
      }
      const [batch, height, width, depth] = input!.shape as [number, number, number, number];
      const [outHeight, outWidth] = toNumbers(size!) as [number, number];
      if (offsets!.shape.length !== 2 || offsets!.shape[0] !== batch || offsets!.shape[1] !== 2) {
        throw invalidArgument(`offsets should have shape [${batch}, 2], got ${formatShape(offsets!.shape)}`);
      }
      const start = (given: number, extent: number, length: number): number => {
        const at = normalized ? given * extent : given;
        if (isSecond && !(centered && normalized)) return Math.trunc(centered ? at + extent / 2 : at);
        return Math.trunc((centered ? at / 2 + extent / 2 : at) - length / 2);
      };
      const at = toNumbers(offsets!);
      const out = newData("float", [batch, outHeight, outWidth, depth]);
      const from = input!.data as Float32Array;
      let to = 0;
      for (let b = 0; b < batch; b++) {
        const top = start(at[b * 2]!, height, outHeight);
        const left = start(at[b * 2 + 1]!, width, outWidth);
        for (let y = top; y < top + outHeight; y++) {
          for (let x = left; x < left + outWidth; x++, to += depth) {
            if (y < 0 || y >= height || x < 0 || x >= width) continue;
            const cell = ((b * height + y) * width + x) * depth;
            for (let d = 0; d < depth; d++) out[to + d] = from[cell + d]!;
          }
        }
      }
      return tensor("float", [batch, outHeight, outWidth, depth], out);
    };
  };

export const patchesOps: readonly OpRow[] = [
  { op: "ExtractVolumePatches", host: volumePatches },
  { op: "ExtractGlimpse", host: glimpse(false) },
  { op: "ExtractGlimpseV2", host: glimpse(true) },
];
