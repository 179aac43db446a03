import { invalidArgument, StatusError } from "../base/status.ts";
import { GrpcClient } from "../client/grpc_client.ts";
import { RestClient } from "../client/rest_client.ts";
import { tensor } from "../tensor/tensor.ts";
import { type ClientSecurity, clientFlags, readClientSecurity, toGrpcSecurity } from "./client_flags.ts";
import { type Command, type CommandFlags, UsageError } from "./command.ts";
import { parseFlags, readNumber } from "./command_flags.ts";

/** 埋め込みのモデルの出力の順。 */
const LABELS = ["setosa", "versicolor", "virginica"];
const WIDTH = 4;

interface Question {
  readonly server: string;
  readonly model: string;
  readonly version: bigint | undefined;
  readonly rows: readonly (readonly number[])[];
  readonly timeoutMs: number;
  readonly security: ClientSecurity;
}

const ref = ({ model, version }: Question) => ({
  name: model,
  ...(version === undefined ? {} : { version }),
});

async function askGrpc(question: Question): Promise<number[][]> {
  using client = new GrpcClient({
    address: question.server,
    timeoutMs: question.timeoutMs,
    ...toGrpcSecurity(question.security),
  });
  const { rows } = question;
  const input = tensor("float", [rows.length, WIDTH], Float32Array.from(rows.flat()));
  const { outputs } = await client.predict(ref(question), new Map([["input", input]]));
  const output = outputs.get("output");
  if (output?.dtype !== "float" || output.shape.length !== 2) {
    throw invalidArgument(`Model ${question.model} has no float output "output" of rank 2`);
  }
  const width = output.shape[1]!;
  return rows.map((_, i) => [...output.data.subarray(i * width, (i + 1) * width)]);
}

async function askRest(question: Question): Promise<number[][]> {
  const client = new RestClient({
    origin: question.server,
    timeoutMs: question.timeoutMs,
    ...question.security,
  });
  const predictions = await client.predict(ref(question), { instances: question.rows });
  return predictions as number[][];
}

/** 引数を 4 つずつの行にする。 */
function toRows(words: readonly string[]): number[][] {
  const values = words.map((word) => {
    const value = Number(word);
    if (word.trim() === "" || Number.isNaN(value)) throw new UsageError(`not a number: ${word}`);
    return value;
  });
  if (values.length === 0 || values.length % WIDTH !== 0) {
    throw new UsageError(`predict takes 4 numbers per flower, got ${values.length}`);
  }
  return Array.from({ length: values.length / WIDTH }, (_, i) => values.slice(i * WIDTH, (i + 1) * WIDTH));
}

function print(probabilities: readonly number[]): void {
  const best = probabilities.indexOf(Math.max(...probabilities));
  for (const [i, value] of probabilities.entries()) {
    console.log(`${(LABELS[i] ?? String(i)).padEnd(12)}${value.toFixed(6)}${i === best ? "  <-" : ""}`);
  }
  console.log(`label: ${LABELS[best] ?? best}`);
}

const flags = {
  grpc: { type: "boolean", help: "ask by gRPC instead of REST" },
  server: {
    type: "string",
    hint: "URL|HOST:PORT",
    help: "the local server by default, on REST_API_PORT (8501) or PORT (8500)",
  },
  model: { type: "string", default: "iris", env: "MODEL_NAME", hint: "NAME", help: "model to ask" },
  version: { type: "string", hint: "N", help: "version to ask; the newest one by default" },
  ...clientFlags,
  timeout_ms: { type: "string", default: "10000", hint: "N", help: "how long to wait for the answer" },
  json: { type: "boolean", help: "print JSON" },
} as const satisfies CommandFlags;

export const predictCommand: Command = {
  name: "predict",
  summary: "ask a running server about flowers",
  synopsis: "SEPAL_LENGTH SEPAL_WIDTH PETAL_LENGTH PETAL_WIDTH [...]",
  examples: [
    ["iris-serving predict 5.1 3.5 1.4 0.2", "by REST, from http://127.0.0.1:8501"],
    ["iris-serving predict --grpc 5.1 3.5 1.4 0.2", "by gRPC, from 127.0.0.1:8500"],
    ["iris-serving predict --json 5.1 3.5 1.4 0.2 6.7 3 5.2 2.3", "two flowers, as JSON"],
    [
      "iris-serving predict --server=http://10.0.0.7:8501 --version=1 5.1 3.5 1.4 0.2",
      "one version elsewhere",
    ],
    ["iris-serving predict --ca=ca.crt --token_file=token 5.1 3.5 1.4 0.2", "over TLS, with a bearer token"],
  ],
  notes: "Lengths in centimetres, four per flower.",
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
    const { PORT, REST_API_PORT } = process.env;
    const server = values.server ?? `127.0.0.1:${values.grpc ? PORT || "8500" : REST_API_PORT || "8501"}`;
    const scheme = values.ca === undefined ? "http" : "https";
    const rows = toRows(positionals);
    const timeoutMs = readNumber("timeout_ms", values.timeout_ms, 1);
    try {
      const question: Question = {
        server: values.grpc || /^https?:\/\//.test(server) ? server : `${scheme}://${server}`,
        model: values.model,
        version: values.version === undefined ? undefined : BigInt(values.version),
        rows,
        timeoutMs,
        security: await readClientSecurity(values),
      };
      const answers = await (values.grpc ? askGrpc(question) : askRest(question));
      if (values.json) {
        console.log(
          JSON.stringify(
            answers.map((probabilities) => ({
              label: LABELS[probabilities.indexOf(Math.max(...probabilities))],
              probabilities: Object.fromEntries(probabilities.map((value, i) => [LABELS[i] ?? i, value])),
            })),
          ),
        );
      } else for (const probabilities of answers) print(probabilities);
      return 0;
    } catch (thrown) {
      console.error(StatusError.from(thrown).toString());
      return 1;
    }
  },
};
