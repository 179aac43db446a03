// 実行ファイルが運ぶものを 1 バイトだけ変えると、起動を断ることを確かめる。
//   bun test/interop/damaged_binary.ts [実行ファイル]
// 最後の行は「N passed, N failed」。
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { embeddedModel, wasmFiles } from "../../src/assets.ts";

const binary = readFileSync(process.argv[2] ?? join(import.meta.dir, "..", "..", "iris-serving"));
const directory = mkdtempSync(join(tmpdir(), "iris-damaged-"));
let passed = 0;
let failed = 0;

function check(name: string, isRight: boolean, seen: string): void {
  if (isRight) passed++;
  else failed++;
  console.log(`${isRight ? "✓" : "✗"} ${name}${isRight ? "" : `: ${seen}`}`);
}

/** 別の場所に置いた実行ファイルを走らせる。 */
function run(content: Buffer, ...args: string[]): { exitCode: number; output: string } {
  const path = join(directory, "iris-serving");
  writeFileSync(path, content, { mode: 0o755 });
  const { exitCode, stdout, stderr } = Bun.spawnSync([path, ...args], { cwd: directory, timeout: 20_000 });
  return { exitCode, output: stdout.toString() + stderr.toString() };
}

const assets = new Map([
  ...Array.from(embeddedModel, ([path, asset]) => [`model/${path}`, asset] as const),
  ...Object.entries(wasmFiles).map(([name, asset]) => [`wasm/${name}`, asset] as const),
]);
try {
  const untouched = run(binary, "--version");
  check("the executable as built runs", untouched.exitCode === 0, untouched.output);
  for (const [name, asset] of assets) {
    const content = readFileSync(asset);
    const damaged = Buffer.from(binary);
    const at = damaged.indexOf(content);
    if (at < 0) throw new Error(`${name} is not in the executable byte for byte`);
    damaged[at + (content.length >> 1)]! ^= 1;
    for (const args of [["--version"], ["--port=0", "--grpc_socket_path=s", "--rest_api_port=0"]]) {
      const { exitCode, output } = run(damaged, ...args);
      check(
        `a changed bit in ${name} stops ${args[0]}`,
        exitCode === 255 && output.includes(`This executable is damaged: its file ${name} has SHA-256`),
        `exit ${exitCode}: ${output}`,
      );
    }
    const { exitCode } = run(damaged, "export", join(directory, "out"));
    check(`a changed bit in ${name} stops export`, exitCode === 1, `exit ${exitCode}`);
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
