// 借りる、署名を引く、検査する、1 件だけのバッチで走らせる、返す。ワイヤも、モデルの計算も無い。
//   bun dispatch.ts → {"perSecond": 1 秒の回数(5 回の中央値)}
import { systemClock } from "../../../src/base/clock.ts";
import { silentLogger } from "../../../src/base/log.ts";
import { Metrics } from "../../../src/base/metrics.ts";
import { TurnBatching } from "../../../src/batching/turn_batching.ts";
import { availabilityPreserving } from "../../../src/core/aspired_version_policy.ts";
import type { ModelServable } from "../../../src/servables/model_servable.ts";
import { PredictionService } from "../../../src/service/prediction_service.ts";
import { singleModelConfig } from "../../../src/sources/model_config.ts";
import { ServerCore } from "../../../src/sources/server_core.ts";
import { PREDICT_METHOD, type Signature } from "../../../src/tensor/signature.ts";
import { tensor } from "../../../src/tensor/tensor.ts";
import { median } from "../numbers.ts";

const host = { clock: systemClock, log: silentLogger, metrics: new Metrics() };
const info = (name: string, columns: number) => ({
  name,
  wireDType: 1,
  dtype: "float" as const,
  shape: [-1, columns],
});
const signature: Signature = {
  key: "serving_default",
  methodName: PREDICT_METHOD,
  inputs: new Map([["x", info("x:0", 4)]]),
  outputs: new Map([["y", info("y:0", 3)]]),
  defaults: new Map(),
};
const answer = [tensor("float", [1, 3], new Float32Array(3))];
const batching = new TurnBatching(host, () => ({
  feedDTypes: ["float" as const],
  rowShapes: [[-1, 4]],
  run: () => answer,
}));
const servable: ModelServable = {
  id: { name: "m", version: 1n },
  sha256: "",
  stateful: false,
  signatures: new Map([["serving_default", signature]]),
  prepare: (feeds, fetches) => batching.prepare(feeds, fetches),
};
const core = new ServerCore<ModelServable>(
  host,
  {
    exists: () => Promise.resolve(true),
    list: () => Promise.resolve([{ name: "1", kind: "directory" as const }]),
  },
  {
    manager: {
      policy: availabilityPreserving,
      retry: { maxRetries: 0, intervalMs: 0 },
      numLoadThreads: 0,
      numUnloadThreads: 0,
    },
    numInitialLoadThreads: 1,
    fileSystemPollWaitSeconds: 0,
    allowVersionLabelsForUnavailableModels: false,
    platforms: new Map([["tensorflow", () => ({ load: () => Promise.resolve(servable), unload() {} })]]),
  },
);
await core.reloadConfig(singleModelConfig(host, "m", "/m"));

const service = new PredictionService(host, core, { methodNameCheck: false });
const inputs = new Map([["x", tensor("float", [1, 4], new Float32Array(4))]]);
const request = { spec: { name: "m" }, signatureName: "", readInputs: () => inputs, outputFilter: [] };
const CALLS = 1_000_000;
const rates: number[] = [];
for (let round = 0; round < 6; round++) {
  const start = performance.now();
  for (let i = 0; i < CALLS; i++) {
    // 走らせるのが高くついたと見れば、バッチは回の終わりにまとめる。そのときだけ待つ。
    const answer = service.predict(request, {});
    const result = answer instanceof Promise ? await answer : answer;
    if (result.outputs.size !== 1) throw new Error("a wrong answer");
  }
  rates.push((CALLS * 1000) / (performance.now() - start));
}
console.log(JSON.stringify({ perSecond: median(rates.slice(1)) }));
await core.shutdown();
