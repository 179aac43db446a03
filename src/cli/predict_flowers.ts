import { failedPrecondition } from "../base/status.ts";
import type { JsonOutput } from "../client/json_text.ts";
import { tensor } from "../tensor/tensor.ts";
import { toGrpcSecurity } from "./client_flags.ts";
import { openGrpc, openRest } from "./clients.ts";
import { UsageError } from "./command.ts";
import type { Target } from "./model_signature.ts";

/** 埋め込みのモデルの出力の順。 */
const LABELS = ["setosa", "versicolor", "virginica"];
const WIDTH = 4;

type Rows = readonly (readonly number[])[];

/**
 * 数の並びを 4 つずつの花にする。
 *
 * @throws UsageError 数でない、4 つずつにならない。
 */
export function toFlowers(words: readonly string[]): number[][] {
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

const notFlowers = (name: string) =>
  failedPrecondition(`Model ${name} does not answer with three probabilities: give it a request with --data`);

async function askGrpc({ address, timeoutMs, security, ...model }: Target, rows: Rows): Promise<number[][]> {
  using client = await openGrpc({ address, timeoutMs, ...toGrpcSecurity(security) });
  const input = tensor("float", [rows.length, WIDTH], Float32Array.from(rows.flat()));
  const { outputs } = await client.predict(model, new Map([["input", input]]));
  const output = outputs.get("output");
  if (output?.dtype !== "float" || output.shape.length !== 2 || output.shape[1] !== LABELS.length) {
    throw notFlowers(model.name);
  }
  return rows.map((_, i) => [...output.data.subarray(i * LABELS.length, (i + 1) * LABELS.length)]);
}

const isProbabilities = (row: JsonOutput): row is number[] =>
  Array.isArray(row) && row.length === LABELS.length && row.every((value) => typeof value === "number");

async function askRest({ address, timeoutMs, security, ...model }: Target, rows: Rows): Promise<number[][]> {
  const client = await openRest({ origin: address, timeoutMs, ...security });
  const predictions = await client.predict(model, { instances: rows });
  if (!Array.isArray(predictions) || !predictions.every(isProbabilities)) throw notFlowers(model.name);
  return predictions;
}

/** @returns 花ごとの、種の確率。 */
export const askFlowers = (target: Target, rows: Rows): Promise<number[][]> =>
  target.protocol === "grpc" ? askGrpc(target, rows) : askRest(target, rows);

const bestOf = (probabilities: readonly number[]): number =>
  probabilities.indexOf(Math.max(...probabilities));

/** 1 輪なら種ごとに 1 行、いくつもなら 1 輪に 1 行。 */
export function flowersToText(rows: Rows, answers: readonly (readonly number[])[]): string {
  const [first] = answers;
  if (first !== undefined && answers.length === 1) {
    const best = bestOf(first);
    return [
      ...first.map((value, i) => `${LABELS[i]!.padEnd(12)}${value.toFixed(6)}${i === best ? "  <-" : ""}`),
      `label: ${LABELS[best]}`,
    ].join("\n");
  }
  return answers
    .map((probabilities, i) => {
      const best = bestOf(probabilities);
      return `${LABELS[best]!.padEnd(12)}${probabilities[best]!.toFixed(6)}  ${rows[i]!.join(" ")}`;
    })
    .join("\n");
}

export const flowersToJson = (answers: readonly (readonly number[])[]): string =>
  JSON.stringify(
    answers.map((probabilities) => ({
      label: LABELS[bestOf(probabilities)],
      probabilities: Object.fromEntries(probabilities.map((value, i) => [LABELS[i], value])),
    })),
  );
