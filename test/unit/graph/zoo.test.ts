import { describe, expect, test } from "bun:test";
import { wasmFiles } from "../../../src/assets.ts";
import { Backend } from "../../../src/graph/backend.ts";
import { compareZoo, openZoo, readZoo, zooNames } from "../../helpers/zoo.ts";

/** TensorFlow が書いたモデルを読み、TensorFlow の数と比べる。 */
async function check(name: string, backend: Backend, deviceWork: number): Promise<void> {
  const model = readZoo(name);
  const open = await openZoo(name, model.tags, backend, deviceWork);
  try {
    expect(compareZoo(open, model)).toEqual([]);
  } finally {
    open.session.dispose();
  }
}

test("the zoo has at least 60 models with at least 3 cases each", () => {
  expect(zooNames.length).toBeGreaterThanOrEqual(60);
  for (const name of zooNames) expect(readZoo(name).cases.length).toBeGreaterThanOrEqual(3);
});

describe("zoo on the host", () => {
  const backend = new Backend(wasmFiles);
  for (const name of zooNames) {
    test(name, () => check(name, backend, Number.POSITIVE_INFINITY));
  }
});

describe("zoo on wasm wherever there is a kernel", () => {
  const backend = new Backend(wasmFiles);
  for (const name of zooNames) {
    test(name, async () => {
      await backend.boot();
      await check(name, backend, 0);
    });
  }
});
