import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { type Clock, systemClock } from "../../src/base/clock.ts";
import { Code, codeName, StatusError } from "../../src/base/status.ts";
import { Admission } from "../../src/service/admission.ts";
import { formatPrometheusPage } from "../../src/service/prometheus_exporter.ts";
import { tensor } from "../../src/tensor/tensor.ts";
import { FakeHost } from "../helpers/fake_host.ts";
import { FakeServable, halfPlusTwo, info, signature } from "../helpers/fake_models.ts";
import { type RestSetup, startRest } from "../helpers/start_rest.ts";

const METRICS = "/monitoring/prometheus/metrics";

/** いろいろな失敗と型のモデル。 */
function oddities(): FakeServable {
  const x = info("x:0", "float");
  const out = (name: string, dtype: "float" | "half" | "string" = "float") => info(`${name}:0`, dtype);
  return new FakeServable(
    { name: "odd", version: 1n },
    [
      signature("serving_default", { x }, { y: out("y") }),
      signature("none", {}, { y: out("y") }),
      signature("half", { x }, { y: out("half", "half") }),
      signature("two", { a: info("a:0", "float"), b: info("b:0", "float") }, { y: out("y") }),
    ],
    (feeds) => {
      const first = (feeds.get("x:0")?.data[0] as number | undefined) ?? 0;
      if (first > 0 && first < 17) throw new StatusError(first as Code, `code ${codeName(first)}`);
      if (first === 99) throw new Error("secret");
      return new Map([
        ["y:0", tensor("float", [1], Float32Array.of(first))],
        ["half:0", tensor("half", [1], Float32Array.of(1))],
      ]);
    },
  );
}

let rest: RestSetup;
beforeAll(async () => {
  const half = halfPlusTwo();
  rest = await startRest({
    servables: [half, halfPlusTwo("a/b", 7n), oddities()],
    metrics: { paths: [METRICS], print: () => formatPrometheusPage(rest.host.metrics.snapshot()) },
    pages: async () => new Map([["/", { contentType: "text/html; charset=utf-8", body: "<p>hello</p>" }]]),
  });
  rest.models.labels.set("stable", 123n);
});
afterAll(() => rest[Symbol.asyncDispose]());

interface Reply {
  readonly status: number;
  readonly type: string | null;
  readonly body: string;
}

async function call(
  method: string,
  path: string,
  body?: string | Buffer,
  headers: Record<string, string> = {},
): Promise<Reply> {
  const response = await fetch(rest.origin + path, { method, body, headers });
  return { status: response.status, type: response.headers.get("content-type"), body: await response.text() };
}

const json = (status: number, body: string): Reply => ({ status, type: "application/json", body });
const error = (status: number, message: string): Reply =>
  json(status, `{\n    "error": ${JSON.stringify(message)}\n}`);
const malformed = (method: string, path: string): Reply => error(400, `Malformed request: ${method} ${path}`);
const page = (status: number, phrase: string): Reply => ({
  status,
  type: "text/html",
  body: `<HTML><HEAD>\n<TITLE>${status} ${phrase}</TITLE>\n</HEAD><BODY>\n<H1>${phrase}</H1>\n</BODY></HTML>\n`,
});

const MODEL = "/v1/models/half_plus_two";
const rows = (text: string): string => `{\n    "predictions": [${text}\n    ]\n}`;
const version123 = `{
 "model_version_status": [
  {
   "version": "123",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  }
 ]
}
`;

test("lists the models with their versions and states", async () => {
  const reply = await call("GET", "/v1/models");
  expect(reply).toMatchObject({ status: 200, type: "application/json" });
  const available = (version: string) => ({
    version,
    state: "AVAILABLE",
    status: { error_code: "OK", error_message: "" },
    sha256: "0123456789abcdef".repeat(4),
  });
  expect(JSON.parse(reply.body)).toEqual({
    models: [
      { name: "half_plus_two", ready: true, versions: [available("123")] },
      { name: "a/b", ready: true, versions: [available("7")] },
      { name: "odd", ready: true, versions: [available("1")] },
    ],
  });
});

test("lists a model that failed, and one of which no version was seen", async () => {
  await using setup = await startRest({ servables: [halfPlusTwo(), halfPlusTwo("unseen", 1n)] });
  setup.models.states.length = 0;
  const error = new StatusError(Code.INTERNAL, "broken");
  setup.models.states.push({ id: { name: "half_plus_two", version: 123n }, state: "END", error });
  const reply = await fetch(`${setup.origin}/v1/models`);
  expect(await reply.json()).toEqual({
    models: [
      {
        name: "half_plus_two",
        ready: false,
        versions: [
          { version: "123", state: "END", status: { error_code: "INTERNAL", error_message: "broken" } },
        ],
      },
      { name: "unseen", ready: false, versions: [] },
    ],
  });
});

