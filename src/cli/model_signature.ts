import type { ModelRef } from "../client/grpc_client.ts";
import type { Signature } from "../tensor/signature.ts";
import { type ClientSecurity, toGrpcSecurity } from "./client_flags.ts";
import { openGrpc, openRest } from "./clients.ts";
import { UsageError } from "./command.ts";

/** どの入口の、どのモデルか。 */
export interface Target extends ModelRef {
  readonly protocol: "rest" | "grpc";
  /** REST なら `http://host:port`、gRPC なら `host:port`。 */
  readonly address: string;
  readonly security: ClientSecurity;
  readonly timeoutMs: number;
}

/**
 * 動いているモデルのシグネチャ。
 *
 * @throws UsageError その名前が無い。
 */
export async function askSignature(
  { protocol, address, security, timeoutMs, signatureName: _, ...model }: Target,
  key: string,
): Promise<Signature> {
  let signatures: ReadonlyMap<string, Signature>;
  if (protocol === "grpc") {
    using client = await openGrpc({ address, timeoutMs, ...toGrpcSecurity(security) });
    ({ signatures } = await client.getModelMetadata(model));
  } else {
    const client = await openRest({ origin: address, timeoutMs, ...security });
    ({ signatures } = await client.getModelMetadata(model));
  }
  const signature = signatures.get(key);
  if (signature === undefined) {
    throw new UsageError(`the model has no signature ${key}; it has ${[...signatures.keys()].join(", ")}`);
  }
  return signature;
}
