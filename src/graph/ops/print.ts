import { tensor } from "../../tensor/tensor.ts";
import { bytesOf } from "./bytes.ts";
import { summarize } from "./control.ts";
import { decodeText } from "./kernel_util.ts";
import type { OpNode, OpRow, RawKernel } from "./registry.ts";

/** 記録に残す文字の数の上限。 */
const MAX_TEXT = 4096;

/** 文字列をそのまま書き出す。 */
const printV2 = (node: OpNode): RawKernel => {
  const { session } = node;
  return ([input], run) => {
    session.print(decodeText(bytesOf(input!.tensor(run.device))[0]!).slice(0, MAX_TEXT));
    return [];
  };
};

/** 添えられた値を並べて書き出し、最初の入力を通す。`first_n` 回を過ぎたら黙る。 */
const print = (node: OpNode): RawKernel => {
  const { session, attrs } = node;
  const message = attrs.string("message");
  const firstN = attrs.int("first_n");
  const count = attrs.int("summarize");
  let calls = 0;
  return ([input, ...values], run) => {
    if (firstN < 0 || calls < firstN) {
      calls++;
      const parts = values.map((value) => `[${summarize(value.tensor(run.device), count)}]`);
      session.print((message + parts.join("")).slice(0, MAX_TEXT));
    }
    return input!;
  };
};

/** 書き出しと、いまの時刻。どちらも呼ぶたびに走る。 */
export const printOps: readonly OpRow[] = [
  { op: "PrintV2", stateful: true, raw: printV2 },
  { op: "Print", stateful: true, raw: print },
  {
    op: "Timestamp",
    stateful: true,
    host: () => () => tensor("double", [], Float64Array.of(Date.now() / 1000)),
  },
];
