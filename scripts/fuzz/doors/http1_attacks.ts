import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { mutate } from "../mutate.ts";
import type { Attack, AttackContext } from "./attack.ts";
import { RawConnection } from "./raw_connection.ts";

const PREDICT = "/v1/models/iris:predict";
const ROW = '{"instances":[[5.1,3.5,1.4,0.2]]}';
const HOLD_MS = 1500;
/** 応答の状態の行がこれだけかかるなら、固まっている。 */
const ANSWER_MS = 20_000;

const corpus = readFileSync(join(import.meta.dir, "..", "corpus", "paths.txt"), "utf8")
  .split("\n")
  .filter(Boolean);

function post(body: Uint8Array | string, headers: readonly string[] = [], length?: string): Buffer {
  const bytes = typeof body === "string" ? Buffer.from(body) : Buffer.from(body);
  const head = [
    `POST ${PREDICT} HTTP/1.1`,
    "Host: localhost",
    "Content-Type: application/json",
    `Content-Length: ${length ?? bytes.length}`,
    ...headers,
  ];
  return Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), bytes]);
}

const statusOf = (text: string): string => /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? "no answer";

async function open(
  context: AttackContext,
  first: Uint8Array | string,
  limitMs = 2000,
): Promise<RawConnection> {
  const connection = await RawConnection.open(context.ports.rest);
  await connection.send(first, limitMs);
  return connection;
}

/** 1 度送り、状態を見る。 @param allowed 許される状態(`no answer` は黙って切ること)。 */
const once = (name: string, make: () => Uint8Array | string, allowed?: readonly string[]): Attack => ({
  name,
  run: async (context) => {
    const connection = await open(context, make(), ANSWER_MS);
    await connection.until(
      (one) => one.closed || one.text().includes("\r\n\r\n"),
      allowed === undefined ? 500 : ANSWER_MS,
    );
    const status = statusOf(connection.text());
    connection.close();
    if (allowed !== undefined && !allowed.includes(status)) {
      throw new Error(`answered ${status}, expected ${allowed.join(" or ")}`);
    }
    return status;
  },
});

const holding = (name: string, count: number, first: Uint8Array | string): Attack => ({
  name,
  run: async (context) => {
    const connections = await Promise.all(
      Array.from({ length: count * context.scale }, () => open(context, first)),
    );
    await Bun.sleep(HOLD_MS);
    await context.healthy();
    const closed = connections.filter((connection) => connection.closed).length;
    for (const connection of connections) connection.reset();
    return `${connections.length} held, ${closed} closed by the server`;
  },
});

const megabytes = (count: number, unit: string): string =>
  unit.repeat(Math.ceil((count * 2 ** 20) / unit.length));

