import { invalidArgument } from "../../base/status.ts";
import { sizeOf, tensor } from "../../tensor/tensor.ts";
import { bytesOfTensor } from "../../tensor/tensor_bytes.ts";
import { bytesOf } from "./bytes.ts";
import { fingerprint64 } from "./farmhash.ts";
import { decodeText, formatShape } from "./kernel_util.ts";
import type { HostKernel, OpRow } from "./registry.ts";

const BYTES = 8;

function write(out: Uint8Array, at: number, bytes: Uint8Array): void {
  new DataView(out.buffer).setBigUint64(at * BYTES, fingerprint64(bytes), true);
}

/** 先頭の軸の 1 つずつの指紋。文字列が並ぶなら、それぞれの指紋を並べたものの指紋。 */
const fingerprint: HostKernel = ([data, method]) => {
  const name = decodeText(bytesOf(method!)[0]!);
  if (name !== "farmhash64") throw invalidArgument(`Unsupported fingerprint method: ${name}`);
  if (data!.shape.length < 1) {
    throw invalidArgument(`data must be at least 1-dimensional, got shape ${formatShape(data!.shape)}`);
  }
  const rows = data!.shape[0]!;
  const out = new Uint8Array(rows * BYTES);
  const width = sizeOf(data!.shape.slice(1));
  if (data!.dtype !== "string") {
    const all = bytesOfTensor(data!);
    const step = rows === 0 ? 0 : all.length / rows;
    for (let i = 0; i < rows; i++) write(out, i, all.subarray(i * step, (i + 1) * step));
  } else {
    const texts = bytesOf(data!);
    for (let i = 0; i < rows; i++) {
      if (width === 1) {
        write(out, i, texts[i]!);
        continue;
      }
      const inner = new Uint8Array(width * BYTES);
      for (let j = 0; j < width; j++) write(inner, j, texts[i * width + j]!);
      write(out, i, inner);
    }
  }
  return tensor("uint8", [rows, BYTES], out);
};

export const fingerprintOps: readonly OpRow[] = [{ op: "Fingerprint", host: () => fingerprint }];
