import { tensor } from "../../tensor/tensor.ts";
import { bytesOf } from "./bytes.ts";
import { decodeText } from "./kernel_util.ts";
import type { OpRow } from "./registry.ts";

/**
 * ファイルの中身を文字列にする。読めるのはモデルの資産だけ。
 *
 * @see tensorflow/core/kernels/reader_ops.cc
 */
export const readFileOps: readonly OpRow[] = [
  {
    op: "ReadFile",
    host:
      ({ session }) =>
      ([name]) =>
        tensor(
          "string",
          name!.shape,
          bytesOf(name!).map((path) => session.readAsset(decodeText(path))),
        ),
  },
];