export const http1Attacks: readonly Attack[] = [
  once("h1: HTTP/2 preface", () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  once("h1: garbage", () => Uint8Array.from({ length: 4096 }, (_, i) => (i * 37) & 255)),
  once("h1: a request line of 1 MB", () => `GET /${"a".repeat(1 << 20)} HTTP/1.1\r\nHost: a\r\n\r\n`),
  once("h1: a header of 1 MB", () => `GET / HTTP/1.1\r\nHost: a\r\nX: ${"a".repeat(1 << 20)}\r\n\r\n`),
  once("h1: 20000 headers", () => `GET / HTTP/1.1\r\nHost: a\r\n${"X-A: b\r\n".repeat(20_000)}\r\n`),
  once("h1: two lengths", () => post(ROW, ["Content-Length: 5"])),
  once("h1: length and chunks", () => post(`0\r\n\r\n${ROW}`, ["Transfer-Encoding: chunked"])),
  once("h1: negative length", () => post(ROW, [], "-1")),
  once("h1: length that overflows", () => post(ROW, [], "18446744073709551617")),
  once("h1: length of 1 TB", () => post(ROW, [], "1099511627776")),
  once(
    "h1: chunk size that overflows",
    () =>
      `POST ${PREDICT} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n${ROW}\r\n0\r\n\r\n`,
  ),
  once(
    "h1: chunk size that is no number",
    () =>
      `POST ${PREDICT} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n${ROW}\r\n0\r\n\r\n`,
  ),
  once("h1: bare line feeds", () => `GET /v1/models/iris HTTP/1.1\nHost: a\n\n`),
  once("h1: NUL in a header", () => "GET /v1/models/iris HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
  once("h1: no host", () => "GET /v1/models/iris HTTP/1.1\r\n\r\n"),
  once("h1: nested arrays, 4 MB", () => post(`{"instances":${"[".repeat(4 << 20)}`), ["400"]),
  once(
    "h1: nested objects, 4 MB",
    () => post(`{"instances":[${megabytes(4, '{"a":')}1${megabytes(0.8, "}")}`),
    ["400"],
  ),
  once(
    "h1: nested and closed arrays",
    () => post(`{"instances":${"[".repeat(1 << 20)}1${"]".repeat(1 << 20)}}`),
    ["400"],
  ),
  once("h1: a number of 8 MB", () => post(`{"instances":[[${"9".repeat(8 << 20)}]]}`), ["400"]),
  once("h1: a fraction of 8 MB", () => post(`{"instances":[[0.${"3".repeat(8 << 20)},1,1,1]]}`), [
    "200",
    "400",
  ]),
  once("h1: a string of 8 MB", () => post(`{"instances":["${"a".repeat(8 << 20)}"]}`), ["400"]),
  once("h1: 1 MB of escapes", () => post(`{"instances":["${"\\u0041".repeat(200_000)}"]}`), ["400"]),
  once(
    "h1: 200000 names in one object",
    () => post(`{"instances":[{${Array.from({ length: 200_000 }, (_, i) => `"k${i}":1`).join(",")}}]}`),
    ["400"],
  ),
  once(
    "h1: one name 300000 times",
    () => post(`{"instances":[{${Array.from({ length: 300_000 }, () => '"input":1').join(",")}}]}`),
    ["400"],
  ),
  once("h1: a million empty rows", () => post(`{"instances":[${"[],".repeat(1 << 20)}[]]}`), ["400"]),
  once("h1: ragged rows", () => post(`{"instances":[${"[1,2,3,4],".repeat(200_000)}[1]]}`), ["400"]),
  once("h1: 300000 rows", () => post(`{"instances":[${"[1,2,3,4],".repeat(299_999)}[1,2,3,4]]}`), ["200"]),
  once("h1: base64 of 8 MB", () => post(`{"instances":[{"b64":"${"QUJD".repeat(2 << 20)}"}]}`), ["400"]),
  once("h1: a gzip bomb (1 GiB in 1 MB)", () => post(gzipBomb(), ["Content-Encoding: gzip"]), ["400", "413"]),
  once("h1: gzip cut short", () => post(gzipSync(ROW).subarray(0, 20), ["Content-Encoding: gzip"]), ["400"]),
  once("h1: examples, one feature a million times", () =>
    post(`{"examples":[{"a":[${"1,".repeat(1 << 20)}1]}]}`)
      .toString()
      .replace(":predict", ":classify"),
  ),
  {
    name: "h1: pipelined, never read",
    run: async (context) => {
      const connection = await RawConnection.open(context.ports.rest);
      connection.pause();
      const batch = Buffer.concat(Array.from({ length: 100 }, () => post(ROW)));
      let sent = 0;
      while (sent < 50_000 * context.scale && (await connection.send(batch, 500))) sent += 100;
      await context.healthy();
      connection.reset();
      return `${sent} requests sent`;
    },
  },
  {
    name: "h1: large answers, never read",
    run: async (context) => {
      const body = post(`{"instances":[${"[1,2,3,4],".repeat(49_999)}[1,2,3,4]]}`);
      const connections = await Promise.all(
        Array.from({ length: 20 * context.scale }, async () => {
          const connection = await RawConnection.open(context.ports.rest);
          connection.pause();
          await connection.send(body, ANSWER_MS);
          return connection;
        }),
      );
      await Bun.sleep(HOLD_MS);
      await context.healthy();
      for (const connection of connections) connection.reset();
      return `${connections.length} answers`;
    },
  },
  {
    name: "h1: half-closed after the request",
    run: async (context) => {
      let answered = 0;
      for (let i = 0; i < 50; i++) {
        const connection = await open(context, post(ROW));
        connection.halfClose();
        await connection.until((one) => one.closed || one.text().includes("predictions"), 1000);
        if (connection.text().includes("predictions")) answered++;
        connection.close();
      }
      return `${answered} of 50 answered`;
    },
  },
  {
    name: "h1: gone before the answer",
    run: async (context) => {
      for (let i = 0; i < 200 * context.scale; i++) (await open(context, post(ROW))).reset();
      await context.healthy();
      return "done";
    },
  },
  {
    name: "h1: gone in the middle of the body",
    run: async (context) => {
      for (let i = 0; i < 200 * context.scale; i++) (await open(context, post(ROW, [], "100000"))).reset();
      await context.healthy();
      return "done";
    },
  },
  {
    name: "h1: a chunk a byte",
    run: async (context) => {
      const head = `POST ${PREDICT} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`;
      const connection = await open(context, head);
      const spaces = Buffer.from("1\r\n \r\n".repeat(10_000));
      for (let i = 0; i < 100 * context.scale && (await connection.send(spaces)); i++);
      await connection.send(`${ROW.length.toString(16)}\r\n${ROW}\r\n0\r\n\r\n`);
      await connection.until((one) => one.closed || one.text().includes("\r\n\r\n"), ANSWER_MS);
      await context.healthy();
      const status = statusOf(connection.text());
      connection.close();
      return status;
    },
  },
  holding("h1: silent connections", 300, ""),
  holding("h1: slow headers", 300, "POST /v1/models/iris:predict HTTP/1.1\r\nHost: localhost\r\nX-Slow: "),
  holding("h1: slow bodies", 300, post(ROW, [], "1000000")),
  {
    name: "h1: mutated requests",
    run: async (context) => {
      const { random } = context;
      const statuses = new Map<string, number>();
      const requests = 300 * context.scale;
      for (let i = 0; i < requests; i++) {
        const path = random.pick(corpus);
        const good = Buffer.concat([
          Buffer.from(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n`),
          post(ROW, random.below(4) === 0 ? ["Content-Encoding: gzip"] : []),
        ]);
        const connection = await open(context, random.below(8) === 0 ? good : mutate(random, good));
        await connection.until((one) => one.closed || one.text().includes("\r\n\r\n"), 30);
        const status = statusOf(connection.text());
        // 500 は、客の書いたものに驚いたということ。
        if (status === "500") throw new Error(`answered 500 to ${JSON.stringify(good.toString("latin1"))}`);
        if (/root:.*:0:0:/.test(connection.text())) throw new Error(`leaked a file for ${path}`);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        connection.reset();
      }
      await context.healthy();
      return [...statuses].map(([status, count]) => `${status} ${count}`).join(", ");
    },
  },
];

function gzipBomb(): Buffer {
  const block = Buffer.alloc(64 << 20, 0x20);
  // gzip は連結できる。
  return Buffer.concat(Array.from({ length: 16 }, () => gzipSync(block, { level: 9 })));
}
