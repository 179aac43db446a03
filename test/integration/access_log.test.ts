import { expect, test } from "bun:test";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import type { LogFields } from "../../src/base/log.ts";
import { AccessLog } from "../../src/service/access_log.ts";
import { FakeHost } from "../helpers/fake_host.ts";
import { startGrpc } from "../helpers/start_grpc.ts";
import { startRest } from "../helpers/start_rest.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const traceparent = `00-${TRACE}-b7ad6b7169203331-01`;

function recording(rate: number) {
  const host = new FakeHost();
  const lines: LogFields[] = [];
  const written = Promise.withResolvers<LogFields>();
  host.log.info = (_event: string, fields: LogFields = {}) => {
    lines.push(fields);
    written.resolve(fields);
  };
  return { lines, written: written.promise, accessLog: new AccessLog(host, rate, () => 0) };
}

test.each([
  ["an answer", "/v1/models/half_plus_two", 200],
  ["a failure", "/v1/models/nope", 404],
])("REST: %s carries the id and is logged with the trace", async (_, path, status) => {
  const { accessLog, lines } = recording(1);
  await using rest = await startRest({ accessLog });
  const response = await fetch(`${rest.origin}${path}`, {
    headers: { "X-Request-Id": "id-1", traceparent },
  });
  await response.text();
  expect(response.headers.get("x-request-id")).toBe("id-1");
  expect(lines).toEqual([
    {
      door: "REST",
      method: "GET",
      path,
      status,
      ms: 0,
      requestId: "id-1",
      traceId: TRACE,
      parentId: "b7ad6b7169203331",
    },
  ]);
});

test("REST: no header is added for a client that sends none", async () => {
  const { accessLog, lines } = recording(0);
  await using rest = await startRest({ accessLog });
  const response = await fetch(`${rest.origin}/v1/models/half_plus_two`);
  await response.text();
  expect(response.headers.has("x-request-id")).toBe(false);
  expect(lines).toEqual([]);
});

test.each([
  ["directly", "/tensorflow.serving.ModelService/GetModelStatus", 3],
  ["by grpc-js", "/tensorflow.serving.ModelService/Nope", 12],
])("gRPC, answered %s: carries the id and is logged with the trace", async (_, path, status) => {
  const { accessLog, written } = recording(1);
  await using grpc = await startGrpc({ accessLog });
  const client = new Client(grpc.targets[0]!, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("x-request-id", "id-2");
  metadata.set("traceparent", traceparent);
  const echoed = Promise.withResolvers<unknown>();
  const asIs = (bytes: Buffer): Buffer => bytes;
  const call = client.makeUnaryRequest(path, asIs, asIs, Buffer.alloc(0), metadata, (error) =>
    echoed.resolve(error?.metadata.get("x-request-id")[0]),
  );
  call.on("metadata", (headers: Metadata) => echoed.resolve(headers.get("x-request-id")[0]));
  expect(await echoed.promise).toBe("id-2");
  expect(await written).toMatchObject({ door: "gRPC", path, status, requestId: "id-2", traceId: TRACE });
  client.close();
});
