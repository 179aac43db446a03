import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import {
  diskStorage,
  memoryStorage,
  READ_CHUNK_BYTES,
  type Storage,
} from "../../../src/savedmodel/storage.ts";

const root = mkdtempSync(`${tmpdir()}/storage_`);
afterAll(() => rmSync(root, { recursive: true }));
const big = new Uint8Array(READ_CHUNK_BYTES + 5).map((_, i) => i * 7);
mkdirSync(`${root}/m/1`, { recursive: true });
mkdirSync(`${root}/empty`);
writeFileSync(`${root}/m/1/big`, big);
writeFileSync(`${root}/m/note`, "note");
symlinkSync("loop", `${root}/loop`);

const memory = memoryStorage(
  new Map([
    [`${root}/m/1/big`, big],
    [`${root}/m/note`, new TextEncoder().encode("note")],
  ]),
);

const message = (promise: Promise<unknown>): Promise<string> => promise.then(String, String);

describe.each<[string, Storage]>([
  ["disk", diskStorage],
  ["memory", memory],
])("%s", (_, storage) => {
  test("あるものと無いもの", async () => {
    expect(await storage.exists(`${root}/m`)).toBe(true);
    expect(await storage.exists(`${root}/m/1/big`)).toBe(true);
    expect(await storage.exists(`${root}/m/2`)).toBe(false);
    expect(await storage.exists(`${root}/m/note/x`)).toBe(false);
  });

  test("種類と大きさ", async () => {
    expect((await storage.stat(`${root}/m`)).kind).toBe("directory");
    expect(await storage.stat(`${root}/m/1/big`)).toEqual({ kind: "file", bytes: big.length });
    expect(await message(storage.stat(`${root}/x`))).toBe(`NOT_FOUND: ${root}/x; No such file or directory`);
  });

  test("直下の名前", async () => {
    const entries = await storage.list(`${root}/m`);
    expect([...entries].sort((a, b) => a.name.localeCompare(b.name))).toEqual([
      { name: "1", kind: "directory" },
      { name: "note", kind: "file" },
    ]);
    expect(await message(storage.list(`${root}/x`))).toBe(`NOT_FOUND: ${root}/x; No such file or directory`);
    expect(await message(storage.list(`${root}/m/note`))).toBe(
      `FAILED_PRECONDITION: ${root}/m/note; Not a directory`,
    );
  });

  test("全部読む", async () => {
    expect(await storage.read(`${root}/m/1/big`)).toEqual(big);
    expect(await message(storage.read(`${root}/m/1/big`, 10))).toBe(
      `RESOURCE_EXHAUSTED: ${root}/m/1/big; File is ${big.length} bytes, at most 10 are read`,
    );
    expect(await message(storage.read(`${root}/m`))).toBe(`FAILED_PRECONDITION: ${root}/m; Is a directory`);
    expect(await message(storage.read(`${root}/x`))).toBe(`NOT_FOUND: ${root}/x; No such file or directory`);
  });

  test("一部を読む", async () => {
    await using file = await storage.open(`${root}/m/1/big`);
    expect(file.bytes).toBe(big.length);
    const target = new Uint8Array(4);
    await file.readInto(READ_CHUNK_BYTES - 2, target);
    expect(target).toEqual(big.slice(READ_CHUNK_BYTES - 2, READ_CHUNK_BYTES + 2));
    expect(await message(file.readInto(big.length - 2, target))).toBe(
      `DATA_LOSS: ${root}/m/1/big; File ends before byte ${big.length + 2}`,
    );
  });

  test("絶対パス", async () => {
    expect(await storage.realPath(`${root}/m/../m/note`)).toBe(`${root}/m/note`);
    expect(await message(storage.realPath(`${root}/x`))).toBe(
      `NOT_FOUND: ${root}/x; No such file or directory`,
    );
  });
});

test("ディスクの、ふつうでないもの", async () => {
  expect(await diskStorage.list(`${root}/empty`)).toEqual([]);
  expect(await message(diskStorage.read("/dev/null"))).toBe(
    "FAILED_PRECONDITION: /dev/null; Not a regular file",
  );
  expect(await message(diskStorage.stat(`${root}/loop`))).toBe(
    `INVALID_ARGUMENT: ${root}/loop; Too many levels of symbolic links`,
  );
  expect(await message(diskStorage.exists(`${root}/loop`))).toContain("Too many levels");
  expect(await message(diskStorage.stat(`${root}/${"x".repeat(300)}`))).toBe(
    `UNKNOWN: ${root}/${"x".repeat(300)}; ENAMETOOLONG`,
  );
  expect(await message(diskStorage.stat(`${root}/m/note/x`))).toBe(
    `FAILED_PRECONDITION: ${root}/m/note/x; Not a directory`,
  );
});
