// deploy/ のものを、本物の相手で確かめる。
//   bun test/interop/deploy.ts [作業場所]
// - Kubernetes: kustomize で組み立て、API サーバーの読み取りと検証と Pod Security に掛ける(Go が要る)
// - KServe: 公式の Python クライアントの型
// - Compose: 仕様の参照実装(Go が要る)
// - nginx と HAProxy: それぞれの検査の旗
// 道具の無い検査は「skip」と書いて飛ばす。最後の行は「N passed, N failed」。
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { checkCommand, findProxy, proxies, writeProxyConfig } from "../../scripts/load/proxy.ts";
import { cache, python } from "../../scripts/python.ts";
import { root } from "../../scripts/steps.ts";

const work = resolve(process.argv[2] ?? join(cache, "deploy"));
mkdirSync(work, { recursive: true });
const deploy = join(root, "deploy");
let passed = 0;
let failed = 0;

function run(command: readonly string[], cwd = root, env: Record<string, string> = {}): string {
  const child = Bun.spawnSync([...command], { cwd, env: { ...process.env, ...env } });
  const output = child.stdout.toString() + child.stderr.toString();
  return child.exitCode === 0 ? output : `${output}\n${command[0]} exited with ${child.exitCode}`;
}

/** 「N passed, N failed」で終わる出力を足す。 */
function add(what: string, output: string): void {
  const counts = /(\d+) passed, (\d+) failed\s*$/.exec(output);
  const [ok, bad] = counts === null ? [0, 1] : [Number(counts[1]), Number(counts[2])];
  passed += ok;
  failed += bad;
  console.log(`${bad === 0 ? "ok  " : "FAIL"} ${what}: ${ok} passed, ${bad} failed`);
  if (bad > 0) console.log(output);
}

const one = (what: string, child: { readonly exitCode: number; readonly output: string }): void =>
  add(what, child.exitCode === 0 ? "1 passed, 0 failed" : `${child.output}\n0 passed, 1 failed`);

const go = Bun.which("go");
if (go === null) console.log("skip Kubernetes and Compose: Go is not installed");
else {
  const overlays = join(deploy, "kubernetes", "overlays");
  const checker = join(work, "manifests");
  const source = join(root, "test", "interop", "manifests");
  const built = Bun.spawnSync([go, "build", "-o", checker, "."], {
    cwd: source,
    stdout: "pipe",
    stderr: "pipe",
  });
  if (built.exitCode !== 0) one("building the checker", { exitCode: 1, output: built.stderr.toString() });
  else {
    add(
      "Kubernetes and Compose",
      run([
        checker,
        join(deploy, "kubernetes", "base"),
        ...readdirSync(overlays).map((name) => join(overlays, name)),
        join(deploy, "compose", "compose.yaml"),
      ]),
    );
  }
}

/** 依存(サーバーの枠組みなど)を入れずに、型の定義だけを置く。 */
const KSERVE = "0.21.0";
const kserve = join(cache, `kserve-${KSERVE}`);
const interpreter = await python("manifests");
if (!existsSync(kserve)) {
  run([interpreter, "-m", "pip", "install", "--quiet", "--no-deps", "--target", kserve, `kserve==${KSERVE}`]);
}
const runtimes = join(deploy, "kserve");
add(
  "KServe",
  run(
    [
      interpreter,
      join(root, "test", "interop", "kserve_manifests.py"),
      ...readdirSync(runtimes)
        .filter((name) => name.endsWith(".yaml"))
        .map((name) => join(runtimes, name)),
    ],
    root,
    { PYTHONPATH: kserve },
  ),
);

for (const name of proxies) {
  const executable = findProxy(name);
  if (executable === null) {
    console.log(`skip ${name}: not installed`);
    continue;
  }
  const servers = [1, 2, 3].map((i) => ({ grpc: 8500 + 10 * i, rest: 8501 + 10 * i }));
  const file = writeProxyConfig(name, join(work, name), { grpc: 18500, rest: 18501 }, servers);
  const child = Bun.spawnSync(checkCommand(name, executable, file));
  one(name, { exitCode: child.exitCode, output: child.stdout.toString() + child.stderr.toString() });
}

console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
