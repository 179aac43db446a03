import { toBinary } from "@bufbuild/protobuf";
import type { Host } from "./base/host.ts";
import { ExampleSchema } from "./gen/tensorflow/core/example/example_pb.ts";
import type { Input } from "./gen/tensorflow_serving/apis/input_pb.ts";
import type { ModelSpec as ModelSpecProto } from "./gen/tensorflow_serving/apis/model_pb.ts";
import type { ModelServable } from "./servables/model_servable.ts";
import type { WarmupRunner } from "./servables/warmup.ts";
import type { ServedModels } from "./service/model_spec.ts";
import { mergeContext, type PredictionOptions, PredictionService } from "./service/prediction_service.ts";
import { tensorFromProto } from "./tensor/tensor_proto.ts";

/** 読み込み中の 1 版だけを、どんな名前で求められても貸す。記録の中の名前は指標にだけ使い、版は見ない。 */
function onlyModel(servable: ModelServable): ServedModels {
  const refuse = (): never => {
    throw new Error("only inference is replayed during warm-up");
  };
  return {
    acquire: ({ name }) => ({ id: { ...servable.id, name }, servable, [Symbol.dispose]() {} }),
    statuses: refuse,
    list: refuse,
    available: refuse,
    reloadConfig: refuse,
    onStateChange: refuse,
  };
}

function readExamples(input: Input | undefined): readonly Uint8Array[] {
  const kind = input?.kind;
  if (kind?.case === undefined) return [];
  const examples = kind.value.examples.map((example) => toBinary(ExampleSchema, example));
  const context = kind.case === "exampleListWithContext" ? kind.value.context : undefined;
  return context === undefined ? examples : mergeContext(examples, toBinary(ExampleSchema, context));
}

/** 記録された要求を、本物の要求と同じ検査と実行に通す。 */
export function createWarmupRunner(host: Host, options: PredictionOptions): WarmupRunner {
  const serviceOf = (servable: ModelServable) => new PredictionService(host, onlyModel(servable), options);
  const target = (spec: ModelSpecProto | undefined) => ({
    spec: { name: spec?.name ?? "" },
    signatureName: spec?.signatureName ?? "",
  });
  return {
    predict: (servable, { modelSpec, inputs, outputFilter }) =>
      serviceOf(servable).predict(
        {
          ...target(modelSpec),
          outputFilter,
          readInputs: () =>
            new Map(Object.entries(inputs).map(([alias, proto]) => [alias, tensorFromProto(proto)])),
        },
        {},
      ),
    classify: (servable, { modelSpec, input }) =>
      serviceOf(servable).classify({ ...target(modelSpec), readExamples: () => readExamples(input) }, {}),
    regress: (servable, { modelSpec, input }) =>
      serviceOf(servable).regress({ ...target(modelSpec), readExamples: () => readExamples(input) }, {}),
    multiInference: (servable, { tasks, input }) =>
      serviceOf(servable).multiInference(
        {
          tasks: tasks.map(({ modelSpec, methodName }) => ({ ...target(modelSpec), methodName })),
          readExamples: () => readExamples(input),
        },
        {},
      ),
  };
}
