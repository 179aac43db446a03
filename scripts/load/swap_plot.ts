/** ある時点の、サーバーの常駐メモリ。 */
export interface MemorySample {
  readonly seconds: number;
  /** それまでに終わった入れ替え。 */
  readonly swaps: number;
  readonly megabytes: number;
}

/** 数秒の間の待ち時間。 */
export interface LatencySample {
  readonly seconds: number;
  readonly p99Ms: number;
}

/** 区間の中の最小、中央、最大(MB)。 */
export interface MemoryWindow {
  readonly from: number;
  readonly to: number;
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

const rounded = (megabytes: number): number => Math.round(megabytes * 10) / 10;

/** `size` 回の入れ替えごとにまとめる。 */
export function memoryWindows(samples: readonly MemorySample[], size: number): MemoryWindow[] {
  return [...Map.groupBy(samples, ({ swaps }) => Math.floor(swaps / size))]
    .sort(([a], [b]) => a - b)
    .map(([index, group]) => {
      const sorted = group.map(({ megabytes }) => rounded(megabytes)).sort((a, b) => a - b);
      return {
        from: index * size,
        to: (index + 1) * size - 1,
        min: sorted[0]!,
        median: sorted[sorted.length >> 1]!,
        max: sorted.at(-1)!,
      };
    });
}

const [WIDTH, PANEL, LEFT, RIGHT] = [720, 150, 52, 12];

/** 1 段の折れ線。縦軸は 0 から。 */
function panel(
  index: number,
  title: string,
  points: readonly (readonly [seconds: number, value: number])[],
  lastSecond: number,
): string {
  const [top, bottom] = [index * PANEL + 24, (index + 1) * PANEL - 8];
  const most = Math.max(...points.map(([, value]) => value), 1);
  const x = (seconds: number): string => (LEFT + (seconds / lastSecond) * (WIDTH - LEFT - RIGHT)).toFixed(1);
  const y = (value: number): string => (bottom - (value / most) * (bottom - top)).toFixed(1);
  return `<text x="${LEFT}" y="${top - 8}" font-weight="bold">${title}</text>
<line x1="${LEFT}" y1="${bottom}" x2="${WIDTH - RIGHT}" y2="${bottom}" stroke="#999"/>
<text x="${LEFT - 6}" y="${top + 4}" text-anchor="end">${Math.round(most)}</text>
<text x="${LEFT - 6}" y="${bottom}" text-anchor="end">0</text>
<polyline fill="none" stroke="#2a6fdb" points="${points.map(([s, value]) => `${x(s)},${y(value)}`).join(" ")}"/>`;
}

/**
 * メモリと待ち時間を、同じ時間軸の 2 段に。
 *
 * @param startedAt 入れ替えが始まった秒。縦の線を引く。
 */
export function plotSwaps(
  memory: readonly MemorySample[],
  latency: readonly LatencySample[],
  startedAt: number,
): string {
  const last = Math.max(memory.at(-1)?.seconds ?? 0, latency.at(-1)?.seconds ?? 0, 1);
  const start = LEFT + (startedAt / last) * (WIDTH - LEFT - RIGHT);
  const height = 2 * PANEL + 20;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
<line x1="${start}" y1="16" x2="${start}" y2="${2 * PANEL - 8}" stroke="#c33" stroke-dasharray="3 3"/>
${panel(
  0,
  "resident memory (MB)",
  memory.map(({ seconds, megabytes }) => [seconds, megabytes]),
  last,
)}
${panel(
  1,
  "p99 of the requests of 5 s (ms); the dashed line is the first swap",
  latency.map(({ seconds, p99Ms }) => [seconds, p99Ms]),
  last,
)}
<text x="${LEFT}" y="${height - 8}">0 s</text>
<text x="${WIDTH - RIGHT}" y="${height - 8}" text-anchor="end">${Math.round(last)} s, ${memory.at(-1)?.swaps ?? 0} swaps</text>
</svg>
`;
}
