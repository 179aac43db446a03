import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { createAuthority, issue } from "../helpers/certificates.ts";
import { FakeServable, halfPlusTwo, info, signature } from "../helpers/fake_models.ts";
import { type RestSetup, startRest } from "../helpers/start_rest.ts";

const MODEL = "/v1/models/half_plus_two";
const PREDICT = `${MODEL}:predict`;

let rest: RestSetup;
beforeAll(async () => {
  rest = await startRest();
});
afterAll(() => rest.door.stop(0));

/** 送り、切られるか、書く側を閉じて答えが終わるまでに届いたもの。 */
async function talk(bytes: string | readonly string[], port = rest.port, closes = true): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let text = "";
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  socket.on("error", () => socket.destroy());
  socket.on("end", () => socket.end());
  socket.on("close", () => resolve(text));
  for (const part of typeof bytes === "string" ? [bytes] : bytes) {
    socket.write(part, "latin1");
    await new Promise((turn) => setImmediate(turn));
  }
  // 待っている間に書く側を閉じると、去ったとみなされる。閉じるよう頼んだ答えを待つ。
  if (closes) socket.write("GET /v1/models/x HTTP/1.1\r\nConnection: close\r\n\r\n");
  return promise;
}

const post = (body: string, more = ""): string =>
  `POST ${PREDICT} HTTP/1.1\r\nHost: h\r\n${more}Content-Length: ${body.length}\r\n\r\n${body}`;
/** 答えの並び。 */
const statuses = (text: string): string[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d+ [^\r]*)\r\n/g)].map(([, status]) => status!);

describe("requests on one connection", () => {
  test("are answered in order, however they are cut", async () => {
    const bytes = `${post('{"instances":[1]}')}GET ${MODEL} HTTP/1.1\r\n\r\n${post('{"instances":[3]}')}`;
    for (const size of [bytes.length, 1, 13]) {
      const parts = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.slice(i * size, (i + 1) * size),
      );
      const text = await talk(parts);
      expect(statuses(text)).toEqual(["200 OK", "200 OK", "200 OK", "404 Not Found"]);
      expect(text.indexOf("2.5")).toBeLessThan(text.indexOf("AVAILABLE"));
      expect(text.indexOf("AVAILABLE")).toBeLessThan(text.indexOf("3.5"));
    }
  });

  test("wait for the one before, even when it is slow", async () => {
    const gate = Promise.withResolvers<void>();
    const slow = new FakeServable(
      { name: "slow", version: 1n },
      [signature("serving_default", { x: info("x:0", "float") }, { y: info("y:0", "float") })],
      (feeds) => new Map([["y:0", feeds.get("x:0")!]]),
    );
    const { prepare } = slow;
    slow.prepare = (feeds, fetches) => {
      const run = prepare.call(slow, feeds, fetches);
      return { ...run, run: (inputs, context) => gate.promise.then(() => run.run(inputs, context)) };
    };
    await using other = await startRest({ servables: [slow, halfPlusTwo()] });
    const first = `POST /v1/models/slow:predict HTTP/1.1\r\nContent-Length: 17\r\n\r\n{"instances":[7]}`;
    const talking = talk([first, post('{"instances":[1]}')], other.port);
    gate.resolve();
    const text = await talking;
    expect(statuses(text)).toEqual(["200 OK", "200 OK", "404 Not Found"]);
    expect(text.indexOf("7.0")).toBeLessThan(text.indexOf("2.5"));
  });

  test("chunked bodies", async () => {
    const chunked = `POST ${PREDICT} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"ins\r\nc;x=y\r\ntances":[1]}\r\n0\r\n\r\n`;
    for (const text of [await talk(chunked), await talk([...chunked])]) {
      expect(statuses(text)).toEqual(["200 OK", "404 Not Found"]);
      expect(text).toContain("2.5");
    }
  });

  test("empty lines between requests are skipped", async () => {
    expect(statuses(await talk(`${post('{"instances":[1]}')}\r\n\r\n`))).toEqual(["200 OK", "404 Not Found"]);
  });

  test("100 Continue is sent to whom waits for it, once", async () => {
    const head = `POST ${PREDICT} HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 17\r\n\r\n`;
    expect(statuses(await talk(`${head}{"instances":[1]}`, rest.port, false))).toEqual(["200 OK"]);
    const { promise, resolve } = Promise.withResolvers<string>();
    let text = "";
    const socket = connect(rest.port, "127.0.0.1", () => socket.write(head));
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (text === "HTTP/1.1 100 Continue\r\n\r\n") socket.write('{"instances":[1]}');
    });
    socket.on("close", () => resolve(text));
    expect(statuses(await promise)).toEqual(["100 Continue", "200 OK"]);
  });

  test("a request without a body waits for nothing, and the connection goes on", async () => {
    const bytes = `GET ${MODEL} HTTP/1.1\r\nExpect: 100-continue\r\n\r\n`;
    expect(statuses(await talk(bytes))).toEqual(["200 OK", "404 Not Found"]);
  });

  test("a refused body is read past", async () => {
    await using closed = await startRest({ authorize: (key) => key === "Bearer k" });
    const body = "x".repeat(300_000);
    const text = await talk(
      [post(body), post('{"instances":[1]}', "Authorization: Bearer k\r\n")],
      closed.port,
    );
    expect(statuses(text).slice(0, 2)).toEqual(["401 Unauthorized", "200 OK"]);
  });

  test("HTTP/1.0 is closed after the answer, unless it asks", async () => {
    const text = await talk(`GET ${MODEL} HTTP/1.0\r\n\r\n`, rest.port, false);
    expect(statuses(text)).toEqual(["200 OK"]);
    expect(text).toContain("Connection: close");
    const kept = await talk(`GET ${MODEL} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`);
    expect(statuses(kept)).toEqual(["200 OK", "404 Not Found"]);
    expect(kept).toContain("Connection: keep-alive");
  });
});

