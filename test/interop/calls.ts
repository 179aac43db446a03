// 呼び出しの表(calls.json)を、生成された記述と grpc-js で行う。
//   bun test/interop/calls.ts TABLE CONNECTION   (どちらも scripts/interop.ts が書く JSON)
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import {
  createRegistry,
  type DescService,
  fromBinary,
  fromJson,
  type JsonValue,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { codeName } from "../../src/base/status.ts";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { SignatureDefMapSchema } from "../../src/gen/tensorflow_serving/apis/get_model_metadata_pb.ts";
import { ModelService } from "../../src/gen/tensorflow_serving/apis/model_service_pb.ts";
import { PredictionService } from "../../src/gen/tensorflow_serving/apis/prediction_service_pb.ts";

/** 表の 1 行。`raw`(base64)があれば、そのバイト列をそのまま送る。 */
interface Row {
  readonly name: string;
  readonly rpc: string;
  readonly request?: JsonValue;
  readonly raw?: string;
  readonly gzip?: boolean;
  readonly response?: JsonValue;
  readonly code?: string;
  readonly text?: string;
}

interface Connection {
  readonly target: string;
  /** PEM のファイル。 */
  readonly roots?: string;
  readonly cert?: string;
  readonly key?: string;
}

const services = new Map<string, DescService>(
  [PredictionService, ModelService, Health].map((service) => [service.typeName, service]),
);
const registry = createRegistry(SignatureDefMapSchema);
const GZIP = 2;
const TIMEOUT_MS = 20_000;

const [table, connection] = process.argv
  .slice(2, 4)
  .map((path) => JSON.parse(readFileSync(path, "utf8"))) as [readonly Row[], Connection];

function connect({ target, roots, cert, key }: Connection, gzip = false): Client {
  const pem = (path: string | undefined) => (path === undefined ? null : readFileSync(path));
  return new Client(
    target,
    roots === undefined
      ? credentials.createInsecure()
      : credentials.createSsl(pem(roots), pem(key), pem(cert)),
    {
      "grpc.use_local_subchannel_pool": 1,
      ...(gzip ? { "grpc.default_compression_algorithm": GZIP } : {}),
    },
  );
}

/** 答えの JSON か、失敗の [コード, 文面]。 */
function call(client: Client, { rpc, request, raw }: Row): Promise<JsonValue> {
  const [service = "", name] = rpc.split("/");
  const method = services.get(service)?.methods.find((one) => one.name === name);
  const bytes =
    raw !== undefined || method === undefined
      ? Buffer.from(raw ?? "", "base64")
      : toBinary(method.input, fromJson(method.input, request ?? {}, { registry }));
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      `/${rpc}`,
      (value: Uint8Array) => Buffer.from(value),
      (value: Buffer) => value,
      bytes,
      new Metadata(),
      { deadline: Date.now() + TIMEOUT_MS },
      (error: ServiceError | null, reply?: Buffer) => {
        if (error !== null) resolve([codeName(error.code), error.details]);
        else if (method === undefined) resolve(reply!.toString("hex"));
        else resolve(toJson(method.output, fromBinary(method.output, reply!), { registry }));
      },
    );
  });
}

const isObject = (value: unknown): value is Record<string, JsonValue> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function* differences(
  expected: JsonValue | undefined,
  actual: JsonValue | undefined,
  path = "$",
): Generator<string> {
  if (isObject(expected) && isObject(actual)) {
    for (const key of new Set([...Object.keys(expected), ...Object.keys(actual)])) {
      yield* differences(expected[key], actual[key], `${path}.${key}`);
    }
  } else if (Array.isArray(expected) && Array.isArray(actual) && expected.length === actual.length) {
    for (const [index, value] of expected.entries()) {
      yield* differences(value, actual[index], `${path}[${index}]`);
    }
  } else {
    const close =
      typeof expected === "number" &&
      typeof actual === "number" &&
      Math.abs(expected - actual) <= Math.max(1e-6, 1e-5 * Math.abs(expected));
    if (!close && !isDeepStrictEqual(expected, actual)) {
      yield `${path}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`;
    }
  }
}

let passed = 0;
let failed = 0;
function report(name: string, found: readonly string[]): void {
  if (found.length === 0) passed++;
  else failed++;
  console.log(found.length === 0 ? `ok   ${name}` : `FAIL ${name}: ${found.join("\n")}`);
}

const plain = connect(connection);
const zipped = connect(connection, true);
for (const row of table) {
  const expected = row.response ?? [row.code ?? "", row.text ?? ""];
  report(row.name, [...differences(expected, await call(row.gzip === true ? zipped : plain, row))]);
}
plain.close();
zipped.close();

const { target, roots } = connection;
for (const [name, applies, refused] of [
  ["a client without a certificate", connection.cert !== undefined, { target, roots }],
  ["a plaintext client", roots !== undefined, { target }],
] as const) {
  if (!applies) continue;
  const client = connect(refused);
  const outcome = await call(client, { name, rpc: "grpc.health.v1.Health/Check" });
  client.close();
  report(
    `refused: ${name}`,
    Array.isArray(outcome) && outcome[0] === "UNAVAILABLE" ? [] : [JSON.stringify(outcome)],
  );
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
