import { expect, test } from "bun:test";
import { join } from "node:path";
import type { DescEnum, DescField, DescFile, DescMessage, DescOneof, DescService } from "@bufbuild/protobuf";
import { fileDesc } from "@bufbuild/protobuf/codegenv2";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { generateMessages } from "../../../scripts/generate.ts";
import { descriptorBytes } from "../../../src/base/descriptors.ts";

const gen = join(import.meta.dir, "..", "..", "..", "src", "gen");
const paths = [...new Bun.Glob("**/*_pb.ts").scanSync(gen)].sort();

const files: DescFile[] = [];
for (const path of paths) {
  const exported: Record<string, unknown> = await import(join(gen, path));
  const [file] = Object.entries(exported)
    .find(([name]) => name.startsWith("file_"))!
    .slice(1) as DescFile[];
  files.push(file!);
}

/** 同じ原文から protobuf-es が作る記述。 */
const originals = new Map<DescFile, DescFile>();
function originalOf(file: DescFile): DescFile {
  let original = originals.get(file);
  if (original === undefined) {
    original = fileDesc(
      Buffer.from(descriptorBytes(file)).toString("base64"),
      file.dependencies.map((one) => originalOf(one)),
    );
    originals.set(file, original);
  }
  return original;
}

type Described = DescFile | DescMessage | DescEnum | DescField | DescOneof | DescService;
const isDescribed = (value: unknown): value is Described =>
  typeof value === "object" && value !== null && "kind" in value;

/** 記述の性質のうち、木の下に続くもの。ほかの記述への矢印は名前で比べる。 */
const children = new Set([
  "messages",
  "enums",
  "services",
  "nestedMessages",
  "nestedEnums",
  "fields",
  "oneofs",
  "values",
  "methods",
]);

function flat(desc: Described, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    keys.map((key) => {
      const value: unknown = Reflect.get(desc, key);
      if (typeof value === "function") return [key, String(Reflect.apply(value, desc, []))];
      if (isDescribed(value)) return [key, String(value)];
      if (Array.isArray(value)) {
        return [key, children.has(key) ? value.map((one: Described) => flatAll(one)) : value.map(String)];
      }
      if (typeof value !== "object" || value === null) return [key, value];
      return [
        key,
        Object.entries(value)
          .map(([name, one]) => `${name}: ${one}`)
          .sort(),
      ];
    }),
  );
}

/** protobuf-es の記述の性質。`proto` だけは持たない。 */
const keysOf = (desc: Described): string[] =>
  Object.keys(desc)
    .filter((key) => key !== "proto")
    .sort();
const originalKeys = new Map<string, string[]>();
function flatAll(desc: Described): Record<string, unknown> {
  return flat(desc, originalKeys.get(desc.kind) ?? keysOf(desc));
}

test.each(paths.map((path, i) => [path, i] as const))("%s is described as protobuf-es does", (_, i) => {
  const original = originalOf(files[i]!);
  for (const desc of [original, ...nestedTypes(original)])
    originalKeys.set(desc.kind, keysOf(desc as Described));
  for (const type of nestedTypes(original)) {
    if (type.kind === "message") {
      for (const one of [...type.fields, ...type.oneofs]) originalKeys.set(one.kind, keysOf(one));
    }
    if (type.kind === "enum") originalKeys.set("enum_value", keysOf(type.values[0] as never));
    if (type.kind === "service") originalKeys.set("rpc", keysOf(type.methods[0] as never));
  }
  expect(flatAll(files[i]!)).toEqual(flatAll(original));
});

test("src/gen is what proto/ generates", async () => {
  const fresh = generateMessages();
  expect(paths).toEqual([...fresh.keys()].filter((path) => path.endsWith("_pb.ts")));
  for (const [path, text] of fresh) expect(await Bun.file(join(gen, path)).text()).toBe(text);
}, 60_000);