describe("what upstream's library answers", () => {
  const page = (status: number, reason: string) =>
    `<HTML><HEAD>\n<TITLE>${status} ${reason}</TITLE>\n</HEAD><BODY>\n<H1>${reason}</H1>\n</BODY></HTML>\n`;

  test.each([
    ["a request that is none", "nonsense\r\n\r\n", 400, "Bad Request"],
    [
      "an expectation that is unknown",
      `POST ${PREDICT} HTTP/1.1\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\n{}`,
      417,
      "Expectation Failed",
    ],
    ["a raw space", "GET /v1/a b HTTP/1.1\r\n\r\n", 400, "Bad Request"],
    ["a bracket", "GET /v1/models/a[0] HTTP/1.1\r\n\r\n", 400, "Bad Request"],
    ["a caret", "GET /v1/models/a^b HTTP/1.1\r\n\r\n", 400, "Bad Request"],
    ["a bad length", "POST /v1/a HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "Bad Request"],
    ["another version", "GET / HTTP/2.0\r\n\r\n", 400, "Bad Request"],
    ["TRACE", "TRACE /v1/models/a HTTP/1.1\r\n\r\n", 501, "Not Implemented"],
    ["a method nobody knows", "BREW /pot HTTP/1.1\r\n\r\n", 501, "Not Implemented"],
    ["a path outside", "GET /v2/models HTTP/1.1\r\n\r\n", 404, "Not Found"],
    ["two slashes", "GET //v1/models/a HTTP/1.1\r\n\r\n", 404, "Not Found"],
    ["a target without a slash", "GET v1 HTTP/1.1\r\n\r\n", 404, "Not Found"],
  ])("to %s", async (_, bytes, status, reason) => {
    const text = await talk(bytes, rest.port, false);
    const [head, body] = text.split("\r\n\r\n");
    expect(head).toStartWith(`HTTP/1.1 ${status} ${reason}\r\nContent-Type: text/html\r\nDate: `);
    expect(head).toEndWith(`Content-Length: ${page(status, reason).length}\r\nConnection: close`);
    expect(body).toBe(page(status, reason));
  });

  test("dots in a path are not folded", async () => {
    const text = await talk(
      "GET /v1/models/../models/half_plus_two HTTP/1.1\r\nConnection: close\r\n\r\n",
      rest.port,
      false,
    );
    expect(text).toContain('"error": "Malformed request: GET /v1/models/../models/half_plus_two"');
  });

  test("HEAD has no body", async () => {
    const text = await talk(`HEAD ${MODEL} HTTP/1.1\r\nConnection: close\r\n\r\n`, rest.port, false);
    expect(statuses(text)).toEqual(["400 Bad Request"]);
    expect(text).toEndWith("\r\n\r\n");
  });

  test.each([
    [13, 431],
    [20_000, 431],
  ])("a head that does not end within the limit (%p)", async (_, status) => {
    const bytes = `GET / HTTP/1.1\r\nX: ${"a".repeat(20_000)}`;
    expect(statuses(await talk(bytes, rest.port, false))).toEqual([`${status} Client Error`]);
  });

  test("a body above the limit is refused before it comes", async () => {
    const text = await talk(`POST ${PREDICT} HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n`, rest.port, false);
    expect(statuses(text)).toEqual(["413 Request Entity Too Large"]);
  });
});

/** 1 本の接続に届いた答えの本文。 */
function bodiesOf(bytes: Buffer): string[] {
  const bodies: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const start = bytes.indexOf("\r\n\r\n", at) + 4;
    const [, length] = /Content-Length: (\d+)/.exec(bytes.toString("latin1", at, start))!;
    at = start + Number(length);
    bodies.push(bytes.toString("latin1", start, at));
  }
  return bodies;
}

