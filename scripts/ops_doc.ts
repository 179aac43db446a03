// docs/ops.md を、実行器が使う表そのものから作る。--check なら、書かずに今の文書と比べる。
import { join } from "node:path";
import { allOpRows } from "../src/graph/ops/index.ts";
import { rewrites } from "../src/graph/rewrite.ts";
import { root } from "./steps.ts";

/** docs/ops.md の中身。 */
export async function opsDocument(): Promise<string> {
  // `_` で始まるのは、計画が融合のために作る内側の演算。
  const rows = (await allOpRows()).filter(({ op }) => !op.startsWith("_"));
  const lines = rows.map(({ op, host, device, raw, stateful }) => {
    const kernels = [host && "host", device && "wasm", raw && "engine"].filter(Boolean).join(", ");
    return `| ${op} | ${kernels} | ${stateful ? "yes" : ""} |`;
  });
  for (const [op, { into }] of rewrites) lines.push(`| ${op} | as ${into.join(", ")} | |`);
  lines.sort();
  return `# Ops

${rows.length} TensorFlow ops have a kernel and ${rewrites.size} are rewritten into others. Generated from the executor's table by \`bun scripts/ops_doc.ts\`.

- **host**: TypeScript on typed arrays; int64, uint64 and float64 are exact.
- **wasm**: tfjs on the wasm backend (tfjs-cpu where wasm has no kernel), for float32 tensors with real work.
- **engine**: works on values as they are (resources, lists, control flow).
- **as**: the plan rewrites the op into these.

Where an op has both host and wasm kernels, the plan or, for inputs of unknown size, the amount of work decides. An op that is not listed makes only the signatures that reach it answer UNIMPLEMENTED; \`iris-serving show DIRECTORY\` names them.

| op | kernels | stateful |
|---|---|---|
${lines.join("\n")}
`;
}

if (import.meta.main) {
  const path = join(root, "docs", "ops.md");
  if (!process.argv.includes("--check")) {
    await Bun.write(path, await opsDocument());
    console.log(path);
  } else if ((await Bun.file(path).text()) !== (await opsDocument())) {
    console.error("docs/ops.md is stale: run bun scripts/ops_doc.ts");
    process.exit(1);
  }
}
