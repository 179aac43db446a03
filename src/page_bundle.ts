import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** 束ねた頁の 1 つのファイル。`index.html` のほかは、名前に中身の要約が入る。 */
export interface PageFile {
  readonly name: string;
  readonly text: string;
}

/**
 * 頁(src/page/index.html とそこから指されるもの)を束ねる。マクロとして呼び、結果を束ねた側のコードに焼き込むので、
 * 実行ファイルでも試験でも同じものが、置き場もネットワークも無しに手に入る。
 *
 * マクロの中では `Bun.build` が使えない(束ね役が自分を待つ)ので、別のプロセスに頼む。
 *
 * @see https://bun.com/docs/bundler/macros
 */
export function bundlePage(publicPath: string): PageFile[] {
  const directory = mkdtempSync(join(tmpdir(), "iris-serving-page-"));
  try {
    const built = Bun.spawnSync([
      process.execPath,
      "build",
      join(import.meta.dir, "page", "index.html"),
      "--minify",
      "--target=browser",
      `--public-path=${publicPath}`,
      `--outdir=${directory}`,
    ]);
    if (!built.success) throw new Error(`bundling the page failed: ${built.stderr.toString()}`);
    return readdirSync(directory)
      .sort()
      .map((name) => ({ name, text: readFileSync(join(directory, name), "utf8") }));
  } finally {
    rmSync(directory, { recursive: true });
  }
}
