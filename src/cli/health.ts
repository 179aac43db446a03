import { parseArgs } from "node:util";
import { StatusError } from "../base/status.ts";
import { GrpcClient } from "../client/grpc_client.ts";
import { type Command, UsageError } from "./command.ts";

export const healthCommand: Command = {
  name: "health",
  summary: "exit 0 if a server is serving",
  help: `usage: iris-serving health [--server=HOST:PORT|unix:PATH] [--service=NAME] [--timeout_ms=2000]

  iris-serving health                        the local server, as a container's health check
  iris-serving health --server=10.0.0.7:8500

The server is asked by grpc.health.v1. Exit codes: 0 serving, 1 not serving or not reachable.`,
  async run(args) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        server: { type: "string", default: `127.0.0.1:${process.env["PORT"] || "8500"}` },
        service: { type: "string", default: "" },
        timeout_ms: { type: "string", default: "2000" },
      },
    });
    const timeoutMs = Number(values.timeout_ms);
    if (!(timeoutMs > 0))
      throw new UsageError(`--timeout_ms needs a positive number, not ${values.timeout_ms}`);
    using client = new GrpcClient({ address: values.server, timeoutMs });
    try {
      const serving = await client.health(values.service);
      console.log(serving ? "SERVING" : "NOT_SERVING");
      return serving ? 0 : 1;
    } catch (thrown) {
      console.error(StatusError.from(thrown).toString());
      return 1;
    }
  },
};
