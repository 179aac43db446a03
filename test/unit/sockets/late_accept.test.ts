import { expect, test } from "bun:test";
import { lateAccept } from "../../../src/sockets/late_accept.ts";
import type { Accept, Transport } from "../../../src/sockets/transport.ts";

const seen: string[] = [];
const note =
  (name: string): Accept =>
  () => ({
    data: (chunk) => void seen.push(`${name} ${chunk.join()}`),
    drained: () => void seen.push(`${name} drained`),
    ended: () => void seen.push(`${name} ended`),
    closed: () => void seen.push(`${name} closed`),
  });
const transport: Transport = {
  write: () => true,
  pause() {},
  resume() {},
  end() {},
  destroy: () => void seen.push("destroyed"),
};
const neverFails = (error: unknown): void => {
  throw error;
};

/** 読み込みの終わりを手で決める。 */
function setUp(onFailure = neverFails) {
  seen.length = 0;
  let loads = 0;
  const { promise, resolve, reject } = Promise.withResolvers<Accept>();
  const accept = lateAccept(() => {
    loads++;
    return promise;
  }, onFailure);
  return { accept, resolve, reject, loads: () => loads };
}

test("what arrives while the layer above is loaded is handed on in order", async () => {
  const { accept, resolve, loads } = setUp();
  expect(loads()).toBe(0);
  const first = accept(transport);
  const second = accept(transport);
  first.data(Uint8Array.of(1));
  second.drained();
  first.data(Uint8Array.of(2));
  first.ended();
  expect([loads(), seen]).toEqual([1, []]);
  resolve(note("a"));
  await Promise.resolve();
  expect(seen).toEqual(["a 1", "a 2", "a ended"]);
  first.data(Uint8Array.of(3));
  second.ended();
  first.drained();
  first.closed();
  expect(seen.slice(3)).toEqual(["a 3", "a ended", "a drained", "a closed"]);
  accept(transport).data(Uint8Array.of(4));
  expect([seen.at(-1), loads()]).toEqual(["a 4", 1]);
});

test("a connection that closes before is never accepted", async () => {
  const { accept, resolve } = setUp();
  const connection = accept(transport);
  connection.data(Uint8Array.of(1));
  connection.closed();
  resolve(note("a"));
  await Promise.resolve();
  expect(seen).toEqual([]);
});

test("when the layer cannot be loaded, the connection is cut and someone is told", async () => {
  const failures: unknown[] = [];
  const { accept, reject } = setUp((error) => void failures.push(error));
  accept(transport);
  reject("why");
  await Promise.resolve();
  await Promise.resolve();
  expect([seen, failures]).toEqual([["destroyed"], ["why"]]);
});
