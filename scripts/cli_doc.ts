// docs/cli.md を、コマンドと旗の表そのものから作る。--check なら、書かずに今の文書と比べる。
import { join } from "node:path";
import { cliDocument } from "./cli_document.ts";
import { root } from "./steps.ts";

const path = join(root, "docs", "cli.md");
const text = cliDocument();
if (process.argv.includes("--check")) {
  if ((await Bun.file(path).text()) !== text) {
    console.error("docs/cli.md is stale: run bun scripts/cli_doc.ts");
    process.exit(1);
  }
} else {
  await Bun.write(path, text);
  console.log(path);
}
