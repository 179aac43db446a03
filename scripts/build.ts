// 1 つの実行ファイルにまとめる。
//   bun scripts/build.ts [--target=bun-linux-x64] [--runtime=その宛先の Bun] [--outfile=iris-serving]
import { join } from "node:path";
import { parseArgs } from "node:util";
import { digestAssets } from "../src/payload.ts";
import { bun, fail, root } from "./steps.ts";

const { values } = parseArgs({
  options: {
    target: { type: "string" },
    runtime: { type: "string" },
    outfile: { type: "string", default: join(root, "iris-serving") },
  },
});

/** 元の版。git も .git も無い所(像の組み立て)では環境変数 COMMIT が告げる。 */
function sourceCommit(): string {
  const given = process.env["COMMIT"];
  if (given) return given;
  if (Bun.which("git") === null) return "unknown";
  const git = Bun.spawnSync(["git", "rev-parse", "--short=12", "HEAD"], { cwd: root, stderr: "ignore" });
  return git.success ? git.stdout.toString().trim() : "unknown";
}

const commit = sourceCommit();

const build = Bun.spawnSync(
  [
    bun,
    "build",
    "--compile",
    "--minify",
    "--bytecode",
    "--format=esm",
    // import() の先を別の塊にする。1 つの塊では、使わないコードも起動のたびに読まれる。
    "--splitting",
    // 作業ディレクトリの .env や bunfig.toml で振る舞いが変わってはならない。
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    `--define=BUILD_COMMIT="${commit}"`,
    // 運ぶものの指紋。起動のたびに、改竄されていないことを確かめる。
    `--define=BUILD_PAYLOAD=${JSON.stringify(JSON.stringify(await digestAssets()))}`,
    ...(values.target === undefined ? [] : [`--target=${values.target}`]),
    ...(values.runtime === undefined ? [] : [`--compile-executable-path=${values.runtime}`]),
    `--outfile=${values.outfile}`,
    join(root, "src", "main.ts"),
  ],
  { cwd: root, stdout: "ignore", stderr: "pipe" },
);
if (!build.success) {
  console.error(build.stderr.toString());
  fail("bun build", build.exitCode);
}
const size = Bun.file(values.outfile).size;
console.log(`  ${values.outfile} ${(size / 1e6).toFixed(1)} MB, commit ${commit}`);
