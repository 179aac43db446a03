import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type SupervisedReport, supervise, type Watch } from "../../../scripts/fuzz/supervise.ts";

const fuzzRoom = resolve(import.meta.dir, "../../../scripts/fuzz");

/** 番号 `bad` で `body` を走らせる子。 */
async function superviseChild(bad: number, body: string, limits: Partial<Watch>): Promise<SupervisedReport> {
  const directory = mkdtempSync(join(tmpdir(), "supervise-"));
  const script = join(directory, "child.ts");
  writeFileSync(
    script,
    `import { writeFileSync } from "node:fs";
     import { formatReport } from ${JSON.stringify(join(fuzzRoom, "supervise.ts"))};
     const [from, to, progress] = process.argv.slice(2);
     let count = 0;
     for (let i = Number(from); i < Number(to); i++) {
       writeFileSync(progress, String(i));
       if (i === ${bad}) { ${body} }
       count++;
     }
     console.log(formatReport({ outcomes: new Map([["t", new Map([["OK", count]])]]), findings: [], slowestMs: 1 }));`,
  );
  try {
    return await supervise(
      { from: 0, to: 5 },
      {
        command: ({ from, to }, progress) => [script, String(from), String(to), progress],
        maxStillMs: 60_000,
        maxRssBytes: 2 ** 33,
        pollMs: 5,
        ...limits,
      },
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const hang = "const lock = new Int32Array(new SharedArrayBuffer(4)); Atomics.wait(lock, 0, 0);";
const table: [string, string, Partial<Watch>, RegExp][] = [
  ["ends", "process.exit(3);", {}, /ended with 3/],
  [
    "is killed",
    'process.kill(process.pid, "SIGKILL"); await new Promise(() => {});',
    {},
    /ended with SIGKILL/,
  ],
  ["stands still", hang, { maxStillMs: 1500 }, /still running/],
  ["grows", hang, { maxRssBytes: 1 }, /memory/],
];

for (const [name, body, limits, problem] of table) {
  test(`子が${name}なら、その番号を知らせ、残りを続ける`, async () => {
    if (name === "grows") {
      // どの番号でも限度を越えるので、1 件も報告できずに終わる番号が必ずある。
      const { findings } = await superviseChild(0, body, limits).catch((error: Error) => ({
        findings: [{ index: -1, problem: error.message }],
      }));
      expect(findings[0]!.problem).toMatch(problem);
      return;
    }
    const { findings, outcomes } = await superviseChild(2, body, limits);
    expect(findings.map(({ index }) => index)).toEqual([2]);
    expect(findings[0]!.problem).toMatch(problem);
    expect(outcomes.get("t")!.get("OK")).toBe(4);
  });
}

test("無事な子の報告は、そのまま足し合わされる", async () => {
  const { findings, outcomes, slowestMs, peakRssBytes } = await superviseChild(-1, "", {});
  expect(findings).toEqual([]);
  expect(outcomes.get("t")!.get("OK")).toBe(5);
  expect(slowestMs).toBe(1);
  expect(peakRssBytes).toBeGreaterThan(2 ** 20);
});

test("始めることもできない子は、はっきり失敗する", async () => {
  const watch: Watch = {
    command: () => ["-e", "process.exit(9)"],
    maxStillMs: 60_000,
    maxRssBytes: 2 ** 33,
    pollMs: 5,
  };
  expect(supervise({ from: 0, to: 1 }, watch)).rejects.toThrow(/failed to start.*9/s);
});
