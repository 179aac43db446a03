import { invalidArgument } from "../../base/status.ts";
import type { Pixels } from "./pixels.ts";

/**
 * BMP を読む。TF と同じく、8 bpp は色の表を見ずに灰色として扱い、圧縮された形式は大きさの検査で断る。
 *
 * @param channels 0 は元のまま。
 * @throws INVALID_ARGUMENT 読めないデータ(文面は TF のもの)。
 */
export function decodeBmp(bytes: Uint8Array, channels: 0 | 3 | 4): Pixels {
  if (bytes.length < 32) {
    throw invalidArgument(
      `Incomplete bmp content, requires at least 32 bytes to find the header size, width, height, and bpp, got ${bytes.length} bytes`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = view.getInt32(10, true);
  const width = view.getInt32(18, true);
  const signedHeight = view.getInt32(22, true);
  const own = Math.trunc(view.getInt16(28, true) / 8);
  if (own !== 1 && own !== 3 && own !== 4) {
    throw invalidArgument(`Number of channels inherent in the image must be 1, 3 or 4, was ${own}`);
  }
  if (width <= 0) throw invalidArgument("Width must be positive");
  if (signedHeight === 0) throw invalidArgument("Height must be nonzero");
  if (start < 0) throw invalidArgument("header size must be nonnegative");
  const height = Math.abs(signedHeight);
  if (width * height >= Math.trunc((2 ** 31 - 1) / 8)) {
    throw invalidArgument("Total possible pixel bytes must be less than 2^30");
  }
  const stride = Math.floor((own * width + 3) / 4) * 4;
  const difference = bytes.length - start - stride * height;
  if (difference !== 0) {
    throw invalidArgument(
      `Input size should match (header_size + row_size * abs_height) but they differ by ${difference}`,
    );
  }
  const target = channels || own;
  const out = new Uint8Array(width * height * target);
  let to = 0;
  for (let y = 0; y < height; y++) {
    // 高さが負なら上から下、正なら下から上。
    const row = start + (signedHeight < 0 ? y : height - 1 - y) * stride;
    for (let x = 0; x < width; x++) {
      const from = row + x * own;
      for (let c = 0; c < target; c++) {
        if (c === 3) out[to++] = own === 4 ? bytes[from + 3]! : 255;
        else out[to++] = bytes[from + (own === 1 ? 0 : 2 - c)]!;
      }
    }
  }
  return { shape: [height, width, target], data: out };
}
