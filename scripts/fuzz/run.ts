import { Code, codeName, StatusError } from "../../src/base/status.ts";
import { TextProtoError } from "../../src/base/text_proto.ts";
import { mixSeeds, Random } from "./random.ts";
import type { Target } from "./targets.ts";

/** 1 つの入力にかけてよい CPU の時間。ほかの仕事で混んだ機械でも変わらないように、壁の時計では測らない。 */
const MAX_RUN_MS = 5000;

/** 想定外の終わり方をした 1 回。`--seed` と `--only` で再現できる。 */
export interface Finding {
  readonly target: string;
  readonly index: number;
  readonly problem: string;
}

export interface FuzzReport {
  /** 的 → 結果(`OK` かコードの名前)→ 回数。 */
  readonly outcomes: ReadonlyMap<string, ReadonlyMap<string, number>>;
  readonly findings: readonly Finding[];
  /** 最も長く掛かった入力の CPU の時間。 */
  readonly slowestMs: number;
}

/**
 * 壊したファイルを試す。入力は種と番号だけで決まる。
 *
 * @param indexes 試す番号。番号 i は `targets[i % targets.length]` を使う。
 * @param onStart 1 件を始める前に呼ばれる。
 */
export async function fuzz(
  targets: readonly Target[],
  seed: number,
  indexes: Iterable<number>,
  onStart: (index: number) => void = () => {},
): Promise<FuzzReport> {
  const outcomes = new Map(targets.map(({ name }) => [name, new Map<string, number>()]));
  const findings: Finding[] = [];
  let slowestMs = 0;
  for (const index of indexes) {
    onStart(index);
    const target = targets[index % targets.length]!;
    const startMs = cpuMs();
    const { outcome, problem } = await attempt(target, new Random(mixSeeds(seed, index)));
    const elapsedMs = cpuMs() - startMs;
    slowestMs = Math.max(slowestMs, elapsedMs);
    const counts = outcomes.get(target.name)!;
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    if (problem !== undefined) findings.push({ target: target.name, index, problem });
    if (elapsedMs > MAX_RUN_MS) {
      findings.push({ target: target.name, index, problem: `took ${Math.round(elapsedMs)} ms` });
    }
  }
  return { outcomes, findings, slowestMs };
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

async function attempt(target: Target, random: Random): Promise<{ outcome: string; problem?: string }> {
  try {
    await target.run(random);
    return { outcome: "OK" };
  } catch (error) {
    if (error instanceof TextProtoError) return { outcome: "TextProtoError" };
    if (error instanceof StatusError && !isUnexpected(error)) {
      return { outcome: codeName(error.code) };
    }
    const cause = error instanceof StatusError ? error.cause : undefined;
    return { outcome: "crash", problem: `${error}${cause instanceof Error ? `\n${cause.stack}` : ""}` };
  }
}

/** 悪いファイルのせいでなく、こちらの誤りと思われる失敗か。 */
export function isUnexpected({ code }: StatusError): boolean {
  return code === Code.INTERNAL || code === Code.UNKNOWN;
}
