import { StatusError } from "../base/status.ts";

/** grpc-js が「つながらない」に添える、いつも空の注記。 */
const emptyNote = /\.? ?Resolution note: ?$/;

/** 手元の道具なので、サーバーと違って、思いがけない失敗の文面も隠さない。 */
function textOf(thrown: unknown): string {
  if (thrown instanceof Error && !(thrown instanceof StatusError) && !(thrown instanceof DOMException))
    return thrown.message;
  return StatusError.from(thrown).toString();
}

/**
 * 失敗を標準エラーに 1 行で書く。
 *
 * @returns 終了コード 1。
 */
export function printFailure(thrown: unknown): 1 {
  console.error(textOf(thrown).replace(emptyNote, ""));
  return 1;
}
