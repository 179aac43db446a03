// 依存を調べる: 既知の弱点(レジストリが答えるかぎり)、許した licence、固定された版と中身、入れるときに走る命令。
//   bun run audit
// レジストリに弱点の問い合わせ先が無ければ、それと言って「skipped」に数える。最後の行は「N passed, N failed, N skipped」。
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import parseSpdx from "spdx-expression-parse";
import { type Lockfile, productionPackages } from "./release/lockfile.ts";
import { bun, root } from "./steps.ts";

/** 実行ファイルに入ってよいもの。どれも、表示すれば再配布できる。 */
const shippedLicenses: ReadonlySet<string> = new Set([
  "0BSD",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "ISC",
  "MIT",
]);
/** 開発に使うだけなら、さらに許すもの。 */
const developmentLicenses: ReadonlySet<string> = new Set([
  ...shippedLicenses,
  "BlueOak-1.0.0",
  "CC-BY-3.0",
  "CC-BY-4.0",
  "CC0-1.0",
  "MPL-2.0",
  "Python-2.0",
]);
interface Manifest {
  readonly name?: string;
  readonly version?: string;
  readonly license?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly trustedDependencies?: readonly string[];
}

const readJson = <T>(path: string): T => JSON.parse(readFileSync(path, "utf8")) as T;

let passed = 0;
let failed = 0;
let skipped = 0;

function report(name: string, problems: readonly string[], note = ""): void {
  if (problems.length === 0) passed++;
  else failed++;
  console.log(`${problems.length === 0 ? "ok  " : "FAIL"} ${name}${note === "" ? "" : `: ${note}`}`);
  for (const problem of problems) console.log(`       ${problem}`);
}

/** node_modules の中の、入れ子も含めたすべての包み。 */
function* installed(directory: string): Generator<Manifest> {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.name.startsWith(".") || !entry.isDirectory()) continue;
    const path = join(directory, entry.name);
    if (entry.name.startsWith("@")) {
      yield* installed(path);
      continue;
    }
    const file = join(path, "package.json");
    if (existsSync(file)) yield readJson<Manifest>(file);
    const inner = join(path, "node_modules");
    if (existsSync(inner)) yield* installed(inner);
  }
}

interface SpdxTree {
  readonly license?: string;
  readonly conjunction?: "and" | "or";
  readonly left?: SpdxTree;
  readonly right?: SpdxTree;
}

/** `or` はどちらか、`and` は両方が許されていること。 */
function isAllowed(tree: SpdxTree, allowed: ReadonlySet<string>): boolean {
  if (tree.license !== undefined) return allowed.has(tree.license);
  const [left, right] = [isAllowed(tree.left!, allowed), isAllowed(tree.right!, allowed)];
  return tree.conjunction === "or" ? left || right : left && right;
}

function licenseProblem({ name, version, license }: Manifest, allowed: ReadonlySet<string>): string[] {
  if (license === undefined) return [`${name}@${version} names no licence`];
  try {
    return isAllowed(parseSpdx(license) as SpdxTree, allowed) ? [] : [`${name}@${version}: ${license}`];
  } catch {
    return [`${name}@${version}: ${license} is not an SPDX expression`];
  }
}

// bun.lock は末尾のコンマを許す JSON。
const lock = Bun.JSONC.parse(readFileSync(join(root, "bun.lock"), "utf8")) as Lockfile;
const shipped = new Set(productionPackages(lock).map(({ name, version }) => `${name}@${version}`));
const manifest = readJson<Manifest>(join(root, "package.json"));
const packages = [...installed(join(root, "node_modules"))].filter(
  ({ name, version }) => name !== undefined && version !== undefined,
);
const isShipped = ({ name, version }: Manifest): boolean => shipped.has(`${name}@${version}`);

report(
  "licences of what the executable holds",
  packages.filter(isShipped).flatMap((one) => licenseProblem(one, shippedLicenses)),
  `${shipped.size} packages`,
);
report(
  "licences of what is used to build and test",
  packages.filter((one) => !isShipped(one)).flatMap((one) => licenseProblem(one, developmentLicenses)),
  `${packages.length} packages installed`,
);
report(
  "versions are exact",
  Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })
    .filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))
    .map(([name, version]) => `${name}: ${version}`),
);
report(
  "every package is pinned by its content",
  Object.entries(lock.packages)
    .filter(([, entry]) => !/^sha512-/.test(String(entry.at(-1))))
    .map(([key]) => key),
  `${Object.keys(lock.packages).length} entries`,
);
report(
  "no package runs commands when it is installed",
  (manifest.trustedDependencies ?? []).map((name) => `${name} is trusted`),
);

/** レジストリが弱点を答えられないときの、bun の言い方。 */
const unanswered = /advisories\S* - \d{3}|ConnectionRefused|ENOTFOUND|FailedToOpenSocket|Timeout/i;
const audit = Bun.spawnSync([bun, "audit"], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
const told = `${audit.stdout.toString()}${audit.stderr.toString()}`;
if (unanswered.test(told)) {
  skipped++;
  console.log("skip known vulnerabilities: this registry has no advisory service");
} else {
  report("known vulnerabilities", audit.exitCode === 0 ? [] : told.trim().split("\n"));
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed === 0 ? 0 : 1);
