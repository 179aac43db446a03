import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Contrib, Enums, Models, Serialize, Spec, Validation } from "@cyclonedx/cyclonedx-library";
import parseSpdx from "spdx-expression-parse";
import { root } from "../steps.ts";
import { type Lockfile, productionPackages } from "./lockfile.ts";

interface Manifest {
  readonly license?: string;
  readonly description?: string;
}

const licenses = new Contrib.License.Factories.LicenseFactory(parseSpdx);

function readManifest(key: string): Manifest {
  const path = key.replace(/\/(?=@?[^/]+(?:\/|$))/g, (slash, at: number) => {
    // 名前空間(@a/b)の斜線は、入れ物の区切りではない。
    const before = key.slice(0, at);
    return /(^|\/)@[^/]+$/.test(before) ? slash : "/node_modules/";
  });
  return JSON.parse(readFileSync(join(root, "node_modules", path, "package.json"), "utf8")) as Manifest;
}

function component(name: string, version: string, { license, description }: Manifest): Models.Component {
  const [group, plain] = name.startsWith("@") ? name.split("/") : [undefined, name];
  const purl = `pkg:npm/${group === undefined ? "" : `${encodeURIComponent(group)}/`}${plain}@${version}`;
  const one = new Models.Component(Enums.ComponentType.Library, plain!, {
    ...(group === undefined ? {} : { group }),
    version,
    bomRef: purl,
    purl,
    ...(description === undefined ? {} : { description }),
  });
  if (license !== undefined) one.licenses.add(licenses.makeFromString(license));
  return one;
}

/**
 * CycloneDX 1.6 の部品表(JSON)。実行ファイルに入る npm の包みと、土台の Bun。
 *
 * @param date 再現できるよう、コミットの時刻を渡す。
 * @throws 公式の JSON スキーマに合わないとき。
 * @see https://cyclonedx.org/docs/1.6/json/
 */
export async function sbom(lock: Lockfile, version: string, date: Date): Promise<string> {
  const bom = new Models.Bom();
  bom.metadata.timestamp = date;
  const product = new Models.Component(Enums.ComponentType.Application, "iris-serving", {
    version,
    bomRef: "iris-serving",
    purl: `pkg:generic/iris-serving@${version}`,
  });
  product.licenses.add(licenses.makeFromString("Apache-2.0"));
  bom.metadata.component = product;
  const bun = new Models.Component(Enums.ComponentType.Platform, "bun", {
    version: Bun.version,
    bomRef: "bun",
    purl: `pkg:npm/bun@${Bun.version}`,
    description: "The JavaScript runtime inside the executable",
  });
  bun.licenses.add(licenses.makeFromString("MIT"));
  bom.components.add(bun);
  product.dependencies.add(bun.bomRef);
  const packages = productionPackages(lock);
  // 同じ版が二か所に置かれていても、部品としては 1 つ。
  const byId = new Map<string, Models.Component>();
  const made = new Map<string, Models.Component>();
  for (const { key, name, version: locked, integrity } of packages) {
    const id = `${name}@${locked}`;
    const one = byId.get(id) ?? component(name, locked, readManifest(key));
    const digest = Buffer.from(integrity.replace(/^sha512-/, ""), "base64").toString("hex");
    one.hashes.set(Enums.HashAlgorithm["SHA-512"], digest);
    byId.set(id, one);
    made.set(key, one);
  }
  for (const { key, dependencies } of packages) {
    const one = made.get(key)!;
    bom.components.add(one);
    for (const needed of dependencies) one.dependencies.add(made.get(needed)!.bomRef);
  }
  for (const name of Object.keys(lock.workspaces[""]?.dependencies ?? {})) {
    product.dependencies.add(made.get(name)!.bomRef);
  }
  const serializer = new Serialize.JsonSerializer(new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6));
  const text = serializer.serialize(bom, { sortLists: true, space: 1 });
  const problem = await new Validation.JsonStrictValidator(Spec.Version.v1dot6).validate(text);
  if (problem !== null) throw new Error(`the bill of materials is not valid: ${JSON.stringify(problem)}`);
  return `${text}\n`;
}
