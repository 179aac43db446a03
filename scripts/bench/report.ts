// 結果を、端末の表、docs/benchmarks の Markdown と JSON と図にする。
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describeMachine } from "./machine.ts";
import type { Spread } from "./numbers.ts";
import type { Row } from "./rounds.ts";

const START = "<!-- table -->";
const END = "<!-- /table -->";

function format(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString("en");
  return value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2);
}

function formatSpread(spread: Spread | undefined, unit = ""): string {
  if (spread === undefined) return "—";
  const { median, min, max } = spread;
  return `${format(median)}${min === max ? "" : ` (${format(min)}–${format(max)})`} ${unit}`.trim();
}

function table(rows: readonly Row[]): string {
  const lines = rows.map(({ figure, unit, ours, theirs, result, goal, met, note }) =>
    [
      "",
      note === undefined ? figure : `${figure} (${note})`,
      formatSpread(ours, unit),
      formatSpread(theirs, unit),
      theirs === undefined ? "—" : formatSpread(result),
      goal,
      met ? "yes" : "**no**",
      "",
    ]
      .join(" | ")
      .trim(),
  );
  return [
    "| figure | iris-serving | compared with | ratio | goal | met |",
    "|---|---|---|---|---|---|",
    ...lines,
  ].join("\n");
}

/** 比の図。1 本が 1 行で、縦の線が「同じ」。明るい頁でも暗い頁でも読める色だけを使う。 */
function chart(rows: readonly Row[]): string {
  const shown = rows.flatMap((row) =>
    row.theirs === undefined || row.result === undefined ? [] : [{ ...row, result: row.result }],
  );
  const [left, width, step] = [430, 300, 26];
  const most = 4;
  const x = (ratio: number): number => left + (Math.min(ratio, most) / most) * width;
  const escapeText = (text: string): string => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");
  const bars = shown.map(({ figure, result, met }, i) => {
    const y = 34 + i * step;
    const color = met ? "#2f9e44" : "#e8590c";
    return [
      `<text x="${left - 8}" y="${y + 12}" text-anchor="end">${escapeText(figure)}</text>`,
      `<rect x="${left}" y="${y}" width="${(x(result.median) - left).toFixed(1)}" height="16" fill="${color}"/>`,
      `<text x="${x(result.median) + 6}" y="${y + 12}">${format(result.median)}</text>`,
    ].join("");
  });
  const height = 44 + shown.length * step;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + width + 70} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="#868e96">
<text x="${left}" y="20">ratio, cut at ${most}; the line is 1; green: goal met</text>
${bars.join("\n")}
<line x1="${x(1)}" x2="${x(1)}" y1="28" y2="${height - 6}" stroke="#868e96" stroke-dasharray="3 3"/>
</svg>
`;
}

/** `README.md` の印の間だけを書き替える。説明の文は人が書く。 */
export async function writeReport(
  rows: readonly Row[],
  { directory, isQuick }: { directory: string; isQuick: boolean },
): Promise<void> {
  const machine = describeMachine();
  const facts = Object.entries(machine).map(([name, value]) => `- ${name}: ${value}`);
  const pace = isQuick ? "A quick run: one short round, not a measurement.\n\n" : "";
  const text = `${pace}${table(rows)}\n\n${facts.join("\n")}`;
  console.log(`\n${text}\n`);
  const json = { machine, isQuick, rows };
  await Bun.write(join(directory, "results.json"), `${JSON.stringify(json, null, 2)}\n`);
  await Bun.write(join(directory, "ratios.svg"), chart(rows));
  const page = join(directory, "README.md");
  if (!(await Bun.file(page).exists())) await Bun.write(page, `# Benchmarks\n\n${START}\n${END}\n`);
  const old = readFileSync(page, "utf8");
  const [before, rest] = old.split(START);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined) throw new Error(`${page} has lost its table marks`);
  await Bun.write(page, `${before}${START}\n\n${text}\n\n${END}${after}`);
}
