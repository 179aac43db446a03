import { clientFlags, readClientSecurity, toGrpcSecurity } from "./client_flags.ts";
import { openGrpc } from "./clients.ts";
import type { Command, CommandFlags } from "./command.ts";
import { parseFlags, readNumber } from "./command_flags.ts";
import { printFailure } from "./print_failure.ts";

const flags = {
  server: {
    type: "string",
    default: "127.0.0.1:8500",
    hint: "HOST:PORT",
    help: "gRPC address or unix:PATH; PORT may name a local port",
  },
  service: {
    type: "string",
    default: "",
    hint: "NAME",
    help: "service to ask about; empty means the whole server",
  },
  ...clientFlags,
  timeout_ms: { type: "string", default: "2000", hint: "N", help: "how long to wait for the answer" },
} as const satisfies CommandFlags;

export const healthCommand: Command = {
  name: "health",
  summary: "exit 0 if a server is serving",
  synopsis: "",
  examples: [
    ["iris-serving health", "the local server, as a container's health check"],
    ["iris-serving health --server=10.0.0.7:8500", "another machine's"],
    ["until iris-serving health; do sleep 1; done", "wait for a server that is starting"],
  ],
  notes: "The server is asked by grpc.health.v1, as grpc_health_probe does.",
  flags,
  exitCodes: [
    [0, "serving"],
    [1, "not serving or not reachable"],
  ],
  async run(args) {
    const { PORT } = process.env;
    const { values } = parseFlags(flags, PORT ? [`--server=127.0.0.1:${PORT}`, ...args] : args);
    const timeoutMs = readNumber("timeout_ms", values.timeout_ms, 1);
    try {
      const security = toGrpcSecurity(await readClientSecurity(values));
      using client = await openGrpc({ address: values.server, timeoutMs, ...security });
      const serving = await client.health(values.service);
      console.log(serving ? "SERVING" : "NOT_SERVING");
      return serving ? 0 : 1;
    } catch (thrown) {
      return printFailure(thrown);
    }
  },
};
