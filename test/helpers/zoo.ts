import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Backend } from "../../src/graph/backend.ts";
import { GraphSession } from "../../src/graph/session.ts";
import { readAssets, readSavedModel } from "../../src/savedmodel/saved_model.ts";
import { diskStorage } from "../../src/savedmodel/storage.ts";
import { allocate, type DType, lanesOf, type TypedArray } from "../../src/tensor/dtype.ts";
import type { Signature } from "../../src/tensor/signature.ts";
import { sizeOf, type Tensor, tensor } from "../../src/tensor/tensor.ts";

/** test/fixtures/zoo/write_zoo.py が書いたテンソル。 */
interface ZooTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly values: readonly (number | string | boolean)[];
}

interface ZooCase {
  readonly signature: string;
  readonly inputs: Readonly<Record<string, ZooTensor>>;
  readonly outputs: Readonly<Record<string, ZooTensor>>;
}

interface ZooModel {
  readonly tags: readonly string[];
  /** 浮動小数の許容差。 */
  readonly rtol: number;
  readonly atol: number;
  /** 整数の画素値に許す差(JPEG の復号)。 */
  readonly levels?: number;
  /** 組の順に意味がある。 */
  readonly stateful?: boolean;
  readonly cases: readonly ZooCase[];
}

const root = join(import.meta.dir, "../fixtures/zoo");

export const zooNames: readonly string[] = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
  .sort();

/** @param home モデルの並ぶ所。 */
export function readZoo(name: string, home = root): ZooModel {
  return JSON.parse(readFileSync(join(home, name, "cases.json"), "utf8")) as ZooModel;
}

function toTensor({ dtype, shape, values }: ZooTensor): Tensor {
  if (dtype === "string") {
    return tensor(
      "string",
      shape,
      values.map((text) => Uint8Array.from(Buffer.from(String(text), "base64"))),
    );
  }
  const data = allocate(dtype, sizeOf(shape)) as TypedArray;
  const wide = dtype === "int64" || dtype === "uint64";
  values.forEach((value, i) => {
    data[i] = wide ? BigInt(value) : Number(value);
  });
  return tensor(dtype, shape, data as never);
}

/** 読み込んだ zoo のモデル 1 つ。 */
export interface OpenZoo {
  readonly session: GraphSession;
  readonly signatures: ReadonlyMap<string, Signature>;
}

export async function openZoo(
  name: string,
  tags: readonly string[],
  backend: Backend,
  deviceWork: number,
  home = root,
): Promise<OpenZoo> {
  await using bundle = await readSavedModel(diskStorage, join(home, name, "1"), tags);
  const session = await GraphSession.load(
    { ...bundle, assetFiles: await readAssets(diskStorage, bundle) },
    {
      backend,
      deviceWork,
      yieldTurn: () => Promise.resolve(),
      onDeviceFailure: (error) => {
        throw error;
      },
    },
  );
  return { session, signatures: bundle.signatures };
}

/** 1 組の、テンソルになった入力と出力。 */
interface ZooCall {
  readonly signature: string;
  readonly feeds: readonly string[];
  /** 省かれた入力はシグネチャの既定値。 */
  readonly inputs: readonly Tensor[];
  readonly aliases: readonly string[];
  readonly fetches: readonly string[];
  readonly outputs: readonly Tensor[];
}

export function zooCalls({ signatures }: OpenZoo, { cases }: ZooModel): ZooCall[] {
  return cases.map(({ signature: key, inputs, outputs }) => {
    const signature = signatures.get(key)!;
    const given = [...signature.inputs].map(([alias]) => {
      const value = inputs[alias];
      return value === undefined ? signature.defaults.get(alias)! : toTensor(value);
    });
    const aliases = [...signature.outputs.keys()];
    return {
      signature: key,
      feeds: Array.from(signature.inputs.values(), ({ name }) => name),
      inputs: given,
      aliases,
      fetches: aliases.map((alias) => signature.outputs.get(alias)!.name),
      outputs: aliases.map((alias) => toTensor(outputs[alias]!)),
    };
  });
}

const floating: ReadonlySet<DType> = new Set([
  "float",
  "double",
  "half",
  "bfloat16",
  "complex64",
  "complex128",
]);

/** 違いを 1 行で。同じなら undefined。 */
export function differs(actual: Tensor, expected: Tensor, model: ZooModel): string | undefined {
  const head = `${expected.dtype}[${expected.shape}]`;
  if (`${actual.dtype}[${actual.shape}]` !== head)
    return `${actual.dtype}[${actual.shape}] instead of ${head}`;
  const [a, e] = [actual.data, expected.data];
  if (a.length !== sizeOf(expected.shape) * lanesOf(expected.dtype))
    return `${a.length} elements for ${head}`;
  for (let i = 0; i < e.length; i++) {
    const [x, y] = [a[i]!, e[i]!];
    if (x instanceof Uint8Array) {
      if (Buffer.compare(x, y as Uint8Array) !== 0)
        return `[${i}] ${Buffer.from(x)} instead of ${Buffer.from(y as Uint8Array)}`;
      continue;
    }
    if (x === y || (Number.isNaN(x) && Number.isNaN(y))) continue;
    const gap = Math.abs(Number(x) - Number(y));
    const allowed = floating.has(expected.dtype)
      ? model.atol + model.rtol * Math.abs(Number(y))
      : expected.dtype === "uint8"
        ? (model.levels ?? 0)
        : 0;
    if (!(gap <= allowed)) return `[${i}] ${x} instead of ${y} (${head})`;
  }
  return undefined;
}

/** すべての組を順に走らせ、食い違いの一覧を返す(状態のあるモデルは順が意味を持つ)。 */
export function compareZoo(open: OpenZoo, model: ZooModel): string[] {
  return zooCalls(open, model).flatMap(({ feeds, fetches, inputs, aliases, outputs }, number) => {
    const answers = open.session.prepare(feeds, fetches).run(inputs);
    return outputs.flatMap((expected, i) => {
      const difference = differs(answers[i]!, expected, model);
      return difference === undefined ? [] : [`case ${number} ${aliases[i]}: ${difference}`];
    });
  });
}
