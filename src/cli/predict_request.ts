import { formatJson, type JsonInput } from "../client/json_text.ts";
import type { ExamplesBody, PredictBody } from "../client/rest_client.ts";
import { DEFAULT_SIGNATURE, REGRESS_METHOD } from "../tensor/signature.ts";
import { toGrpcSecurity } from "./client_flags.ts";
import { openGrpc, openRest } from "./clients.ts";
import { inputsOfBody, toJsonColumns } from "./json_tensors.ts";
import { askSignature, type Target } from "./model_signature.ts";
import type { RequestBody } from "./request_data.ts";

/** 本文の `signature_name` は旗に勝つ。 */
function signatureOf({ signatureName }: Target, { signature_name: own }: RequestBody): string {
  return typeof own === "string" && own !== "" ? own : signatureName || DEFAULT_SIGNATURE;
}

async function askRest(target: Target, body: RequestBody): Promise<JsonInput> {
  const { address, timeoutMs, security, ...model } = target;
  const client = await openRest({ origin: address, timeoutMs, ...security });
  if (body["examples"] !== undefined) {
    const { methodName } = await askSignature(target, signatureOf(target, body));
    const verb = methodName === REGRESS_METHOD ? "regress" : "classify";
    return { results: await client[verb](model, body as unknown as ExamplesBody) };
  }
  // 形の誤りはサーバーが、curl で送ったときと同じ文面で断る。
  const answer = await client.predict(model, body as unknown as PredictBody);
  return "instances" in body ? { predictions: answer } : { outputs: answer };
}

async function askGrpc(target: Target, body: RequestBody): Promise<JsonInput> {
  const { address, timeoutMs, security, ...model } = target;
  const signatureName = signatureOf(target, body);
  const inputs = inputsOfBody(body, await askSignature(target, signatureName));
  using client = await openGrpc({ address, timeoutMs, ...toGrpcSecurity(security) });
  const { outputs } = await client.predict({ ...model, signatureName }, inputs);
  return { outputs: toJsonColumns(outputs) };
}

/**
 * curl で送るのと同じ本文を送る。
 *
 * @returns 答えの JSON。gRPC では、いつも列の形(名前 → 値)。
 */
export async function askRequest(target: Target, body: RequestBody): Promise<string> {
  return formatJson(await (target.protocol === "grpc" ? askGrpc(target, body) : askRest(target, body)));
}
