import type { Host } from "../base/host.ts";
import { Code, StatusError } from "../base/status.ts";
import type { RunContext } from "../servables/model_servable.ts";
import { RequestMetrics } from "./metrics.ts";

/** 1 回の呼び出しに付いて回る期限と中止の合図。 */
export type CallContext = RunContext;

export interface ApiName {
  /** 指標の `API` ラベル。gRPC は `Predict`、REST は URL の動詞(GET は空)。 */
  readonly api: string;
  readonly entrypoint: "GRPC" | "REST";
  /** request_count と request_latency に数えるか。TF Serving は数える API を選んでいる。 */
  readonly counted: boolean;
}

/** どの入口のどの API の呼び出しも、ここで数えられ、失敗は StatusError になって出ていく。 */
export interface Call {
  <T>(modelName: string, work: () => T | Promise<T>): T | Promise<T>;
  /** 要求ごとに関数を作らずに済むように、`work` に渡す物を別に受け取る。 */
  <T, A, B>(modelName: string, work: (a: A, b: B) => T | Promise<T>, a: A, b: B): T | Promise<T>;
}

/**
 * 1 つの API の包みを作る。起動時に 1 度だけ作り、呼び出しごとには作らない。
 *
 * 戻り値の関数は `work` が同期で終われば同期で返す。
 *
 * @throws StatusError `work` の失敗はすべてこの型になる。想定外のものは INTERNAL で、中身はログにだけ出る。
 */
export function createCall(host: Host, { api, entrypoint, counted }: ApiName): Call {
  const { clock, log } = host;
  const cellsByModel = new RequestMetrics(host.metrics).requests(api, entrypoint);

  const succeed = (modelName: string, startMs: number): void => {
    if (!counted) return;
    const cells = cellsByModel.get(modelName);
    cells.latency.observe((clock.monotonicMs() - startMs) * 1000);
    cells.finished(Code.OK);
  };
  const fail = (modelName: string, thrown: unknown): StatusError => {
    const error = StatusError.from(thrown);
    if (counted) cellsByModel.get(modelName).finished(error.code);
    const fields = { api, entrypoint, model: modelName, status: error.toString() };
    if (error.cause === undefined || error.code !== Code.INTERNAL) log.debug("call failed", fields);
    else log.error("call failed unexpectedly", { ...fields, error: error.cause });
    return error;
  };

  const settle = <T>(result: Promise<T>, modelName: string, startMs: number): Promise<T> =>
    result.then(
      (value) => {
        succeed(modelName, startMs);
        return value;
      },
      (thrown: unknown) => {
        throw fail(modelName, thrown);
      },
    );

  return <T, A, B>(modelName: string, work: (a: A, b: B) => T | Promise<T>, a?: A, b?: B) => {
    const startMs = clock.monotonicMs();
    let result: T | Promise<T>;
    try {
      result = work(a!, b!);
    } catch (thrown) {
      throw fail(modelName, thrown);
    }
    if (result instanceof Promise) return settle(result, modelName, startMs);
    succeed(modelName, startMs);
    return result;
  };
}