describe("REST answers", () => {
  const table: [string, string, string | undefined, Reply][] = [
    ["GET", "/v1/foo", undefined, malformed("GET", "/v1/foo")],
    ["POST", "/v1/foo", "", malformed("POST", "/v1/foo")],
    ["GET", "/v1/", undefined, malformed("GET", "/v1/")],
    ["GET", "/v1/models/", undefined, malformed("GET", "/v1/models/")],
    ["GET", "/v1/models/debug/model_name", undefined, malformed("GET", "/v1/models/debug/model_name")],
    ["POST", "/v1/models", "", malformed("POST", "/v1/models")],
    ["GET", "/v1/models/versions/5", undefined, error(400, "Missing model name in request.")],
    ["GET", "/v1/models/labels/x", undefined, error(400, "Missing model name in request.")],
    ["GET", "/v1/models/labels/x/metadata", undefined, error(400, "Missing model name in request.")],
    ["GET", "/v1/models/foo:predict", undefined, malformed("GET", "/v1/models/foo:predict")],
    [
      "GET",
      "/v1/models/foo/version/50:predict",
      undefined,
      malformed("GET", "/v1/models/foo/version/50:predict"),
    ],
    ["POST", "/v1/models/foo/version/50:regress", "", malformed("POST", "/v1/models/foo/version/50:regress")],
    [
      "POST",
      "/v1/models/foo/versions/HELLO:regress",
      "",
      malformed("POST", "/v1/models/foo/versions/HELLO:regress"),
    ],
    [
      "POST",
      "/v1/models/foo/versions/some_label:regress",
      "",
      malformed("POST", "/v1/models/foo/versions/some_label:regress"),
    ],
    ["POST", "/v1/models/foo/versions/18446744073709551615:regress", "", json(400, "")],
    ["GET", "/v1/models/foo/versions/99999999999999999999", undefined, json(400, "")],
    ["POST", "/v1/models/foo/metadata", "", malformed("POST", "/v1/models/foo/metadata")],
    [
      "POST",
      "/v1/models/foo/label/some_label:regress",
      "",
      malformed("POST", "/v1/models/foo/label/some_label:regress"),
    ],
    [
      "POST",
      "/v1/models/foo/versions/50/labels/some_label:regress",
      "",
      malformed("POST", "/v1/models/foo/versions/50/labels/some_label:regress"),
    ],
    ["POST", `${MODEL}:PREDICT`, '{"instances":[1]}', malformed("POST", `${MODEL}:PREDICT`)],
    ["POST", `${MODEL}:predict?x=1`, '{"instances":[1]}', malformed("POST", `${MODEL}:predict?x=1`)],
    ["POST", `${MODEL}:constructor`, "", malformed("POST", `${MODEL}:constructor`)],
    ["PUT", `${MODEL}:predict`, '{"instances":[1]}', malformed("PUT", `${MODEL}:predict`)],
    ["DELETE", MODEL, undefined, malformed("DELETE", MODEL)],
    ["PATCH", MODEL, "", malformed("PATCH", MODEL)],
    ["HEAD", MODEL, undefined, json(400, "")],
    ["GET", "/", undefined, { status: 200, type: "text/html; charset=utf-8", body: "<p>hello</p>" }],
    ["HEAD", "/?x", undefined, { status: 200, type: "text/html; charset=utf-8", body: "" }],
    ["POST", "/", "", page(404, "Not Found")],
    ["GET", "/v1", undefined, page(404, "Not Found")],
    ["GET", "/v2/health/live", undefined, page(404, "Not Found")],
    ["GET", "/index", undefined, page(404, "Not Found")],
    ["GET", "/v1/models/[x]", undefined, page(400, "Bad Request")],
    ["GET", "/v1/models/a%zz", undefined, page(400, "Bad Request")],

    [
      "POST",
      "/v1/models/foo:predict",
      '{"instances":[1]}',
      error(404, "Servable not found for request: Latest(foo)"),
    ],
    [
      "POST",
      "/v1/models/foo/versions/50:predict",
      '{"instances":[1]}',
      error(404, "Servable not found for request: Specific(foo, 50)"),
    ],
    [
      "POST",
      "/v1/models/half_plus_two99:predict",
      '{"instances":[1]}',
      error(404, "Servable not found for request: Latest(half_plus_two99)"),
    ],
    ["POST", "/v1/models/nope:predict", "x", error(400, "JSON Parse error: Invalid value. at offset: 0")],
    [
      "POST",
      "/v1/models/nope:predict",
      '{"signature_name":100}',
      error(
        400,
        "JSON Value: {\n    \"signature_name\": 100\n} not formatted correctly. 'signature_name' key must be a string value.",
      ),
    ],
    ["POST", "/v1/models/nope:predict", "{}", error(404, "Servable not found for request: Latest(nope)")],
    [
      "POST",
      "/v1/models/nope:classify",
      '{"examples":[{"a":null}]}',
      error(400, "Feature: a has element with unexpected JSON type: Null"),
    ],
    [
      "POST",
      "/v1/models/nope:regress",
      '{"examples":[{"a":1}]}',
      error(404, "Servable not found for request: Latest(nope)"),
    ],
    ["POST", `${MODEL}:predict`, "", error(400, "JSON Parse error: The document is empty")],
    [
      "POST",
      `${MODEL}:predict`,
      "instances = [1, 2]",
      error(400, "JSON Parse error: Invalid value. at offset: 0"),
    ],
    [
      "POST",
      `${MODEL}:predict`,
      '{"instances":["x","y"]}',
      error(
        400,
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"x\" Type: String is not of expected type: float",
      ),
    ],
    [
      "POST",
      `${MODEL}/labels/nope:predict`,
      '{"instances":["x","y"]}',
      error(400, "Unrecognized servable version label: nope"),
    ],
    [
      "POST",
      `${MODEL}:predict`,
      '{"signature_name":"foo","instances":[1]}',
      error(400, 'Serving signature name: "foo" not found in signature def'),
    ],
    [
      "POST",
      "/v1/models/odd:predict",
      '{"signature_name":"none","instances":[1]}',
      error(400, "Failed to get input map for signature: none"),
    ],
    [
      "POST",
      "/v1/models/odd:predict",
      '{"signature_name":"two","instances":[{"b64":"aGk="}]}',
      error(
        400,
        'Failed to process element: 0 of \'instances\' list. Error: INVALID_ARGUMENT: JSON Value: {\n    "b64": "aGk="\n} Type: Object is not of expected type: float',
      ),
    ],
    [
      "POST",
      "/v1/models/odd:predict",
      '{"signature_name":"half","instances":[0]}',
      error(400, "Failed to write JSON value for tensor type: half"),
    ],
    ["POST", "/v1/models/odd:predict", '{"instances":[99]}', error(500, "Internal error")],

    [
      "POST",
      `${MODEL}:predict`,
      '{"instances":[[1.0,2.0],[3.0,4.0]]}',
      json(200, rows("[2.5, 3.0], [3.5, 4.0]")),
    ],
    ["POST", `${MODEL}/versions/123:predict`, '{"instances":[1.0,2.0]}', json(200, rows("2.5, 3.0"))],
    ["POST", `${MODEL}/versions/0123:predict`, '{"instances":[{"x":1.0}]}', json(200, rows("2.5"))],
    ["POST", `${MODEL}/labels/stable:predict`, '{"instances":[1.0,2.0]}', json(200, rows("2.5, 3.0"))],
    [
      "POST",
      `${MODEL}:predict`,
      '{"signature_name":"serving_default","inputs":[3.0,4.0]}',
      json(200, '{\n    "outputs": [\n        3.5,\n        4.0\n    ]\n}'),
    ],
    ["POST", `${MODEL}:predict`, '{"inputs":{"x":3}}', json(200, '{\n    "outputs": 3.5\n}')],
    ["POST", `${MODEL}:predict`, '{"instances":[NaN,-Infinity]} and more', json(200, rows("NaN, -Infinity"))],
    ["POST", "/v1/models/a%2Fb:predict", '{"instances":[2]}', json(200, rows("3.0"))],
    ["POST", "/V1/Models/half_plus_two:predict", '{"instances":[2]}', json(200, rows("3.0"))],
    [
      "POST",
      `${MODEL}:regress`,
      '{"signature_name":"regress_x_to_y","examples":[{"x":80.0}]}',
      json(200, '{\n    "results": [42.0]\n}'),
    ],
    [
      "POST",
      `${MODEL}/versions/123:regress`,
      '{"signature_name":"regress_x_to_y","examples":[{"x":80.0},{}]}',
      json(200, '{\n    "results": [42.0, 2.0]\n}'),
    ],
    [
      "POST",
      `${MODEL}/labels/stable:regress`,
      '{"signature_name":"regress_x_to_y","context":{"x":80.0},"examples":[{}]}',
      json(200, '{\n    "results": [42.0]\n}'),
    ],
    [
      "POST",
      `${MODEL}:classify`,
      '{"signature_name":"classify_x_to_y","examples":[{"x":20.0}]}',
      json(200, '{\n    "results": [[["", 12.0]]\n    ]\n}'),
    ],
    [
      "POST",
      `${MODEL}/labels/stable:classify`,
      '{"signature_name":"classify_x_to_y","examples":[{"x":10.0}]}',
      json(200, '{\n    "results": [[["", 7.0]]\n    ]\n}'),
    ],
    [
      "POST",
      `${MODEL}:classify`,
      '{"signature_name":"nope","examples":[{"x":10.0}]}',
      error(400, "No signature was found with the name: nope"),
    ],

    ["GET", MODEL, undefined, json(200, version123)],
    ["GET", `${MODEL}/versions/123`, undefined, json(200, version123)],
    ["GET", `${MODEL}/labels/anything`, undefined, json(200, version123)],
    ["GET", `${MODEL}/METADATA`, undefined, json(200, version123)],
    ["GET", `${MODEL}/versions/5`, undefined, error(404, "Could not find version 5 of model half_plus_two")],
    ["GET", "/v1/models/nope", undefined, error(404, "Could not find any versions of model nope")],
    ["GET", "/v1/models/metadata", undefined, error(404, "Could not find any versions of model metadata")],
    ["GET", `${MODEL}?a=1`, undefined, error(404, "Could not find any versions of model half_plus_two?a=1")],
    ["GET", `${MODEL}/metadata?a=1`, undefined, malformed("GET", `${MODEL}/metadata?a=1`)],
    [
      "GET",
      `${MODEL}/versions/9/metadata`,
      undefined,
      error(404, "Servable not found for request: Specific(half_plus_two, 9)"),
    ],
    [
      "GET",
      `${MODEL}/labels/nope/metadata`,
      undefined,
      error(400, "Unrecognized servable version label: nope"),
    ],
    [
      "GET",
      `${METRICS}?x=1`,
      undefined,
      { status: 400, type: "text/plain", body: `Unexpected path: ${METRICS}?x=1. Should be ${METRICS}` },
    ],
  ];
  test.each(table)("%s %s with %j", async (method, path, body, expected) => {
    expect(await call(method, path, body)).toEqual(expected);
  });

  test.each(Object.values(Code).filter((code) => code > 0))("code %d as HTTP", async (code) => {
    const status = [0, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401][code]!;
    const reply = await call("POST", "/v1/models/odd:predict", `{"instances":[${code}]}`);
    expect(reply).toEqual(error(status, `code ${codeName(code)}`));
  });

  test("metadata of every signature", async () => {
    const reply = await call("GET", `${MODEL}/labels/stable/metadata`);
    expect(reply.status).toBe(200);
    const { model_spec, metadata } = JSON.parse(reply.body);
    expect(model_spec).toEqual({ name: "half_plus_two", version: "123", signature_name: "" });
    expect(Object.keys(metadata.signature_def.signature_def)).toEqual([
      "classify_x_to_y",
      "regress_x_to_y",
      "regress_x_to_y2",
      "serving_default",
    ]);
  });

  test("a model that answers later", async () => {
    const [servable] = rest.models.servables;
    servable!.asynchronous = true;
    try {
      const expected = json(200, rows("2.5"));
      const calls = Array.from({ length: 8 }, () => call("POST", `${MODEL}:predict`, '{"instances":[1]}'));
      expect(await Promise.all(calls)).toEqual(calls.map(() => expected));
    } finally {
      servable!.asynchronous = false;
    }
    expect(rest.models.borrowed).toBe(0);
  });
});

