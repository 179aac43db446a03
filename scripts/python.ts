// 相互運用試験のための、版を固定した Python の仮想環境。
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./steps.ts";

/** 相手を置いて使い回す場所。 */
export const cache = join(root, ".cache", "interop");

/**
 * `folder` の requirements-{name}.txt だけを入れた仮想環境の python。中身が変わったときだけ作り直す。
 *
 * @throws pip などが失敗したとき。
 */
export async function python(name: string, folder = join(root, "test", "interop")): Promise<string> {
  const requirements = join(folder, `requirements-${name}.txt`);
  const home = join(cache, `venv-${name}`);
  const wanted = readFileSync(requirements, "utf8");
  const stamp = join(home, "requirements.txt");
  const executable = join(home, "bin", "python");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return executable;
  console.log(`  preparing Python packages (${name})`);
  mkdirSync(cache, { recursive: true });
  for (const command of [
    ["python3", "-m", "venv", "--clear", home],
    [executable, "-m", "pip", "install", "--quiet", "-r", requirements],
  ]) {
    const child = Bun.spawn(command, { stdio: ["ignore", "ignore", "pipe"] });
    const [errors, exitCode] = await Promise.all([new Response(child.stderr).text(), child.exited]);
    if (exitCode !== 0)
      throw new Error(`${command.join(" ")} exited with ${exitCode}\n${errors.slice(-4000)}`);
  }
  writeFileSync(stamp, wanted);
  return executable;
}
