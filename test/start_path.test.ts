import { expect, test } from "bun:test";
import { join } from "node:path";

// 何が起動の道に乗るかは、束ねた塊で決まる。実行ファイルと同じ束ね方で調べる。

const root = join(import.meta.dir, "..");
const { metafile } = await Bun.build({
  entrypoints: [join(root, "src", "main.ts")],
  target: "bun",
  splitting: true,
  minify: true,
  metafile: true,
});
const { inputs, outputs } = metafile!;

/** `node_modules/` の下なら、その名前から。 */
const shorten = (path: string): string => path.split("node_modules/").at(-1)!;

/** モデルを開くまでに読まれる塊に入るもの。`modules` を含む塊と、そこから import() 無しに届く塊。 */
function loadedWith(...modules: readonly string[]): ReadonlySet<string> {
  const chunks = modules.map((module) => {
    const found = Object.keys(outputs).find((name) => outputs[name]!.inputs[module] !== undefined);
    if (found === undefined) throw new Error(`${module} is in no chunk`);
    return found;
  });
  const seen = new Set(chunks);
  for (const chunk of seen) {
    for (const { path, kind } of outputs[chunk]!.imports) if (kind === "import-statement") seen.add(path);
  }
  // 束ね役が中身を残らず落とした入力と、ファイルとして埋め込んだもの(形式が無い)は数えない。
  const kept = [...seen].flatMap((chunk) =>
    Object.entries(outputs[chunk]?.inputs ?? {}).filter(
      ([path, { bytesInOutput }]) => bytesInOutput > 0 && inputs[path]?.format !== undefined,
    ),
  );
  return new Set(kept.map(([path]) => path));
}

const packagesOf = (modules: ReadonlySet<string>): readonly string[] =>
  [...new Set([...modules].filter((path) => path.includes("node_modules/")).map(shorten))]
    .map((path) => path.split("/", path.startsWith("@") ? 2 : 1).join("/"))
    .filter((name, i, all) => all.indexOf(name) === i)
    .sort();

const atStart = loadedWith("src/main.ts", "src/cli/serve.ts", "src/server.ts");

test("a server loads no library but the reader of messages, and of that not the descriptors", () => {
  expect(packagesOf(atStart)).toEqual(["@bufbuild/protobuf"]);
  expect([...atStart].filter((path) => /wkt\/google|codegenv2|from-json|to-json/.test(path))).toEqual([]);
});

test("a server loads no builtin that takes long and is seldom needed", () => {
  const builtins = [...atStart]
    .flatMap((path) => inputs[path]!.imports)
    .map(({ path }) => path.replace("node:", ""));
  const late = /^(zlib|tls|crypto|util|http|https|http2|child_process|worker_threads|perf_hooks)$/;
  expect(builtins).toContain("fs");
  expect(builtins.filter((path) => late.test(path))).toEqual([]);
});

test("a server loads neither clients, nor other commands, nor HTTP/2, nor what is outside /v1/", () => {
  expect([...atStart]).toContain("src/rest/rest_door.ts");
  const late =
    /^src\/(client|http2|grpc\/grpc_engine\.ts|openapi|page|page_assets\.ts|docs_site\.ts|base\/text_proto\.ts|rest\/site\.ts|cli\/(commands|usage|help|run_command|bench|show|predict)\b)/;
  expect([...atStart].filter((path) => late.test(path))).toEqual([]);
});

test("the version is printed without the server", () => {
  const modules = loadedWith("src/main.ts", "src/cli/serve.ts");
  expect([...modules].filter((path) => /^src\/(server\.ts|rest|grpc|graph|gen)\b/.test(path))).toEqual([]);
});

test("help is printed without the clients and the executor", () => {
  const modules = loadedWith(
    "src/main.ts",
    "src/cli/run_command.ts",
    "src/cli/commands.ts",
    "src/cli/usage.ts",
  );
  expect([...modules].filter((path) => /^src\/(client\/(?!json_text)|graph)\b/.test(path))).toEqual([]);
  expect(packagesOf(modules)).toEqual(["@bufbuild/protobuf"]);
});

test("a server loads the executor, but only the ops of small dense models", () => {
  expect([...atStart]).toContain("src/graph/ops/dense_layers.ts");
  expect(
    [...atStart].filter((path) => /ops\/(conv|image_codec|regex|sparse|fft|late\w*_ops)\.ts/.test(path)),
  ).toEqual([]);
});

test("the executable has no code of the scripts", () => {
  expect(Object.keys(inputs).filter((path) => /^(scripts|test)\//.test(path))).toEqual([]);
});
