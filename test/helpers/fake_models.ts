import { fromBinary } from "@bufbuild/protobuf";
import { invalidArgument, notFound } from "../../src/base/status.ts";
import type { ServableHandle } from "../../src/core/servable_handle.ts";
import { formatServableRequest, type ServableId } from "../../src/core/servable_id.ts";
import type { ServableState } from "../../src/core/servable_state.ts";
import { ExampleSchema } from "../../src/gen/tensorflow/core/example/example_pb.ts";
import type { ModelServable, PreparedRun, RunContext } from "../../src/servables/model_servable.ts";
import type { ModelSpec, ServedModels } from "../../src/service/model_spec.ts";
import type { ModelServerConfig } from "../../src/sources/model_config.ts";
import { type DType, wireOfDType } from "../../src/tensor/dtype.ts";
import {
  CLASSIFY_METHOD,
  PREDICT_METHOD,
  REGRESS_METHOD,
  type Signature,
  type TensorInfo,
} from "../../src/tensor/signature.ts";
import { type Tensor, tensor } from "../../src/tensor/tensor.ts";

/** `x:0 float [-1]` の形の 1 行から。 */
export function info(name: string, dtype: DType | undefined, shape: readonly number[] | undefined = [-1]) {
  return {
    name,
    wireDType: dtype === undefined ? 20 : wireOfDType(dtype),
    dtype,
    shape,
  } satisfies TensorInfo;
}

export function signature(
  key: string,
  inputs: Readonly<Record<string, TensorInfo>>,
  outputs: Readonly<Record<string, TensorInfo>>,
  {
    methodName = PREDICT_METHOD,
    defaults = {},
  }: { methodName?: string; defaults?: Record<string, Tensor> } = {},
): Signature {
  return {
    key,
    methodName,
    inputs: new Map(Object.entries(inputs)),
    outputs: new Map(Object.entries(outputs)),
    defaults: new Map(Object.entries(defaults)),
  };
}

type Run = (feeds: ReadonlyMap<string, Tensor>, context: RunContext) => ReadonlyMap<string, Tensor>;

/**
 * 関数で書いたモデル。
 *
 * @param run テンソル名 → 値 を受け、求められうるすべてのテンソル名 → 値 を返す。
 */
export class FakeServable implements ModelServable {
  readonly id: ServableId;
  readonly signatures: ReadonlyMap<string, Signature>;
  readonly sha256 = "0123456789abcdef".repeat(4);
  readonly stateful = false;
  /** 走った回数。 */
  runs = 0;
  /** 真なら答えを Promise にする。 */
  asynchronous = false;
  /** 走る前に呼ばれる。 */
  beforeRun: () => void = () => {};
  readonly #run: Run;

  constructor(id: ServableId, signatures: readonly Signature[], run: Run) {
    this.id = id;
    this.signatures = new Map(signatures.map((one) => [one.key, one]));
    this.#run = run;
  }

  prepare(feeds: readonly string[], fetches: readonly string[]): PreparedRun {
    const infos = [...this.signatures.values()].flatMap(({ inputs }) => [...inputs.values()]);
    return {
      feedDTypes: feeds.map((name) => infos.find((one) => one.name === name)?.dtype),
      run: (inputs, context) => {
        this.beforeRun();
        this.runs++;
        const values = this.#run(new Map(feeds.map((name, i) => [name, inputs[i]!])), context);
        const outputs = fetches.map((name) => values.get(name)!);
        return this.asynchronous ? Promise.resolve(outputs) : outputs;
      },
    };
  }
}

/** 版の表だけでできた、モデルの集まり。 */
export class FakeModels implements ServedModels {
  readonly servables: FakeServable[];
  readonly labels = new Map<string, bigint>();
  readonly states: ServableState[] = [];
  /** 借りられて、まだ返っていない数。 */
  borrowed = 0;
  reload: (config: ModelServerConfig) => Promise<void> = async () => {};

  constructor(...servables: FakeServable[]) {
    this.servables = servables;
    for (const { id } of servables) this.states.push({ id, state: "AVAILABLE" });
  }

  acquire({ name, version: given, label }: ModelSpec): ServableHandle<ModelServable> {
    if (name === "") throw invalidArgument("ModelSpec has no name specified.");
    let version = given;
    if (label !== undefined) {
      version = this.labels.get(label);
      if (version === undefined) throw invalidArgument(`Unrecognized servable version label: ${label}`);
    }
    const candidates = this.servables
      .filter(({ id }) => id.name === name && (version === undefined || id.version === version))
      .sort((a, b) => (a.id.version < b.id.version ? 1 : -1));
    const [servable] = candidates;
    if (servable === undefined) {
      throw notFound(`Servable not found for request: ${formatServableRequest({ name, version })}`);
    }
    this.borrowed++;
    return {
      id: servable.id,
      servable,
      [Symbol.dispose]: () => {
        this.borrowed--;
      },
    };
  }

  statuses(name: string, version?: bigint): readonly ServableState[] {
    const found = this.states.filter(
      ({ id }) => id.name === name && (version === undefined || id.version === version),
    );
    if (found.length > 0) return found.sort((a, b) => (a.id.version < b.id.version ? 1 : -1));
    throw notFound(
      version === undefined
        ? `Could not find any versions of model ${name}`
        : `Could not find version ${version} of model ${name}`,
    );
  }

  list(): readonly string[] {
    return [...new Set(this.servables.map(({ id }) => id.name))];
  }

  available(): readonly ServableId[] {
    return this.servables.map(({ id }) => id);
  }

  reloadConfig(config: ModelServerConfig): Promise<void> {
    return this.reload(config);
  }

  onStateChange(): () => void {
    return () => {};
  }
}

const floats = (shape: readonly number[], values: Iterable<number>): Tensor =>
  tensor("float", shape, Float32Array.from(values));

/** Example の特徴 `name` の最初の float。無ければ 0。 */
function featureOf(example: Uint8Array, name: string): number {
  const { features } = fromBinary(ExampleSchema, example);
  const kind = features?.feature[name]?.kind;
  return kind?.case === "floatList" ? (kind.value.value[0] ?? 0) : 0;
}

/** half_plus_two: y = x / 2 + 2。TensorFlow Serving の試験が使う組と同じ別名とテンソル名を持つ。 */
export function halfPlusTwo(name = "half_plus_two", version = 123n): FakeServable {
  const examples = info("tf_example:0", "string");
  const y = info("y:0", "float", [-1, 1]);
  const y2 = info("y2:0", "float", [-1, 1]);
  return new FakeServable(
    { name, version },
    [
      signature("classify_x_to_y", { inputs: examples }, { scores: y }, { methodName: CLASSIFY_METHOD }),
      signature("regress_x_to_y", { inputs: examples }, { outputs: y }, { methodName: REGRESS_METHOD }),
      signature("regress_x_to_y2", { inputs: examples }, { outputs: y2 }, { methodName: REGRESS_METHOD }),
      signature("serving_default", { x: info("x:0", "float") }, { y: info("y:0", "float") }),
    ],
    (feeds) => {
      const x = feeds.get("x:0");
      if (x?.dtype === "float") {
        return new Map([
          [
            "y:0",
            floats(
              x.shape,
              x.data.map((value) => value / 2 + 2),
            ),
          ],
        ]);
      }
      const rows = feeds.get("tf_example:0")!.data as Uint8Array[];
      const column = (offset: number) =>
        floats(
          [rows.length, 1],
          rows.map((row) => featureOf(row, "x") / 2 + offset),
        );
      return new Map([
        ["y:0", column(2)],
        ["y2:0", column(3)],
      ]);
    },
  );
}
