// 常駐メモリ。何もしていないときと、たくさんの要求の後。
import { sendMany } from "./load.ts";
import type { Pace } from "./main.ts";
import { spread } from "./numbers.ts";
import type { Row } from "./rounds.ts";
import { checkIris, startIris } from "./subjects.ts";

const IDLE_MB = 100;
const AFTER_MB = 130;

function row(figure: string, megabytes: number, limit: number): Row {
  const value = spread([megabytes]);
  return { figure, unit: "MB", goal: `≤ ${limit}`, ours: value, result: value, met: megabytes <= limit };
}

export async function measureMemory(work: string, { requests }: Pace): Promise<Row[]> {
  const ours = await startIris();
  // 起動のごみが片付くのを待つ。
  await Bun.sleep(3000);
  const idle = ours.server.rss();
  await sendMany(work, ours.rest(1), await ours.grpc(1, false), requests);
  await Bun.sleep(3000);
  const after = ours.server.rss();
  await checkIris(ours);
  await ours.server.stop();
  const total = (2 * requests).toLocaleString("en");
  return [
    row("RSS idle", idle, IDLE_MB),
    row(`RSS after ${total} requests (half on each door)`, after, AFTER_MB),
  ];
}
