import { join } from "node:path";
import { wasmFiles } from "../assets.ts";
import type { SignatureDescription } from "../graph/session.ts";
import { diskStorage } from "../savedmodel/storage.ts";
import { dtypeName } from "../tensor/dtype.ts";
import type { Signature, TensorInfo } from "../tensor/signature.ts";
import { type Command, type CommandFlags, UsageError } from "./command.ts";
import { parseFlags } from "./command_flags.ts";
import { printFailure } from "./print_failure.ts";

interface Description {
  readonly directory: string;
  readonly tags: readonly string[];
  readonly signatures: readonly Signature[];
  readonly plans: readonly SignatureDescription[];
}

async function describe(directory: string, tags: readonly string[]): Promise<Description> {
  const [{ Backend }, { GraphSession }, { readAssets, readSavedModel }] = await Promise.all([
    import("../graph/backend.ts"),
    import("../graph/session.ts"),
    import("../savedmodel/saved_model.ts"),
  ]);
  await using bundle = await readSavedModel(diskStorage, directory, tags);
  const { metaGraph, signatures, assets, initOp, checkpoint } = bundle;
  const session = await GraphSession.load(
    {
      metaGraph,
      signatures,
      assets,
      assetFiles: await readAssets(diskStorage, bundle),
      initOp,
      checkpoint,
    },
    {
      backend: new Backend(wasmFiles),
      yieldTurn: async () => {},
      onDeviceFailure: (error) => console.error(`the wasm backend failed: ${error}`),
    },
  );
  const plans = session.describe();
  session.dispose();
  return { directory, tags: bundle.tags, signatures: [...signatures.values()], plans };
}

const formatShape = ({ shape }: TensorInfo): string =>
  shape === undefined ? "unknown_rank" : `(${shape.join(", ")})`;

function printTensors(kind: string, tensors: ReadonlyMap<string, TensorInfo>): void {
  for (const [alias, info] of tensors) {
    console.log(`  ${kind} ${alias}`);
    console.log(`      dtype: DT_${dtypeName(info.wireDType).toUpperCase()}`);
    console.log(`      shape: ${formatShape(info)}`);
    console.log(`      name: ${info.name}`);
  }
}

/** 同じ演算と同じカーネルの歩は数にまとめる。 */
function countKernels(steps: SignatureDescription["steps"]): string {
  const counts = new Map<string, number>();
  for (const { op, kernel } of steps) {
    const key = `${op} [${kernel}]`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map(([key, count]) => (count === 1 ? key : `${key} x${count}`)).join(", ");
}

function print({ directory, tags, signatures, plans }: Description): void {
  console.log(`SavedModel ${directory}\ntag-set: ${tags.join(", ")}`);
  for (const { key, methodName, inputs, outputs, defaults } of signatures) {
    console.log(`\nsignature_def['${key}']`);
    printTensors("input", inputs);
    printTensors("output", outputs);
    if (defaults.size > 0) console.log(`  defaults: ${[...defaults.keys()].join(", ")}`);
    console.log(`  method name: ${methodName}`);
    const plan = plans.find(({ signature }) => signature === key);
    if (plan === undefined) continue;
    if (plan.unsupported === undefined) console.log(`  kernels: ${countKernels(plan.steps)}`);
    else console.log(`  unsupported: ${plan.unsupported}`);
  }
}

const tensorsToJson = (tensors: ReadonlyMap<string, TensorInfo>): object =>
  Object.fromEntries(
    [...tensors].map(([alias, { name, wireDType, shape }]) => [
      alias,
      { name, dtype: `DT_${dtypeName(wireDType).toUpperCase()}`, shape: shape ?? null },
    ]),
  );

function printJson({ directory, tags, signatures, plans }: Description): void {
  const document = {
    directory,
    tags,
    signatures: Object.fromEntries(
      signatures.map(({ key, methodName, inputs, outputs, defaults }) => {
        const plan = plans.find(({ signature }) => signature === key);
        return [
          key,
          {
            method_name: methodName,
            inputs: tensorsToJson(inputs),
            outputs: tensorsToJson(outputs),
            defaults: [...defaults.keys()],
            ...(plan === undefined ? {} : { unsupported: plan.unsupported ?? null, steps: plan.steps }),
          },
        ];
      }),
    ),
  };
  console.log(JSON.stringify(document, null, 1));
}

/** 版のディレクトリの親を渡すのはよくある間違い。中の版を名指しして教える。 */
async function suggestVersion(directory: string): Promise<string | undefined> {
  const entries = await diskStorage.list(directory).catch(() => []);
  const versions = entries
    .filter(({ name, kind }) => kind === "directory" && /^\d+$/.test(name))
    .map(({ name }) => name)
    .sort((a, b) => Number(BigInt(a) - BigInt(b)));
  const newest = versions.at(-1);
  return newest === undefined
    ? undefined
    : `It holds the versions ${versions.join(", ")}. Try: iris-serving show ${join(directory, newest)}`;
}

const flags = {
  tag_set: {
    type: "string",
    default: "serve",
    hint: "TAGS",
    help: "comma-separated tags of the MetaGraph to read",
  },
  json: { type: "boolean", help: "print JSON" },
} as const satisfies CommandFlags;

export const showCommand: Command = {
  name: "show",
  summary: "signatures and kernels of a SavedModel",
  synopsis: "VERSION_DIRECTORY",
  examples: [
    ["iris-serving show /models/m/1", "every signature, and which kernel runs each op"],
    ["iris-serving show --json /models/m/1", "the same as JSON"],
    ["iris-serving show --tag_set=serve,gpu /models/m/1", "another MetaGraph of the file"],
  ],
  flags,
  completes: "directory",
  exitCodes: [
    [0, "every signature can be served"],
    [1, "the model cannot be read or a signature cannot be served"],
  ],
  async run(args) {
    const { values, positionals } = parseFlags(flags, args);
    const [directory, ...rest] = positionals;
    if (directory === undefined || rest.length > 0) throw new UsageError("show takes exactly one directory");
    const tags = values.tag_set.split(",").filter((tag) => tag !== "");
    try {
      const { readSavedModelProto } = await import("../savedmodel/saved_model.ts");
      const { savedModel } = await readSavedModelProto(diskStorage, directory);
      const tagSets = savedModel.metaGraphs.map(({ metaInfoDef }) => (metaInfoDef?.tags ?? []).join(", "));
      if (tagSets.length > 1 && !values.json) console.log(`tag-sets in the file: ${tagSets.join(" | ")}\n`);
      const description = await describe(directory, tags);
      (values.json ? printJson : print)(description);
      return description.plans.every(({ unsupported }) => unsupported === undefined) ? 0 : 1;
    } catch (thrown) {
      printFailure(thrown);
      const suggestion = await suggestVersion(directory);
      if (suggestion !== undefined) console.error(suggestion);
      return 1;
    }
  },
};