test.each([false, true])(
  "long answers to a client that does not read are its own, over TLS: %p",
  async (isTls) => {
    const authority = await createAuthority("authority");
    const { cert, key } = await issue(authority, "server");
    const tls = { cert, key, clientCa: "", clientVerify: false };
    await using other = await startRest(isTls ? { tls } : {});
    const ROWS = 20_000;
    const bodyOf = (value: number): string => `{"instances":[${new Array(ROWS).fill(value).join(",")}]}`;
    const answerOf = (value: number): string =>
      `{\n    "predictions": [${new Array(ROWS).fill((value / 2 + 2).toFixed(1)).join(", ")}\n    ]\n}`;
    const silent = isTls
      ? connectTls({ port: other.port, host: "localhost", ca: authority.cert })
      : connect({ port: other.port, host: "localhost" });
    silent.pause();
    const values = Array.from({ length: 120 }, (_, i) => 2 * (i % 8));
    for (const value of values) silent.write(post(bodyOf(value)));
    // 読まれない答えが送りかけの間に、ほかの客の答えが同じ場所を通る。
    for (let i = 0; i < 20; i++) {
      const response = await fetch(`${other.origin}${PREDICT}`, {
        method: "POST",
        body: bodyOf(99),
        tls: { ca: authority.cert },
      });
      expect(await response.text()).toBe(answerOf(99));
    }
    const chunks: Buffer[] = [];
    silent.on("data", (chunk: Buffer) => chunks.push(chunk));
    silent.resume();
    silent.write(`GET ${MODEL} HTTP/1.1\r\nConnection: close\r\n\r\n`);
    await new Promise((resolve) => silent.once("close", resolve));
    const bodies = bodiesOf(Buffer.concat(chunks));
    expect(bodies.length).toBe(values.length + 1);
    const wrong = values.findIndex((value, i) => bodies[i] !== answerOf(value));
    expect(wrong).toBe(-1);
  },
);
