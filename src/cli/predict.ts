import { clientFlags, readClientSecurity } from "./client_flags.ts";
import { type Command, type CommandFlags, UsageError } from "./command.ts";
import { parseFlags, readNumber } from "./command_flags.ts";
import type { Target } from "./model_signature.ts";
import { askFlowers, flowersToJson, flowersToText, toFlowers } from "./predict_flowers.ts";
import { askRequest } from "./predict_request.ts";
import { printFailure } from "./print_failure.ts";
import { readDataFile } from "./request_data.ts";

const flags = {
  grpc: { type: "boolean", help: "ask by gRPC instead of REST" },
  server: {
    type: "string",
    hint: "URL|HOST:PORT",
    help: "the local server by default, on REST_API_PORT (8501) or PORT (8500)",
  },
  model: { type: "string", default: "iris", env: "MODEL_NAME", hint: "NAME", help: "model to ask" },
  version: { type: "string", hint: "N", help: "version to ask; the newest one by default" },
  signature: { type: "string", hint: "NAME", help: "signature to run; serving_default by default" },
  data: {
    type: "string",
    hint: "FILE",
    help: "request bodies: JSON as for curl (one, or one per line); - is stdin",
    completes: "file",
  },
  ...clientFlags,
  timeout_ms: { type: "string", default: "10000", hint: "N", help: "how long to wait for the answer" },
  json: { type: "boolean", help: "print JSON (answers to --data always are)" },
} as const satisfies CommandFlags;

type Values = ReturnType<typeof parseFlags<typeof flags>>["values"];

async function readTarget(values: Values): Promise<Target> {
  const { PORT, REST_API_PORT } = process.env;
  const server = values.server ?? `127.0.0.1:${values.grpc ? PORT || "8500" : REST_API_PORT || "8501"}`;
  const scheme = values.ca === undefined ? "http" : "https";
  return {
    protocol: values.grpc ? "grpc" : "rest",
    address: (values.grpc || /^https?:\/\//.test(server) ? server : `${scheme}://${server}`).replace(
      /\/+$/,
      "",
    ),
    name: values.model,
    ...(values.version === undefined ? {} : { version: BigInt(values.version) }),
    ...(values.signature === undefined ? {} : { signatureName: values.signature }),
    timeoutMs: readNumber("timeout_ms", values.timeout_ms, 1),
    security: await readClientSecurity(values),
  };
}

/** `-` だけなら、標準入力の数。空白、コンマ、改行で区切る。 */
async function readFlowers(words: readonly string[]): Promise<number[][]> {
  if (words.length !== 1 || words[0] !== "-") return toFlowers(words);
  return toFlowers((await Bun.stdin.text()).split(/[\s,]+/).filter((word) => word !== ""));
}

export const predictCommand: Command = {
  name: "predict",
  summary: "ask a running server",
  synopsis: "SEPAL_LENGTH SEPAL_WIDTH PETAL_LENGTH PETAL_WIDTH [...] | - | --data=FILE",
  examples: [
    ["iris-serving predict 5.1 3.5 1.4 0.2", "by REST, from http://127.0.0.1:8501"],
    ["iris-serving predict --grpc 5.1 3.5 1.4 0.2", "by gRPC, from 127.0.0.1:8500"],
    ["iris-serving predict --json 5.1 3.5 1.4 0.2 6.7 3 5.2 2.3", "two flowers, as JSON"],
    ["cut -d, -f1-4 flowers.csv | iris-serving predict -", "flowers from a pipe, one line for each"],
    ["iris-serving predict --model=m --data=request.json", "any model, with the body that you give to curl"],
    [
      `echo '{"instances": ["good"]}' | iris-serving predict --model=m --data=-`,
      "the same from a pipe; more lines, more requests",
    ],
    [
      "iris-serving predict --server=http://10.0.0.7:8501 --version=1 5.1 3.5 1.4 0.2",
      "one version elsewhere",
    ],
    ["iris-serving predict --ca=ca.crt --token_file=token 5.1 3.5 1.4 0.2", "over TLS, with a bearer token"],
  ],
  notes: "Numbers are flowers for the embedded model: lengths in centimetres, four per flower.",
  flags,
  exitCodes: [
    [0, "answered"],
    [1, "the server refused or was not reachable"],
  ],
  async run(args) {
    const { values, positionals } = parseFlags(flags, args);
    if (values.version !== undefined && !/^\d+$/.test(values.version)) {
      throw new UsageError(`--version needs a number, not ${values.version}`);
    }
    if (values.data !== undefined && positionals.length > 0) {
      throw new UsageError("give numbers or --data, not both");
    }
    try {
      const target = await readTarget(values);
      if (values.data === undefined) {
        const rows = await readFlowers(positionals);
        const answers = await askFlowers(target, rows);
        console.log(values.json ? flowersToJson(answers) : flowersToText(rows, answers));
        return 0;
      }
      const data = await readDataFile(values.data);
      if (data.kind === "records") throw new UsageError("predict takes JSON; bench replays TFRecords");
      for (const body of data.bodies) console.log(await askRequest(target, body));
      return 0;
    } catch (thrown) {
      if (thrown instanceof UsageError) throw thrown;
      return printFailure(thrown);
    }
  },
};
