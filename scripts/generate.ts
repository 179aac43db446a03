// proto/ と wasm/ から src/gen/ を作り直す。生成物はコミットし、手では直さない。
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import {
  createFileRegistry,
  type DescField,
  type DescMessage,
  fromBinary,
  ScalarType,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { fail, root } from "./steps.ts";

const GEN = join(root, "src", "gen");
const WELL_KNOWN = ["any", "wrappers"];

/** `from` にあるファイルから `to` を指す綴り。 */
function specifier(from: string, to: string): string {
  const path = relative(dirname(from), to);
  return path.startsWith(".") ? path : `./${path}`;
}

/**
 * 記述を、使われるまで組み立てないものに替える。protobuf-es の記述は読み込まれた時に組み立てられ、その備え付けの
 * 型(Any など)も同じなので、どちらも手元のものを指させる。
 */
function adapt(path: string, text: string): string {
  const file = join(GEN, path);
  const lazy = specifier(file, join(root, "src", "base", "descriptors.ts"));
  const wellKnown = (name: string) => specifier(file, join(GEN, "google", "protobuf", `${name}_pb.ts`));
  // 備え付けの型の長い説明は写さない。
  const own = path.startsWith("google/")
    ? text.replace(/^\/\/(?! @).*\n/gm, "").replace(/^ *\/\*\*[\s\S]*?\*\/\n/gm, "")
    : text;
  return own
    .replace(/^(import \{.*\} from )"@bufbuild\/protobuf\/codegenv2";$/m, `$1"${lazy}";`)
    .replace(/^import (.*) from "@bufbuild\/protobuf\/wkt";$/gm, (line: string, what: string) => {
      const name = WELL_KNOWN.find((one) => what === `{ file_google_protobuf_${one} }`);
      if (name !== undefined) return `import ${what} from "${wellKnown(name)}";`;
      if (what === "type { Any }") return `import ${what} from "${wellKnown("any")}";`;
      if (what === "type { Int64Value }") return `import ${what} from "${wellKnown("wrappers")}";`;
      throw new Error(`${path} imports a well-known type that is not generated: ${line}`);
    });
}

function buf(...args: string[]): Uint8Array {
  const { stdout, exitCode } = Bun.spawnSync([join(root, "node_modules", ".bin", "buf"), ...args], {
    cwd: join(root, "proto"),
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (exitCode !== 0) fail(`buf ${args[0]}`, exitCode);
  return stdout;
}

/** 保存されたモデルを開くのに読むメッセージ。記述を組み立てずに済むよう、欄の表にしておく。 */
const READ_AT_START = [
  "tensorflow.SavedModel",
  "tensorflow.BundleHeaderProto",
  "tensorflow.BundleEntryProto",
];

const scalarName = (scalar: ScalarType | undefined): string => ScalarType[scalar!]!.toLowerCase();

function layoutOfField(field: DescField): string {
  const { message, enum: values, scalar, localName, oneof } = field;
  const type = message?.typeName ?? (values === undefined ? scalarName(scalar) : "int32");
  const isTracked = field.presence === 1 && message === undefined && oneof === undefined;
  const mark =
    field.fieldKind === "list"
      ? "[]"
      : field.fieldKind === "map"
        ? `{${scalarName(field.mapKey)}}`
        : isTracked
          ? "?"
          : "";
  return `${field.number} ${oneof === undefined ? "" : `${oneof.localName}.`}${localName}${mark} ${type}`;
}

/** 型 → 欄の並び。{@link READ_AT_START} から届くものすべて。 */
function layouts(): string {
  const set = fromBinary(FileDescriptorSetSchema, buf("build", "--as-file-descriptor-set", "--output=-"));
  const registry = createFileRegistry(set);
  const found = new Map<string, string>();
  const visit = (desc: DescMessage): void => {
    if (found.has(desc.typeName)) return;
    found.set(desc.typeName, desc.fields.map(layoutOfField).join(", "));
    for (const { message } of desc.fields) if (message !== undefined) visit(message);
  };
  for (const name of READ_AT_START) visit(registry.getMessage(name)!);
  const rows = [...found].sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    "// Generated from proto/ by scripts/generate.ts. Do not edit.",
    "",
    "/** 型 → 欄の並び。番号、名前(`oneof.名前`)、印(`[]` は列、`{鍵の型}` は表、`?` は有無を覚える)、型。 */",
    "export const layouts: Readonly<Record<string, string>> = {",
    ...rows.map(([name, fields]) => `  "${name}": "${fields}",`),
    "};",
    "",
  ].join("\n");
}

/** @returns proto/ から作ったファイルの、src/gen/ から見たパス → 中身。 */
export function generateMessages(): ReadonlyMap<string, string> {
  const out = mkdtempSync(join(tmpdir(), "iris-serving-gen-"));
  try {
    buf("generate", `--output=${out}`);
    const paths = readdirSync(out, { recursive: true, encoding: "utf8" }).filter((one) =>
      one.endsWith(".ts"),
    );
    return new Map([
      ["layouts.ts", layouts()],
      ...paths.sort().map((path) => [path, adapt(path, readFileSync(join(out, path), "utf8"))] as const),
    ]);
  } finally {
    rmSync(out, { recursive: true });
  }
}

if (import.meta.main) {
  const files = new Map(generateMessages());
  const { compileWasm, wasmModules } = await import("./wasm.ts");
  for (const [name, pages] of wasmModules) files.set(`wasm/${name}.ts`, await compileWasm(name, pages));
  rmSync(GEN, { recursive: true, force: true });
  for (const [path, text] of files) {
    mkdirSync(dirname(join(GEN, path)), { recursive: true });
    writeFileSync(join(GEN, path), text);
  }
}
