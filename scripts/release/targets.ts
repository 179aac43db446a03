/** 配る実行ファイルの 1 つ。 */
export interface ReleaseTarget {
  /** 書庫の名前に入る。 */
  readonly name: string;
  /** `bun build --compile --target` に渡す名前。 */
  readonly target: string;
  /** 実行の土台が入った npm の包み(runtimes/package.json にあるもの)。 */
  readonly runtime: string;
  readonly archive: "tar.gz" | "zip";
}

const posix = (name: string, target: string, runtime: string): ReleaseTarget => ({
  name,
  target,
  runtime: `@oven/${runtime}`,
  archive: "tar.gz",
});

/** 配る実行ファイルのすべて。baseline は AVX2 の無い x64 のためのもの。 */
export const releaseTargets: readonly ReleaseTarget[] = [
  posix("linux-x64", "bun-linux-x64", "bun-linux-x64"),
  posix("linux-x64-baseline", "bun-linux-x64-baseline", "bun-linux-x64-baseline"),
  posix("linux-arm64", "bun-linux-arm64", "bun-linux-aarch64"),
  posix("linux-x64-musl", "bun-linux-x64-musl", "bun-linux-x64-musl"),
  posix("linux-x64-musl-baseline", "bun-linux-x64-musl-baseline", "bun-linux-x64-musl-baseline"),
  posix("linux-arm64-musl", "bun-linux-arm64-musl", "bun-linux-aarch64-musl"),
  posix("macos-arm64", "bun-darwin-arm64", "bun-darwin-aarch64"),
  posix("macos-x64", "bun-darwin-x64", "bun-darwin-x64"),
  { name: "windows-x64", target: "bun-windows-x64", runtime: "@oven/bun-windows-x64", archive: "zip" },
];