describe("REST headers", () => {
  test.each([
    ["http://a.example", 200],
    ["x https:// y", 200],
    ["null", 400],
  ])("OPTIONS with Origin %s is %d", async (origin, status) => {
    const response = await fetch(`${rest.origin}/v1/anything`, {
      method: "OPTIONS",
      headers: { Origin: origin },
    });
    expect(response.status).toBe(status);
    expect(response.headers.get("content-type")).toBe("text/html; charset=ISO-8859-1");
    expect(response.headers.get("access-control-allow-origin")).toBeNull();
    expect(await response.text()).toBe("");
  });
  test("OPTIONS without Origin is 400, outside /v1/ 404", async () => {
    expect((await call("OPTIONS", "/v1/models")).status).toBe(400);
    expect((await call("OPTIONS", "/")).status).toBe(404);
  });

  test("CORS on every answer of the API and nowhere else", async () => {
    await using cors = await startRest({ cors: true, metrics: { paths: [METRICS], print: () => "" } });
    const allow = async (method: string, path: string, headers = {}) => {
      const { headers: got } = await fetch(cors.origin + path, { method, headers });
      return ["origin", "methods", "headers"]
        .map((name) => got.get(`access-control-allow-${name}`))
        .join("|");
    };
    const all = "*|POST, GET|Content-Type";
    expect(await allow("GET", MODEL)).toBe(all);
    expect(await allow("GET", "/v1/foo")).toBe(all);
    expect(await allow("POST", `${MODEL}:predict`)).toBe(all);
    expect(await allow("OPTIONS", "/v1/foo", { Origin: "http://x" })).toBe(all);
    expect(await allow("OPTIONS", "/v1/foo")).toBe(all);
    expect(await allow("GET", METRICS)).toBe("||");
    expect(await allow("GET", "/nope")).toBe("||");
  });

  const body = '{"instances":[1]}';
  test.each([
    ["gzip", gzipSync(body), json(200, rows("2.5"))],
    ["x-gzip", gzipSync(body), json(200, rows("2.5"))],
    ["my_gzip", gzipSync(body), json(200, rows("2.5"))],
    ["gzip", body, error(400, "JSON Parse error: The document is empty")],
    ["gzip", gzipSync(body).subarray(0, -4), error(400, "JSON Parse error: The document is empty")],
    ["deflate", body, json(200, rows("2.5"))],
    ["br", gzipSync(body), error(400, "JSON Parse error: Invalid value. at offset: 0")],
  ])("Content-Encoding: %s", async (encoding, sent, expected) => {
    expect(await call("POST", `${MODEL}:predict`, sent, { "Content-Encoding": encoding })).toEqual(expected);
  });

  test("any Content-Type", async () => {
    for (const type of [
      "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=x",
      "text/plain",
      "application/json; charset=x",
    ]) {
      expect(await call("POST", `${MODEL}:predict`, body, { "Content-Type": type })).toEqual(
        json(200, rows("2.5")),
      );
    }
  });
});

