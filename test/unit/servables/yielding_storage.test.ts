import { describe, expect, test } from "bun:test";
import { memoryStorage } from "../../../src/savedmodel/storage.ts";
import { yieldingStorage } from "../../../src/servables/yielding_storage.ts";

describe("yieldingStorage()", () => {
  test("reads the same, and yields after every piece", async () => {
    let yields = 0;
    const storage = yieldingStorage(memoryStorage(new Map([["/m/f", Uint8Array.of(1, 2, 3)]])), async () => {
      yields++;
    });
    expect(await storage.exists("/m/f")).toBe(true);
    expect(await storage.stat("/m")).toEqual({ kind: "directory", bytes: 0 });
    expect(await storage.list("/m")).toEqual([{ name: "f", kind: "file" }]);
    expect(await storage.realPath("/m/f")).toBe("/m/f");
    expect(yields).toBe(0);
    expect(await storage.read("/m/f")).toEqual(Uint8Array.of(1, 2, 3));
    expect(yields).toBe(1);
    const target = new Uint8Array(2);
    {
      await using file = await storage.open("/m/f");
      expect(file.bytes).toBe(3);
      await file.readInto(1, target);
    }
    expect([target, yields]).toEqual([Uint8Array.of(2, 3), 2]);
  });
});
