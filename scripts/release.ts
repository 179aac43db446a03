// 配る実行ファイルをすべて作る。
//   bun run release [--only=linux-x64,windows-x64] [--out=dist]
// 土台の Bun は scripts/release/runtimes の bun.lock が中身まで固定する。できるもの:
//   iris-serving-<版>-<宛先>.tar.gz か .zip、SHA256SUMS、iris-serving-<版>.cdx.json(部品表)、SIZES.md
// Linux のものは test/interop/release.sh が動かして確かめる。
import { chmodSync, copyFileSync, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import manifest from "../package.json" with { type: "json" };
import { type Entry, writeTarGz, writeZip } from "./release/archive.ts";
import type { Lockfile } from "./release/lockfile.ts";
import { sbom } from "./release/sbom.ts";
import { type ReleaseTarget, releaseTargets } from "./release/targets.ts";
import { bun, root, step } from "./steps.ts";

const { values } = parseArgs({
  options: { only: { type: "string" }, out: { type: "string", default: join(root, "dist") } },
});
const wanted = values.only?.split(",");
const unknown = wanted?.filter((name) => !releaseTargets.some((target) => target.name === name)) ?? [];
if (unknown.length > 0) {
  console.error(
    `no such target: ${unknown.join(", ")}\navailable: ${releaseTargets.map(({ name }) => name).join(", ")}`,
  );
  process.exit(2);
}
const targets = releaseTargets.filter(({ name }) => wanted?.includes(name) ?? true);
const out = resolve(values.out);
const { version } = manifest;
const runtimes = join(import.meta.dir, "release", "runtimes");

/** 同じコミットからは同じ書庫ができるよう、時刻はコミットのもの。 */
function commitDate(): Date {
  const git = Bun.spawnSync(["git", "log", "-1", "--format=%ct"], { cwd: root, stderr: "ignore" });
  return new Date(git.success ? Number(git.stdout.toString()) * 1000 : 0);
}

interface Built {
  readonly target: ReleaseTarget;
  readonly file: string;
  readonly binaryBytes: number;
  readonly archiveBytes: number;
}

async function build(target: ReleaseTarget, date: Date): Promise<Built> {
  const windows = target.archive === "zip";
  const directory = `iris-serving-${version}-${target.name}`;
  const stage = join(out, "stage", directory);
  mkdirSync(stage, { recursive: true });
  const binary = join(stage, windows ? "iris-serving.exe" : "iris-serving");
  const runtime = join(runtimes, "node_modules", target.runtime, "bin", windows ? "bun.exe" : "bun");
  if (!existsSync(runtime)) throw new Error(`${runtime} is missing`);
  await step(`Compiling ${target.name}`, [
    bun,
    "scripts/build.ts",
    `--target=${target.target}`,
    `--runtime=${runtime}`,
    `--outfile=${binary}`,
  ]);
  const entries: Entry[] = [{ path: binary, executable: true }];
  for (const name of ["LICENSE", "README.md"]) {
    const path = join(stage, name);
    copyFileSync(join(root, name), path);
    entries.push({ path, executable: false });
  }
  for (const { path, executable } of entries) chmodSync(path, executable ? 0o755 : 0o644);
  const file = `${directory}.${target.archive}`;
  if (windows) writeZip(join(out, file), directory, entries, date);
  else await writeTarGz(join(out, file), join(out, "stage"), directory, date);
  return { target, file, binaryBytes: statSync(binary).size, archiveBytes: statSync(join(out, file)).size };
}

async function sha256(path: string): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  for await (const chunk of Bun.file(path).stream()) hash.update(chunk);
  return hash.digest("hex");
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
await step("Fetching the runtimes", [
  bun,
  "install",
  `--cwd=${runtimes}`,
  "--frozen-lockfile",
  "--ignore-scripts",
  "--os=*",
  "--cpu=*",
]);
const date = commitDate();
const built: Built[] = [];
for (const target of targets) built.push(await build(target, date));
rmSync(join(out, "stage"), { recursive: true });

const lock = Bun.JSONC.parse(await Bun.file(join(root, "bun.lock")).text()) as Lockfile;
const bill = `iris-serving-${version}.cdx.json`;
writeFileSync(join(out, bill), await sbom(lock, version, date));
const files = [...built.map(({ file }) => file), bill];
const sums = await Promise.all(files.map(async (file) => `${await sha256(join(out, file))}  ${file}\n`));
writeFileSync(join(out, "SHA256SUMS"), sums.join(""));
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
const table = [
  "| target | executable, MB | archive, MB |",
  "|---|---|---|",
  ...built.map(
    ({ target, binaryBytes, archiveBytes }) =>
      `| ${target.name} | ${megabytes(binaryBytes)} | ${megabytes(archiveBytes)} |`,
  ),
].join("\n");
writeFileSync(join(out, "SIZES.md"), `${table}\n`);
console.log(`\n${table}\n\n${out}: ${files.length} files, SHA256SUMS, SIZES.md`);