test("metrics count every request of the API by the model it named", async () => {
  const before = await call("GET", METRICS);
  expect(before.type).toBe("text/plain");
  await using fresh = await startRest();
  const send = (method: string, path: string, body?: string, headers = {}) =>
    fetch(fresh.origin + path, { method, body, headers });
  await send("POST", `${MODEL}:predict`, '{"instances":[1]}');
  await send("POST", `${MODEL}:predict`, "x");
  await send("POST", `${MODEL}:PREDICT`, "x");
  await send("GET", "/v1/models/nope");
  await send("GET", "/v1/foo");
  await send("OPTIONS", "/v1/foo", undefined, { Origin: "http://x" });
  await send("OPTIONS", "/v1/foo");
  await send("GET", "/nope");
  const lines = formatPrometheusPage(fresh.host.metrics.snapshot()).split("\n");
  const counts = lines.filter((line) => line.startsWith(":tensorflow:serving:request_count{")).sort();
  expect(counts).toEqual([
    ':tensorflow:serving:request_count{model_name="",status="FAILED_PRECONDITION"} 1',
    ':tensorflow:serving:request_count{model_name="",status="INVALID_ARGUMENT"} 1',
    ':tensorflow:serving:request_count{model_name="",status="OK"} 1',
    ':tensorflow:serving:request_count{model_name="half_plus_two",status="INVALID_ARGUMENT"} 2',
    ':tensorflow:serving:request_count{model_name="half_plus_two",status="OK"} 1',
    ':tensorflow:serving:request_count{model_name="nope",status="NOT_FOUND"} 1',
  ]);
  const latencies = lines
    .filter((line) => /request_latency_count\{/.test(line) && !line.endsWith(" 0"))
    .sort();
  expect(latencies).toEqual([
    ':tensorflow:serving:request_latency_count{model_name="",API="",entrypoint="REST"} 1',
    ':tensorflow:serving:request_latency_count{model_name="half_plus_two",API="predict",entrypoint="REST"} 1',
  ]);
});

/** 生の HTTP を送り、接続が閉じるか `until` が現れるまで読む。 */
function raw(port: number, text: string, until?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    let received = "";
    const finish = (): void => {
      socket.destroy();
      resolve(received);
    };
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1");
      if (until !== undefined && received.includes(until)) finish();
    });
    socket.on("end", finish);
    socket.on("close", () => resolve(received));
    socket.on("error", reject);
  });
}

