import { invalidArgument } from "../base/status.ts";
import type { CommandFlags } from "./command.ts";

/** 守られたサーバーに聞くための旗。 */
export const clientFlags = {
  ca: {
    type: "string",
    hint: "FILE",
    help: "PEM file of the server's authority; turns on TLS",
    completes: "file",
  },
  token_file: {
    type: "string",
    hint: "FILE",
    help: "file with the bearer token to send; its first line is used",
    completes: "file",
  },
} as const satisfies CommandFlags;

export interface ClientSecurity {
  /** サーバーを確かめる根(PEM)。無ければ平文。 */
  readonly rootCerts?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

async function readFile(path: string): Promise<string> {
  try {
    return await Bun.file(path).text();
  } catch (thrown) {
    throw invalidArgument(`${path}; Could not be read`, thrown);
  }
}

/**
 * 旗の指すファイルを読む。鍵そのものを旗にしないのは、引数がほかの利用者にも見えるため。
 *
 * @throws INVALID_ARGUMENT 読めない、鍵が無い。
 */
export async function readClientSecurity(values: {
  readonly ca: string | undefined;
  readonly token_file: string | undefined;
}): Promise<ClientSecurity> {
  const rootCerts = values.ca === undefined ? undefined : await readFile(values.ca);
  if (values.token_file === undefined) return rootCerts === undefined ? {} : { rootCerts };
  const token = (await readFile(values.token_file)).trim().split(/\s/, 1)[0]!;
  if (token === "") throw invalidArgument(`${values.token_file}; No token in the file`);
  const headers = { Authorization: `Bearer ${token}` };
  return rootCerts === undefined ? { headers } : { rootCerts, headers };
}

/** gRPC の客に渡す形。 */
export function toGrpcSecurity({ rootCerts, headers }: ClientSecurity) {
  return {
    ...(rootCerts === undefined ? {} : { tls: { rootCerts } }),
    ...(headers === undefined ? {} : { headers }),
  };
}
