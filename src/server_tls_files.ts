import type { Host } from "./base/host.ts";
import { tls as nodeTls } from "./base/late_builtins.ts";
import { invalidArgument } from "./base/status.ts";
import { readTextProto } from "./config_files.ts";
import { SSLConfigSchema } from "./gen/tensorflow_serving/config/ssl_config_pb.ts";
import type { Storage } from "./savedmodel/storage.ts";
import type { ServerTls } from "./service/server_tls.ts";

/** 鍵と証明書のファイルの大きさの上限。 */
const MAX_PEM_BYTES = 2 ** 20;

/** TLS の材料がどこにあるか。 */
export interface TlsFiles {
  /** text 形式の SSLConfig。空でなければ、ほかの 3 つより強い。 */
  readonly sslConfigFile: string;
  /** PEM のファイル。 */
  readonly certFile: string;
  readonly keyFile: string;
  /** あれば、この根で確かめられる客だけを受ける。 */
  readonly clientCaFile: string;
}

/**
 * TLS の材料を読む。
 *
 * @returns どのファイルも名指されていなければ undefined(平文)。
 * @throws 読めないファイル。
 * @throws INVALID_ARGUMENT 証明書と鍵の一方だけ、PEM でない、組にならない。
 */
export async function readServerTls(
  host: Host,
  storage: Storage,
  files: TlsFiles,
): Promise<ServerTls | undefined> {
  const { sslConfigFile, certFile, keyFile, clientCaFile } = files;
  if (sslConfigFile !== "") {
    const { serverKey, serverCert, customCa, clientVerify } = await readTextProto(
      host,
      storage,
      SSLConfigSchema,
      sslConfigFile,
    );
    return checked({ key: serverKey, cert: serverCert, clientCa: customCa, clientVerify }, sslConfigFile);
  }
  if (certFile === "" && keyFile === "" && clientCaFile === "") return undefined;
  if (certFile === "" || keyFile === "") {
    throw invalidArgument("--tls_cert_file and --tls_key_file must be given together");
  }
  const read = async (path: string): Promise<string> =>
    path === "" ? "" : new TextDecoder().decode(await storage.read(path, MAX_PEM_BYTES));
  const [cert, key, clientCa] = await Promise.all([certFile, keyFile, clientCaFile].map(read));
  return checked(
    { cert: cert!, key: key!, clientCa: clientCa!, clientVerify: clientCaFile !== "" },
    `${certFile}, ${keyFile}`,
  );
}

/** 待ち受けを始める前に、どのファイルが悪いのかを言う。中身は言わない。 */
function checked(tls: ServerTls, path: string): ServerTls {
  try {
    nodeTls().createSecureContext({
      key: tls.key,
      cert: tls.cert,
      ...(tls.clientCa === "" ? {} : { ca: tls.clientCa }),
    });
  } catch (thrown) {
    throw invalidArgument(`${path}; Not a usable certificate and key`, thrown);
  }
  return tls;
}