describe("REST over raw sockets", () => {
  const body = '{"instances":[1]}';
  const head = (extra: string) => `POST ${MODEL}:predict HTTP/1.1\r\nHost: h\r\n${extra}\r\n`;

  test("keeps alive and closes when asked", async () => {
    const socket = connect(rest.port, "127.0.0.1");
    let received = "";
    for (const connection of ["keep-alive", "keep-alive", "close"]) {
      socket.write(`${head(`Content-Length: ${body.length}\r\nConnection: ${connection}\r\n`)}${body}`);
      const reply = await new Promise<string>((resolve) =>
        socket.once("data", (chunk) => resolve(String(chunk))),
      );
      expect(reply).toStartWith("HTTP/1.1 200 OK\r\n");
      expect(reply).toMatch(/content-type: application\/json\r\n/i);
      expect(reply).toMatch(/\r\ndate: /i);
      expect(reply).toMatch(/\r\ncontent-length: 33\r\n/i);
      received += reply;
    }
    await new Promise<void>((resolve) => {
      socket.on("end", () => socket.destroy());
      socket.on("close", () => resolve());
    });
    expect(received.match(/"predictions": \[2\.5/g)).toHaveLength(3);
  });

  test("answers pipelined queries in order", async () => {
    const get = (path: string, connection: string) =>
      `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: ${connection}\r\n\r\n`;
    const received = await raw(
      rest.port,
      get("/v1/a", "keep-alive") + get("/v1/b", "keep-alive") + get("/v1/c", "close"),
    );
    expect([...received.matchAll(/Malformed request: GET (\S+)"/g)].map(([, path]) => path)).toEqual([
      "/v1/a",
      "/v1/b",
      "/v1/c",
    ]);
  });

  test("answers pipelined predictions in order, with queries among them", async () => {
    const post = (value: number, connection = "keep-alive") => {
      const body = `{"instances":[${value}]}`;
      return `POST ${MODEL}:predict HTTP/1.1\r\nHost: h\r\nConnection: ${connection}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    };
    const get = `GET /v1/x HTTP/1.1\r\nHost: h\r\n\r\n`;
    const received = await raw(rest.port, post(1) + get + post(2) + post(3) + post(4, "close"));
    const answers = [...received.matchAll(/"predictions": \[([\d.]+)|Malformed/g)];
    expect(answers.map(([, value]) => value)).toEqual(["2.5", undefined, "3.0", "3.5", "4.0"]);
  });

  test("long answers at one time do not mix", async () => {
    const numbers = (seed: number) => Array.from({ length: 4000 + 1000 * seed }, (_, i) => seed + i / 64);
    const ask = async (seed: number) => {
      const response = await fetch(`${rest.origin}${MODEL}:predict`, {
        method: "POST",
        body: JSON.stringify({ instances: numbers(seed) }),
      });
      return ((await response.json()) as { predictions: number[] }).predictions;
    };
    const seeds = Array.from({ length: 20 }, (_, i) => i % 5);
    for (const [i, answer] of (await Promise.all(seeds.map(ask))).entries()) {
      expect(answer).toEqual(numbers(seeds[i]!).map((x) => x / 2 + 2));
    }
  });

  test("accepts chunks", async () => {
    const chunked = `${head("Transfer-Encoding: chunked\r\nConnection: close\r\n")}5\r\n${body.slice(0, 5)}\r\nc\r\n${body.slice(5)}\r\n0\r\n\r\n`;
    expect(await raw(rest.port, chunked)).toContain('"predictions": [2.5');
  });

  test("honours Expect: 100-continue", async () => {
    const received = await raw(
      rest.port,
      head(`Expect: 100-continue\r\nContent-Length: ${body.length}\r\n`),
      "\r\n\r\n",
    );
    expect(received).toStartWith("HTTP/1.1 100 Continue\r\n");
  });

  test("accepts the absolute form, HTTP/1.0 and no Host", async () => {
    expect(
      await raw(rest.port, `GET http://other${MODEL} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`),
    ).toContain('"AVAILABLE"');
    expect(await raw(rest.port, `GET ${MODEL} HTTP/1.0\r\n\r\n`)).toContain('"AVAILABLE"');
    expect(await raw(rest.port, "GET /v1/foo HTTP/1.0\r\n\r\n")).toContain("Malformed request: GET /v1/foo");
  });

  test("sees the slashes and escapes as sent", async () => {
    expect(await raw(rest.port, `GET /${MODEL} HTTP/1.0\r\n\r\n`)).toContain("<TITLE>404 Not Found</TITLE>");
    expect(
      await raw(rest.port, `GET //v1/models HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`),
    ).toContain("<TITLE>404 Not Found</TITLE>");
    expect(
      await raw(rest.port, `GET /v1/models/a%2fb HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`),
    ).toContain('"version": "7"');
  });

  test.each(["TRACE", "CONNECT"])("refuses %s with a page", async (method) => {
    const received = await raw(rest.port, `${method} ${MODEL} HTTP/1.1\r\nHost: h\r\n\r\n`);
    expect(received).toStartWith("HTTP/1.1 501 Not Implemented\r\n");
    expect(received).toEndWith(page(501, "Not Implemented").body);
  });

  test("closes after an error page", async () => {
    const received = await raw(rest.port, "GET /nope HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(received).toStartWith("HTTP/1.1 404 Not Found\r\n");
    expect(received).toMatch(/\r\nconnection: close\r\n/i);
    expect(received).toMatch(/\r\ncontent-length: 90\r\n/i);
  });
});

describe("REST limits", () => {
  test("answers 413 to a body above the limit", async () => {
    await using small = await startRest({ maxBodyBytes: 100 });
    const response = await fetch(`${small.origin}${MODEL}:predict`, {
      method: "POST",
      body: `{"instances":[1${" ".repeat(200)}]}`,
    });
    expect(response.status).toBe(413);
    const fine = await fetch(`${small.origin}${MODEL}:predict`, {
      method: "POST",
      body: '{"instances":[1]}',
    });
    expect(fine.status).toBe(200);
  });

  test("refuses deep JSON only when asked", async () => {
    await using shallow = await startRest({ json: { maxDepth: 4 } });
    const post = (body: string) => fetch(`${shallow.origin}${MODEL}:predict`, { method: "POST", body });
    expect((await post('{"instances":[1],"x":[[[1]]]}')).status).toBe(200);
    expect(await (await post('{"instances":[1],"x":[[[[1]]]]}')).text()).toContain(
      "Nesting too deep. at offset: 24",
    );
  });

  test("sheds what is above the number in flight, whichever door filled it", async () => {
    const admission = new Admission(new FakeHost(), { maxInFlight: 1, maxQueueDelayMs: 0 });
    await using busy = await startRest({ admission });
    const ask = () => fetch(`${busy.origin}${MODEL}:predict`, { method: "POST", body: '{"instances":[1]}' });
    admission.enter(admission.arrive());
    const refused = await ask();
    expect(refused.status).toBe(429);
    expect(await refused.json()).toEqual({ error: "Too many requests in flight" });
    expect((await fetch(busy.origin + MODEL)).status).toBe(200);
    admission.leave();
    expect((await ask()).status).toBe(200);
  });

  test("a body that arrives slowly keeps nobody else out", async () => {
    await using busy = await startRest({
      admission: new Admission(new FakeHost(), { maxInFlight: 1, maxQueueDelayMs: 0 }),
    });
    const open = head(busy.port);
    const slow = await open.started;
    const quick = await fetch(`${busy.origin}${MODEL}:predict`, {
      method: "POST",
      body: '{"instances":[1]}',
    });
    expect(quick.status).toBe(200);
    slow.write('{"instances":[1]}');
    expect(await open.finished).toContain('"predictions": [2.5');
  });

  test("refuses what has waited too long, without running it", async () => {
    const clocked = new FakeHost();
    const servable = halfPlusTwo();
    servable.beforeRun = () => clocked.clock.spend(10);
    // 回が終わらない時計なので、どの要求も最初の要求と同じ時に届いたことになる。
    const admission = new Admission(clocked, { maxInFlight: 0, maxQueueDelayMs: 5 });
    await using busy = await startRest({ servables: [servable], admission });
    const ask = () => fetch(`${busy.origin}${MODEL}:predict`, { method: "POST", body: '{"instances":[1]}' });
    expect((await ask()).status).toBe(200);
    const late = await ask();
    expect(late.status).toBe(503);
    expect(await late.json()).toEqual({
      error: "Server is overloaded: the request waited too long to be started",
    });
    expect(servable.runs).toBe(1);
    clocked.clock.turn();
    expect((await ask()).status).toBe(200);
  });

  test("answers a lone request without waiting for the end of the turn", async () => {
    const clock: Clock = { ...systemClock, endOfTurn: () => {} };
    await using lone = await startRest({ clock });
    const response = await fetch(`${lone.origin}${MODEL}:predict`, {
      method: "POST",
      body: '{"instances":[1]}',
    });
    expect(response.status).toBe(200);
  });

  test("times out the run with 504", async () => {
    const servable = halfPlusTwo();
    await using late = await startRest({ servables: [servable], timeoutMs: Number.MIN_VALUE });
    const response = await fetch(`${late.origin}${MODEL}:predict`, {
      method: "POST",
      body: '{"instances":[1]}',
    });
    expect(response.status).toBe(504);
    expect(await response.json()).toEqual({ error: "Timed out waiting for notification" });
    await using never = await startRest({ timeoutMs: -1 });
    expect(
      (await fetch(`${never.origin}${MODEL}:predict`, { method: "POST", body: '{"instances":[1]}' })).status,
    ).toBe(200);
  });

  test("asks for the token when there is one", async () => {
    await using locked = await startRest({
      authorize: (value) => value === "Bearer good",
      metrics: { paths: [METRICS], print: () => "" },
    });
    for (const path of [MODEL, METRICS]) {
      const status = async (headers: Record<string, string>) =>
        (await fetch(locked.origin + path, { headers })).status;
      expect(await status({})).toBe(401);
      expect(await status({ Authorization: "Bearer bad" })).toBe(401);
      expect(await status({ Authorization: "Bearer good" })).toBe(200);
    }
    const post = (headers: Record<string, string>) =>
      fetch(`${locked.origin}${MODEL}:predict`, { method: "POST", body: '{"instances":[1]}', headers });
    expect((await post({ Authorization: "Bearer good" })).status).toBe(200);
    // 一度通った URL でも、鍵は毎回見る。
    const refused = await post({});
    expect(refused.status).toBe(401);
    expect(refused.headers.get("www-authenticate")).toBe("Bearer");
    expect(await refused.json()).toEqual({ error: "Missing or invalid bearer token" });
  });

  test("needs no token for probes, preflights and the page", async () => {
    const pages = async () => new Map([["/", { contentType: "text/html", body: "<p>hello</p>" }]]);
    await using locked = await startRest({ authorize: () => false, cors: true, pages });
    for (const path of ["/healthz", "/readyz", "/livez", "/", "/?x=1"]) {
      expect((await fetch(locked.origin + path)).status).not.toBe(401);
    }
    for (const path of ["/healthz/../v1/models/m", "/healthzz", "/v1/models/healthz", "/page"]) {
      expect((await fetch(locked.origin + path)).status).toBe(401);
    }
    const preflight = await fetch(locked.origin + MODEL, {
      method: "OPTIONS",
      headers: { Origin: "http://a.example" },
    });
    expect(preflight.status).toBe(200);
    expect(preflight.headers.get("access-control-allow-headers")).toBe("Content-Type, Authorization");
  });
});

test("a run hears that its client has gone", async () => {
  const servable = halfPlusTwo();
  const entered = Promise.withResolvers<void>();
  const left = Promise.withResolvers<boolean>();
  servable.prepare = () => ({
    feedDTypes: ["float"],
    run: async (inputs, { signal }) => {
      signal!.addEventListener("abort", () => left.resolve(signal!.aborted));
      entered.resolve();
      await left.promise;
      return inputs;
    },
  });
  await using waiting = await startRest({ servables: [servable] });
  const aborter = new AbortController();
  const call = fetch(`${waiting.origin}${MODEL}:predict`, {
    method: "POST",
    body: '{"instances":[1]}',
    signal: aborter.signal,
  }).then(
    () => "answered",
    (error: unknown) => (error as Error).name,
  );
  await entered.promise;
  aborter.abort();
  expect(await left.promise).toBe(true);
  expect(await call).toBe("AbortError");
});

/** 本文を送らずに始めた推論。 */
function head(port: number) {
  const started = Promise.withResolvers<ReturnType<typeof connect>>();
  const finished = Promise.withResolvers<string>();
  const socket = connect(port, "127.0.0.1", () => {
    socket.write(
      `POST ${MODEL}:predict HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 17\r\nConnection: close\r\n\r\n`,
    );
  });
  let received = "";
  socket.on("data", (chunk) => {
    received += chunk.toString();
    // 100 Continue が返れば、要求は処理中に入っている。
    started.resolve(socket);
  });
  socket.on("end", () => {
    socket.destroy();
    finished.resolve(received);
  });
  socket.on("error", finished.reject);
  return { started: started.promise, finished: finished.promise };
}

test("closeIdle() closes connections that wait for nothing, and no others", async () => {
  await using door = await startRest();
  const busy = head(door.port);
  const writer = await busy.started;
  const closed = Promise.withResolvers<void>();
  const answered = Promise.withResolvers<void>();
  const idle = connect(door.port, "127.0.0.1", () => idle.write(`GET ${MODEL} HTTP/1.1\r\nHost: h\r\n\r\n`));
  idle.on("data", () => answered.resolve());
  idle.on("close", () => closed.resolve());
  await answered.promise;
  expect(door.door.closeIdle()).toBe(1);
  await closed.promise;
  writer.write('{"instances":[1]}');
  expect(await busy.finished).toContain('"predictions": [2.5');
});

describe("RestDoor starts and stops", () => {
  test("listening on both IP families by default", async () => {
    await using both = await startRest({ hostname: undefined });
    expect((await fetch(`http://127.0.0.1:${both.port}${MODEL}`)).status).toBe(200);
    expect((await fetch(`http://[::1]:${both.port}${MODEL}`)).status).toBe(200);
  });

  test("refusing a port that is taken", async () => {
    expect(startRest({ port: rest.port })).rejects.toThrow(
      `Failed to start HTTP Server at localhost:${rest.port}`,
    );
    expect(startRest({ hostname: undefined, port: rest.port, reusePort: false })).rejects.toThrow(
      "Failed to start HTTP Server",
    );
  });

  test("finishing what is in flight, closing what is idle", async () => {
    const stopping = await startRest();
    const idle = connect(stopping.port, "127.0.0.1");
    const idleClosed = new Promise<void>((resolve) => idle.on("close", () => resolve()));
    idle.on("end", () => idle.destroy());
    idle.write(`GET ${MODEL} HTTP/1.1\r\nHost: h\r\n\r\n`);
    await new Promise((resolve) => idle.once("data", resolve));
    const open = head(stopping.port);
    const socket = await open.started;
    const stopped = stopping.door.stop(60_000);
    await idleClosed;
    expect(raw(stopping.port, "x")).rejects.toThrow();
    socket.write('{"instances":[1]}');
    const received = await open.finished;
    expect(received).toContain('"predictions": [2.5');
    expect(received).toMatch(/\r\nconnection: close\r\n/i);
    await stopped;
  });

  test("cutting what is in flight when the grace is spent", async () => {
    const stopping = await startRest();
    const open = head(stopping.port);
    await open.started;
    await stopping.door.stop(0);
    expect(await open.finished).not.toContain("200 OK");
    await stopping.door.stop(0);
  });
});
