import { join } from "node:path";

const base = join(import.meta.dir, "../fixtures/upstream/models");
const model = (name: string, more = ""): string =>
  `  config { name: "${name}" base_path: "${join(base, name)}" model_platform: "tensorflow" ${more}}`;

/** 録ったときと同じモデルを出す設定。 */
export const upstreamModels = `model_config_list {
${model("echo")}
${model("example")}
${model(
  "half",
  "model_version_policy { specific { versions: 1 versions: 3 } } " +
    'version_labels { key: "stable" value: 1 } version_labels { key: "odd %1 label" value: 3 } ',
)}
}`;
