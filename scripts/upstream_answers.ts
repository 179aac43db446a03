// TF Serving に scripts/upstream_requests.ts を訊き、答えを test/fixtures/upstream/answers.json に録る。
//   bun scripts/upstream_answers.ts config          相手に読ませる --model_config_file
//   bun scripts/upstream_answers.ts REST_PORT GRPC_PORT
// 相手は --allow_version_labels_for_unavailable_models=true と TF_ENABLE_ONEDNN_OPTS=0 で起こしておく。
import { join } from "node:path";
import { askRest, RpcDoor, type UpstreamAnswers } from "../test/helpers/upstream_doors.ts";
import { upstreamModels } from "../test/helpers/upstream_models.ts";
import { root } from "./steps.ts";
import { restRequests, rpcRequests } from "./upstream_requests.ts";

const [first, second] = process.argv.slice(2);
if (first === "config") {
  console.log(upstreamModels);
  process.exit(0);
}
if (first === undefined || second === undefined) {
  console.error("usage: bun scripts/upstream_answers.ts config | REST_PORT GRPC_PORT");
  process.exit(2);
}

/** protobuf は、デバッグの文字列の頭に、版によって違う目印を付ける。 */
const stable = (text: string): string => text.replace(/goo\.gle\/debug\w+ *(\n|\\n)?/g, "");

const rest: UpstreamAnswers["rest"][number][] = [];
for (const request of restRequests) {
  const { status, type, text } = await askRest(Number(first), request);
  rest.push([request.method, request.target, request.body ?? null, status, type, stable(text)]);
}
using door = new RpcDoor(`127.0.0.1:${second}`);
const rpc: UpstreamAnswers["rpc"][number][] = [];
for (const request of rpcRequests) {
  const { code, details, message } = await door.ask(request);
  rpc.push([request.rpc, request.text, code, stable(details), message]);
}
const lines = (rows: readonly unknown[]): string => rows.map((row) => JSON.stringify(row)).join(",\n");
await Bun.write(
  join(root, "test/fixtures/upstream/answers.json"),
  `{"rest":[\n${lines(rest)}\n],"rpc":[\n${lines(rpc)}\n]}\n`,
);
