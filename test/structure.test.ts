import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

const src = join(import.meta.dir, "..", "src");

/** 部屋 → import してよい部屋。ARCHITECTURE.md の矢印の表と同じもの。 */
const arrows: Record<string, readonly string[]> = {
  gen: ["base/descriptors"],
  base: [],
  tensor: ["base", "gen"],
  savedmodel: ["tensor", "base", "gen"],
  graph: ["tensor", "base", "gen"],
  core: ["base"],
  sources: ["core", "savedmodel/storage", "base", "gen"],
  batching: ["tensor", "base", "gen", "servables/model_servable"],
  servables: ["core", "savedmodel", "graph", "batching", "tensor", "base", "gen"],
  service: ["core", "sources", "servables/model_servable", "tensor", "base", "gen"],
  rest: ["http1", "sockets", "service", "core", "servables/model_servable", "tensor", "base", "gen"],
  grpc: ["http2", "sockets", "service", "core", "servables/model_servable", "tensor", "base", "gen"],
  http1: ["sockets", "base"],
  http2: ["sockets", "base"],
  sockets: ["base"],
  processes: ["service/fleet", "core", "sources/model_config", "base"],
  client: ["tensor", "base", "gen"],
  page: ["../model/iris.csv"],
  openapi: ["page/sample", "page/signature"],
  cli: [
    "client",
    "savedmodel",
    "graph",
    "servables",
    "service",
    "processes",
    "tensor",
    "base",
    "gen",
    "server",
    "options",
    "options_help",
    "assets",
    "version",
    "embedded_storage",
    "payload",
    "page_assets",
  ],
};

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sources(path);
    return /\.tsx?$/.test(entry.name) ? [path] : [];
  });
}

const roomOf = (path: string): string => relative(src, path).split("/")[0]!.replace(/\.ts$/, "");
const importsOf = (text: string): string[] =>
  [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => match[1]!);
const files = sources(src).map((path) => ({ path, room: roomOf(path), text: readFileSync(path, "utf8") }));
const written = files.filter((file) => file.room !== "gen");

test("imports follow the arrows", () => {
  const wrong = files.flatMap(({ path, room, text }) => {
    const allowed = arrows[room];
    if (allowed === undefined) return [];
    return importsOf(text)
      .filter((target) => target.startsWith("."))
      .map((target) => relative(src, join(dirname(path), target)))
      .filter((target) => {
        const to = target.split("/")[0]!.replace(/\.ts$/, "");
        return to !== room && !allowed.some((one) => one === to || target.replace(/\.ts$/, "") === one);
      })
      .map((target) => `${relative(src, path)} -> ${target}`);
  });
  expect(wrong).toEqual([]);
});

test.each([
  ["elysia", ["rest"]],
  ["@grpc/grpc-js", ["client"]],
  ["@tensorflow/", ["graph", "assets"]],
])("%s is imported only by %j", (library, rooms) => {
  const others = written
    .filter(
      ({ room, text }) =>
        !rooms.includes(room) && importsOf(text).some((target) => target.startsWith(library)),
    )
    .map(({ path }) => relative(src, path));
  expect(others).toEqual([]);
});

test("only the edges touch process and console", () => {
  const edges = new Set(["main", "options", "cli", "server", "assets", "page", "page_bundle"]);
  const others = written
    .filter(
      ({ room, text }) =>
        !edges.has(room) &&
        /\b(process\.(?!nextTick|getBuiltinModule)|console\.)/.test(
          text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, ""),
        ),
    )
    .map(({ path }) => relative(src, path));
  expect(others).toEqual([]);
});

test("sources import nothing from scripts or test", () => {
  const others = files.filter(({ text }) =>
    importsOf(text).some((target) => /(^|\/)(scripts|test)\//.test(target)),
  );
  expect(others.map(({ path }) => path)).toEqual([]);
});

test("no module has a loop of its own", () => {
  // 束ねると、すべてのモジュールの頂点は 1 つの長い関数になる。そこで回るものがあれば、エンジンは全体を訳す。
  const others = written.filter(({ room, text }) => room !== "page" && /^(for|while|do)\b/m.test(text));
  expect(others.map(({ path }) => relative(src, path))).toEqual([]);
});
