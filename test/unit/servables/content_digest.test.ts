import { describe, expect, test } from "bun:test";
import { memoryStorage } from "../../../src/savedmodel/storage.ts";
import { digestDirectory } from "../../../src/servables/content_digest.ts";

const never = new AbortController().signal;
const bytes = (text: string) => new TextEncoder().encode(text);
const sha256 = (body: Uint8Array | string) => new Bun.CryptoHasher("sha256").update(body).digest("hex");

describe("digestDirectory()", () => {
  test("is that of sha256sum's sorted list of the files", async () => {
    const big = new Uint8Array(9 * 2 ** 20).fill(7);
    const storage = memoryStorage(
      new Map([
        ["/m/1/saved_model.pb", bytes("graph")],
        ["/m/1/variables/variables.data-00000-of-00001", big],
        ["/m/1/variables/variables.index", bytes("index")],
        ["/m/1/a/empty", new Uint8Array(0)],
        ["/m/2/saved_model.pb", bytes("other")],
      ]),
    );
    expect(await digestDirectory(storage, "/m/1", never)).toBe(
      sha256(
        `${sha256("")}  a/empty\n${sha256("graph")}  saved_model.pb\n` +
          `${sha256(big)}  variables/variables.data-00000-of-00001\n${sha256("index")}  variables/variables.index\n`,
      ),
    );
  });

  test("stops with the signal, and fails with the storage", async () => {
    const storage = memoryStorage(new Map([["/m/1/f", bytes("x")]]));
    await expect(digestDirectory(storage, "/m/1", AbortSignal.abort("unwanted"))).rejects.toBe("unwanted");
    await expect(digestDirectory(storage, "/m/2", never)).rejects.toThrow("/m/2");
  });
});
