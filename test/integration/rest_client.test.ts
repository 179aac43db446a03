import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Code, StatusError } from "../../src/base/status.ts";
import { RestClient } from "../../src/client/rest_client.ts";
import { FakeServable, halfPlusTwo, info, signature } from "../helpers/fake_models.ts";
import { type RestSetup, startRest } from "../helpers/start_rest.ts";

/** 入力をそのまま返す。 */
const echo = new FakeServable(
  { name: "echo/ü", version: 9223372036854775807n },
  [
    signature("serving_default", { x: info("x:0", "int64") }, { y: info("x:0", "int64") }),
    signature("bytes", { x_bytes: info("s:0", "string") }, { x_bytes: info("s:0", "string") }),
    signature(
      "two",
      { a: info("x:0", "int64"), b: info("s:0", "string") },
      { a: info("x:0", "int64"), b: info("s:0", "string") },
    ),
  ],
  (feeds) => feeds,
);

let rest: RestSetup;
let client: RestClient;
beforeAll(async () => {
  rest = await startRest({ servables: [halfPlusTwo(), echo] });
  rest.models.labels.set("stable", 123n);
  client = new RestClient({ origin: rest.origin });
});
afterAll(() => rest[Symbol.asyncDispose]());

const half = { name: "half_plus_two" };
const echoed = { name: "echo/ü" };

describe("RestClient gets", () => {
  test("rows and columns", async () => {
    expect(await client.predict(half, { instances: [1, Number.NaN, Number.NEGATIVE_INFINITY] })).toEqual([
      2.5,
      Number.NaN,
      Number.NEGATIVE_INFINITY,
    ]);
    expect(
      await client.predict({ ...half, version: 123n }, { inputs: { x: Float32Array.of(1, 2) } }),
    ).toEqual([2.5, 3]);
    expect(await client.predict({ ...half, label: "stable" }, { inputs: 3 })).toBe(3.5);
  });
  test("int64 and bytes exactly, names escaped", async () => {
    expect(await client.predict(echoed, { instances: [9223372036854775807n, -1] })).toEqual([
      9223372036854775807n,
      -1,
    ]);
    const bytes = Uint8Array.of(255, 0);
    expect(await client.predict({ ...echoed, signatureName: "bytes" }, { instances: [bytes] })).toEqual([
      { b64: "/wA=" },
    ]);
    expect(
      await client.predict({ ...echoed, signatureName: "two" }, { instances: [{ a: 1, b: "é" }] }),
    ).toEqual([{ a: 1, b: "é" }]);
  });
  test("classes and values", async () => {
    const examples = [{ x: 20.5 }, { x: 0.5 }];
    expect(await client.classify({ ...half, signatureName: "classify_x_to_y" }, { examples })).toEqual([
      [["", 12.25]],
      [["", 2.25]],
    ]);
    expect(
      await client.regress(
        { ...half, signatureName: "regress_x_to_y" },
        { examples: [{}], context: { x: 0.5 } },
      ),
    ).toEqual([2.25]);
  });
  test("metadata", async () => {
    const { model, signatures } = await client.getModelMetadata(echoed);
    expect(model).toEqual({ name: "echo/ü", version: 9223372036854775807n, signatureName: "" });
    expect([...signatures.keys()]).toEqual(["bytes", "serving_default", "two"]);
    expect(signatures.get("two")?.inputs.get("b")).toEqual(info("s:0", "string"));
  });
  test("states", async () => {
    expect(await client.getModelStatus(half)).toEqual([
      { version: 123n, state: "AVAILABLE", code: Code.OK, message: "" },
    ]);
  });
});

describe("RestClient fails with", () => {
  const failureOf = async (work: Promise<unknown>): Promise<string> => {
    try {
      return JSON.stringify(await work);
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(StatusError);
      return String(thrown);
    }
  };

  test("the words of the server", async () => {
    expect(await failureOf(client.predict({ name: "nope" }, { instances: [1] }))).toBe(
      "NOT_FOUND: Servable not found for request: Latest(nope)",
    );
    expect(await failureOf(client.predict(half, { instances: ["a"] }))).toStartWith(
      "INVALID_ARGUMENT: Failed to process element: 0 of 'instances' list.",
    );
    expect(await failureOf(client.getModelStatus({ ...half, version: 1n }))).toBe(
      "NOT_FOUND: Could not find version 1 of model half_plus_two",
    );
    expect(await failureOf(client.getModelStatus({ ...half, version: 1n << 64n }))).toBe(
      "INVALID_ARGUMENT: The server answered HTTP 400",
    );
  });

  test("DEADLINE_EXCEEDED, CANCELLED and UNAVAILABLE of its own", async () => {
    await using silent = await startSilent();
    const slow = new RestClient({ origin: silent.origin, timeoutMs: 1 });
    expect(await failureOf(slow.getModelStatus(half))).toBe("DEADLINE_EXCEEDED: Deadline Exceeded");
    const aborter = new AbortController();
    const call = failureOf(
      client.predict(half, { instances: [1] }, { signal: aborter.signal, timeoutMs: 60_000 }),
    );
    aborter.abort();
    expect(await call).toBe("CANCELLED: Cancelled");
    const gone = new RestClient({ origin: "http://127.0.0.1:1" });
    expect(await failureOf(gone.getModelStatus(half))).toBe(
      "UNAVAILABLE: Could not reach http://127.0.0.1:1",
    );
  });

  test("INTERNAL when the answer is something else", async () => {
    await using other = startOther('{"hello": 1}');
    const confused = new RestClient({ origin: other.origin });
    expect(await failureOf(confused.predict(half, { inputs: 1 }))).toBe(
      "INTERNAL: The server answered without outputs",
    );
    expect(await failureOf(confused.getModelStatus(half))).toBe(
      "INTERNAL: The server answered without model_version_status",
    );
    await using html = startOther("<p>");
    expect(await failureOf(new RestClient({ origin: html.origin }).getModelStatus(half))).toBe(
      "INTERNAL: The server answered HTTP 200",
    );
  });
});

test("RestClient sends its headers", async () => {
  await using locked = await startRest({ authorize: (value) => value === "Bearer t" });
  const stranger = new RestClient({ origin: locked.origin });
  expect(stranger.getModelStatus(half)).rejects.toThrow("Missing or invalid bearer token");
  const known = new RestClient({ origin: locked.origin, headers: { Authorization: "Bearer t" } });
  expect(await known.getModelStatus(half)).toHaveLength(1);
});

function startOther(body: string) {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response(body) });
  return { origin: `http://127.0.0.1:${server.port}`, [Symbol.asyncDispose]: () => server.stop(true) };
}

/** 受けるが答えない。 */
async function startSilent() {
  const held = Promise.withResolvers<Response>();
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => held.promise });
  return {
    origin: `http://127.0.0.1:${server.port}`,
    [Symbol.asyncDispose]: async () => {
      held.resolve(new Response());
      await server.stop(true);
    },
  };
}
