import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unzipSync } from "fflate";
import { list } from "tar";
import { writeTarGz, writeZip } from "../../../scripts/release/archive.ts";
import { type Lockfile, productionPackages } from "../../../scripts/release/lockfile.ts";
import runtimes from "../../../scripts/release/runtimes/package.json" with { type: "json" };
import { sbom } from "../../../scripts/release/sbom.ts";
import { releaseTargets } from "../../../scripts/release/targets.ts";

const root = join(import.meta.dir, "../../..");
const lock = (
  dependencies: string[],
  packages: Record<string, [string, Record<string, unknown>?]>,
): Lockfile => ({
  workspaces: { "": { dependencies: Object.fromEntries(dependencies.map((name) => [name, "1"])) } },
  packages: Object.fromEntries(
    Object.entries(packages).map(([key, [id, info = {}]]) => [key, [id, "", info, "sha512-AA=="]]),
  ),
});

describe("productionPackages", () => {
  test("follows dependencies, finds the nearest version, and leaves the rest out", () => {
    const found = productionPackages(
      lock(["a", "@s/b"], {
        a: ["a@1.0.0", { dependencies: { c: "2" } }],
        "@s/b": [
          "@s/b@3.0.0",
          { dependencies: { c: "1" }, peerDependencies: { d: "1", e: "1" }, optionalPeers: ["d"] },
        ],
        c: ["c@1.0.0"],
        "a/c": ["c@2.0.0", { dependencies: { a: "1" } }],
        d: ["d@1.0.0"],
        e: ["e@1.0.0"],
        unused: ["unused@1.0.0"],
      }),
    );
    expect(found.map(({ key, name, version, dependencies }) => [key, name, version, dependencies])).toEqual([
      ["@s/b", "@s/b", "3.0.0", ["c", "e"]],
      ["a", "a", "1.0.0", ["a/c"]],
      ["a/c", "c", "2.0.0", ["a"]],
      ["c", "c", "1.0.0", []],
      ["e", "e", "1.0.0", []],
    ]);
  });

  test("a dependency that is not locked is an error", () => {
    expect(() => productionPackages(lock(["a"], {}))).toThrow("a (needed by the project) is not in bun.lock");
  });
});

test("every target has its runtime, of the version that compiles it", () => {
  expect(releaseTargets.map(({ runtime }) => runtime).sort()).toEqual(
    Object.keys(runtimes.dependencies).sort(),
  );
  const pinned = readFileSync(join(root, ".bun-version"), "utf8").trim();
  expect(new Set(Object.values(runtimes.dependencies))).toEqual(new Set([pinned]));
});

test("the bill of materials is valid CycloneDX and names what the executable holds", async () => {
  const real = Bun.JSONC.parse(readFileSync(join(root, "bun.lock"), "utf8")) as Lockfile;
  const date = new Date("2026-01-02T03:04:05Z");
  const text = await sbom(real, "1.2.3", date);
  const { metadata, components, dependencies } = JSON.parse(text) as {
    metadata: { timestamp: string; component: { version: string } };
    components: { purl: string; licenses?: unknown[]; hashes?: { content: string }[] }[];
    dependencies: { ref: string; dependsOn?: string[] }[];
  };
  expect([metadata.timestamp, metadata.component.version]).toEqual(["2026-01-02T03:04:05.000Z", "1.2.3"]);
  const purls = components.map(({ purl }) => purl);
  expect(purls).toContain(`pkg:npm/bun@${Bun.version}`);
  expect(purls.some((purl) => purl.startsWith("pkg:npm/%40grpc/grpc-js@"))).toBe(true);
  expect(purls.some((purl) => purl.includes("biome"))).toBe(false);
  for (const { purl, licenses, hashes } of components) {
    expect([purl, licenses?.length]).toEqual([purl, 1]);
    if (!purl.includes("/bun@")) expect(hashes![0]!.content).toHaveLength(128);
  }
  expect(dependencies.find(({ ref }) => ref === "iris-serving")!.dependsOn).toContain("bun");
  expect(await sbom(real, "1.2.3", date)).toBe(text);
});

describe("archives", () => {
  const work = mkdtempSync(join(tmpdir(), "archive-"));
  const mtime = new Date("2026-01-02T03:04:06Z");
  mkdirSync(join(work, "d"));
  writeFileSync(join(work, "d", "run"), "binary", { mode: 0o755 });
  writeFileSync(join(work, "d", "note"), "text", { mode: 0o644 });

  test("tar.gz keeps what may be run and is the same twice", async () => {
    await writeTarGz(join(work, "1.tar.gz"), work, "d", mtime);
    await writeTarGz(join(work, "2.tar.gz"), work, "d", mtime);
    expect(readFileSync(join(work, "1.tar.gz")).equals(readFileSync(join(work, "2.tar.gz")))).toBe(true);
    const modes = new Map<string, number>();
    await list({
      file: join(work, "1.tar.gz"),
      onReadEntry: ({ path, mode }) => void modes.set(path, (mode ?? 0) & 0o111),
    });
    expect([modes.get("d/run"), modes.get("d/note")]).toEqual([0o111, 0]);
  });

  test("zip holds the files under one directory", () => {
    writeZip(
      join(work, "d.zip"),
      "d",
      [
        { path: join(work, "d", "run"), executable: true },
        { path: join(work, "d", "note"), executable: false },
      ],
      mtime,
    );
    const files = unzipSync(readFileSync(join(work, "d.zip")));
    expect(
      Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name, bytes.toString()])),
    ).toEqual({
      "d/run": Buffer.from("binary").join(),
      "d/note": Buffer.from("text").join(),
    });
    rmSync(work, { recursive: true });
  });
});
