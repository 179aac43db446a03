// 要求を送り続けながら証明書を何度も替え、失敗した要求の数と、新しい接続が見た名前を示す。失敗が 1 つでもあれば終了コード 1。
//   bun scripts/load/certificate_swap.ts [--binary=./iris-serving] [--swaps=5] [--processes=1]
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { parseArgs } from "node:util";
import { GrpcClient } from "../../src/client/grpc_client.ts";
import { RestClient } from "../../src/client/rest_client.ts";
import { createAuthority, issue } from "../../test/helpers/certificates.ts";
import { root } from "../steps.ts";
import { freePort } from "./tools.ts";

const { values } = parseArgs({
  options: {
    binary: { type: "string", default: join(root, "iris-serving") },
    swaps: { type: "string", default: "5" },
    processes: { type: "string", default: "1" },
  },
});
const FLOWS = 4;
const directory = mkdtempSync(join(tmpdir(), "certificate-swap-"));
const [certFile, keyFile] = [join(directory, "cert.pem"), join(directory, "key.pem")];
const authority = await createAuthority("authority");
const rootCerts = authority.cert;
async function install(name: string): Promise<void> {
  const { cert, key } = await issue(authority, name);
  writeFileSync(keyFile, key);
  writeFileSync(certFile, cert);
}

await install("certificate 0");
const [port, restPort] = [await freePort(), await freePort()];
const server = Bun.spawn(
  [
    values.binary,
    `--port=${port}`,
    `--rest_api_port=${restPort}`,
    `--tls_cert_file=${certFile}`,
    `--tls_key_file=${keyFile}`,
    "--credentials_poll_wait_seconds=1",
    `--processes=${values.processes}`,
    "--log_level=warn",
  ],
  { stdio: ["ignore", "ignore", "inherit"] },
);
const rest = new RestClient({ origin: `https://localhost:${restPort}`, rootCerts });
const grpc = new GrpcClient({ address: `localhost:${port}`, tls: { rootCerts } });

/** その番号で今名乗られる名前。 */
function nameAt(at: number, protocol: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(
      { port: at, host: "127.0.0.1", servername: "localhost", ca: rootCerts, ALPNProtocols: [protocol] },
      () => {
        resolve(String(socket.getPeerCertificate().subject.CN));
        socket.destroy();
      },
    );
    socket.on("error", reject);
  });
}

const counts = { rest: 0, grpc: 0, failed: 0 };
const failures = new Map<string, number>();
let running = true;
async function flow(name: "rest" | "grpc", ask: () => Promise<unknown>): Promise<void> {
  while (running) {
    try {
      await ask();
      counts[name]++;
    } catch (thrown) {
      counts.failed++;
      failures.set(String(thrown), (failures.get(String(thrown)) ?? 0) + 1);
    }
  }
}

try {
  while (
    !(await rest.getModelStatus({ name: "iris" }).then(
      () => true,
      () => false,
    ))
  ) {
    if (server.exitCode !== null) throw new Error(`the server exited with ${server.exitCode}`);
    await Bun.sleep(50);
  }
  const flows = Array.from({ length: FLOWS }, (_, i) =>
    i % 2 === 0
      ? flow("rest", () => rest.predict({ name: "iris" }, { instances: [[5.1, 3.5, 1.4, 0.2]] }))
      : flow("grpc", () => grpc.getModelStatus({ name: "iris" })),
  );
  for (let swap = 1; swap <= Number(values.swaps); swap++) {
    const name = `certificate ${swap}`;
    const started = performance.now();
    await install(name);
    for (const [at, protocol] of [
      [port, "h2"],
      [restPort, "http/1.1"],
    ] as const) {
      while ((await nameAt(at, protocol)) !== name) await Bun.sleep(100);
    }
    console.log(`${name} seen at both doors after ${((performance.now() - started) / 1000).toFixed(1)} s`);
    // 元の待ち受けが閉じるところまで見る。
    await Bun.sleep(3000);
  }
  running = false;
  await Promise.all(flows);
} finally {
  grpc[Symbol.dispose]();
  server.kill("SIGTERM");
  console.log(`exit status ${await server.exited}`);
  rmSync(directory, { recursive: true, force: true });
}
for (const [failure, count] of failures) console.log(`${count} × ${failure}`);
console.log(`${counts.rest} REST and ${counts.grpc} gRPC requests, ${counts.failed} failed`);
process.exit(counts.failed === 0 ? 0 : 1);
