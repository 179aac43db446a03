/** 一定の間隔で見た、サーバーの持ち物。 */
export interface SoakSample {
  readonly minutes: number;
  readonly rssMib: number;
  readonly fds: number;
  readonly sockets: number;
  /** wasm の中で生きているテンソル。 */
  readonly tensors: number;
  readonly requests: number;
}

const WIDTH = 720;
const PANEL = 110;
const LEFT = 52;
const RIGHT = 12;
const panels = [
  ["resident memory (MiB)", (sample: SoakSample) => sample.rssMib, "#2a6fdb"],
  ["open files", (sample: SoakSample) => sample.fds, "#b3561d"],
  ["sockets", (sample: SoakSample) => sample.sockets, "#7a3fb0"],
  ["wasm tensors", (sample: SoakSample) => sample.tensors, "#1d7d4f"],
] as const;

/** 同じ時間軸の 4 段の折れ線。 */
export function plotSoak(samples: readonly SoakSample[]): string {
  const height = panels.length * PANEL + 30;
  const last = Math.max(...samples.map(({ minutes }) => minutes), 1e-9);
  const x = (minutes: number) => LEFT + (minutes / last) * (WIDTH - LEFT - RIGHT);
  const parts = panels.map(([title, read, color], index) => {
    const top = index * PANEL + 18;
    const bottom = (index + 1) * PANEL - 8;
    const most = Math.max(...samples.map(read), 1);
    const y = (value: number) => bottom - (value / most) * (bottom - top);
    const points = samples.map((sample) => `${x(sample.minutes).toFixed(1)},${y(read(sample)).toFixed(1)}`);
    return [
      `<line x1="${LEFT}" y1="${bottom}" x2="${WIDTH - RIGHT}" y2="${bottom}" stroke="#999"/>`,
      `<text x="${LEFT}" y="${top - 5}" font-weight="bold">${title}</text>`,
      `<text x="${LEFT - 6}" y="${top + 4}" text-anchor="end">${Math.round(most)}</text>`,
      `<text x="${LEFT - 6}" y="${bottom}" text-anchor="end">0</text>`,
      `<polyline fill="none" stroke="${color}" stroke-width="1.5" points="${points.join(" ")}"/>`,
    ].join("\n");
  });
  const foot = `<text x="${LEFT}" y="${height - 8}">0</text><text x="${WIDTH - RIGHT}" y="${height - 8}" text-anchor="end">${last.toFixed(1)} minutes</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">
<rect width="${WIDTH}" height="${height}" fill="white"/>
${parts.join("\n")}
${foot}
</svg>
`;
}
