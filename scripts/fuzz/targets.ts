import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { toText } from "@bufbuild/protobuf/txtpb";
import { wasmFiles } from "../../src/assets.ts";
import { deadlineExceeded, StatusError } from "../../src/base/status.ts";
import { parseTextProto } from "../../src/base/text_proto.ts";
import { GraphDefSchema } from "../../src/gen/tensorflow/core/framework/graph_pb.ts";
import { SavedModelSchema } from "../../src/gen/tensorflow/core/protobuf/saved_model_pb.ts";
import { ModelServerConfigSchema } from "../../src/gen/tensorflow_serving/config/model_server_config_pb.ts";
import { Backend } from "../../src/graph/backend.ts";
import { makeTensor, newData } from "../../src/graph/ops/kernel_util.ts";
import { GraphSession } from "../../src/graph/session.ts";
import { CheckpointReader } from "../../src/savedmodel/checkpoint.ts";
import { crc32c, maskCrc } from "../../src/savedmodel/crc32c.ts";
import { readAssets, readSavedModel, type SavedModelBundle } from "../../src/savedmodel/saved_model.ts";
import { decompressSnappy } from "../../src/savedmodel/snappy.ts";
import { compareBytes, readTable, type TableEntry, writeTable } from "../../src/savedmodel/sstable.ts";
import { memoryStorage } from "../../src/savedmodel/storage.ts";
import { encodeRecord, readRecords } from "../../src/servables/tf_record.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { sizeOf, type Tensor, tensor } from "../../src/tensor/tensor.ts";
import { tensorFromProto } from "../../src/tensor/tensor_proto.ts";
import { decodeTensorProto, encodeTensorProto } from "../../src/tensor/tensor_wire.ts";
import { mutate } from "./mutate.ts";
import { mutateMessage, wordsOf } from "./mutate_message.ts";
import type { Random } from "./random.ts";
import { isUnexpected } from "./run.ts";
import { compressSnappy } from "./snappy_writer.ts";

/** ファイルの組。ディレクトリからの相対パス → 中身。 */
type Files = ReadonlyMap<string, Uint8Array>;

/** 壊して試すもの 1 つ。 */
export interface Target {
  readonly name: string;
  /** 壊した入力で 1 度走らせる。投げてよいのは StatusError と TextProtoError だけ。 */
  run(random: Random): Promise<void> | void;
}

export interface Corpus {
  /** `variables.index` と data の組。 */
  readonly bundles: readonly Files[];
  /** SavedModel のディレクトリ。 */
  readonly models: readonly Files[];
}

/** 元になるファイルを集める。大きいものは 1 秒あたりに試せる数を減らすだけなので省く。 */
export function readCorpus(root: string, maxModelBytes: number): Corpus {
  const fixtures = `${root}/test/fixtures`;
  const bundles = readdirSync(`${fixtures}/bundles`)
    .filter((name) => name.endsWith(".index"))
    .map((name) => {
      const stem = name.slice(0, -".index".length);
      const parts = readdirSync(`${fixtures}/bundles`).filter((part) => part.startsWith(`${stem}.`));
      return new Map(
        parts.map((part) => [part.replace(stem, "variables"), bytesOf(`${fixtures}/bundles/${part}`)]),
      );
    });
  const zoo = readdirSync(`${fixtures}/zoo`).map((name) => `${fixtures}/zoo/${name}/1`);
  const models = [`${root}/model/iris/1`, ...zoo.sort()]
    .filter((path) => existsSync(path))
    .map(readTree)
    .filter((files) => [...files.values()].reduce((sum, { length }) => sum + length, 0) <= maxModelBytes);
  return { bundles, models };
}

function readTree(root: string): Files {
  const names = readdirSync(root, { recursive: true, withFileTypes: true });
  return new Map(
    names
      .filter((entry) => entry.isFile())
      .map((entry) => `${entry.parentPath}/${entry.name}`)
      .map((path) => [path.slice(root.length + 1), bytesOf(path)]),
  );
}

const bytesOf = (path: string): Uint8Array => new Uint8Array(readFileSync(path));

const MAX_TEXT_SOURCE_BYTES = 32 * 1024;
const utf8 = new TextEncoder();

export function createTargets({ bundles, models }: Corpus): readonly Target[] {
  const indexes = bundles.map((files) => files.get("variables.index")!);
  const compressed = indexes.map(compressSnappy);
  const protos = models.flatMap((files) => files.get("saved_model.pb") ?? []);
  // 下ごしらえは選ばれた時に 1 度だけする。短い試験で、全部のぶんを待たずに済む。
  const constants = remember(protos, constantsOf);
  const texts = remember(
    protos.filter(({ length }) => length < MAX_TEXT_SOURCE_BYTES),
    (bytes) => utf8.encode(toText(SavedModelSchema, fromBinary(SavedModelSchema, bytes))),
  );
  const config = utf8.encode(
    'model_config_list { config { name: "a" base_path: "/m" model_version_policy { specific { versions: [1, 2] } } version_labels { key: "s" value: 1 } } }',
  );
  const records = new Uint8Array(Buffer.concat(indexes.map(encodeRecord)));
  const backend = new Backend(wasmFiles);
  return [
    { name: "sstable", run: (random) => void readTable(mutateTable(random, random.pick(indexes))) },
    { name: "snappy", run: (random) => void decompressSnappy(mutate(random, random.pick(compressed))) },
    { name: "record", run: (random) => void [...readRecords(mutate(random, records))] },
    {
      name: "tensor",
      run: (random) => {
        const tensors = constants(random);
        if (tensors.length > 0) decodeTensorProto(mutate(random, random.pick(tensors)));
      },
    },
    {
      name: "text",
      run: (random) => {
        if (random.below(4) === 0) parseTextProto(ModelServerConfigSchema, mutate(random, config));
        else parseTextProto(SavedModelSchema, mutate(random, texts(random)));
      },
    },
    { name: "checkpoint", run: (random) => readBundle(mutateBundle(random, random.pick(bundles))) },
    {
      name: "saved_model",
      run: (random) =>
        useModel(mutateFile(random, random.pick(models)), async (bundle) => {
          for (const name of bundle.checkpoint?.entries.keys() ?? []) await bundle.checkpoint?.read(name);
        }),
    },
    {
      name: "session",
      run: (random) =>
        useModel(mutateFile(random, random.pick(models), "saved_model.pb"), (bundle, assetFiles) =>
          prepareAll(bundle, assetFiles, backend, () => {}),
        ),
    },
    {
      name: "run",
      run: (random) =>
        useModel(mutateFile(random, random.pick(models), "saved_model.pb"), (bundle, assetFiles) =>
          prepareAll(bundle, assetFiles, backend, (session) => runSignatures(session, bundle)),
        ),
    },
  ];
}

/** `items` の 1 つを選び、`prepare` したものを返す関数。結果は覚えておく。 */
function remember<T, R>(items: readonly T[], prepare: (item: T) => R): (random: Random) => R {
  const prepared = new Map<T, R>();
  return (random) => {
    const item = random.pick(items);
    let result = prepared.get(item);
    if (result === undefined) {
      result = prepare(item);
      prepared.set(item, result);
    }
    return result;
  };
}

/** グラフを解き、初期化を走らせ、呼べるシグネチャの計画を立て、`use` に渡す。 */
async function prepareAll(
  bundle: SavedModelBundle,
  assetFiles: ReadonlyMap<string, Uint8Array>,
  backend: Backend,
  use: (session: GraphSession) => void,
): Promise<void> {
  const session = await GraphSession.load(
    { ...bundle, assetFiles },
    { backend, yieldTurn: async () => {}, onDeviceFailure: () => {} },
  );
  try {
    session.describe();
    use(session);
  } finally {
    session.dispose();
  }
}

/** 0 と空の文字列を与えて、どのシグネチャも 1 度ずつ走らせる。先に断られたものがあっても、残りを試す。 */
function runSignatures(session: GraphSession, { signatures }: SavedModelBundle): void {
  const refusals: StatusError[] = [];
  for (const { inputs, outputs } of signatures.values()) {
    if (outputs.size === 0) continue;
    try {
      const names = (infos: typeof inputs) => Array.from(infos.values(), ({ name }) => name);
      const prepared = session.prepare(names(inputs), names(outputs));
      const declared = [...inputs.values()];
      let rounds = 0;
      prepared.run(
        declared.map(({ shape, dtype }, i) => zeros(prepared.feedDTypes[i] ?? dtype ?? "float", shape ?? [])),
        () => {
          if (++rounds > MAX_ROUNDS) throw deadlineExceeded("The fuzzer has waited long enough");
        },
      );
    } catch (thrown) {
      // ただの失敗は記録し、想定外のものはそのまま上げる。
      if (!(thrown instanceof StatusError) || isUnexpected(thrown)) throw thrown;
      refusals.push(thrown);
    }
  }
  if (refusals[0] !== undefined) throw refusals[0];
}

/** 1 度の実行に許す、繰り返しの周の数。 */
const MAX_ROUNDS = 1000;
const MAX_ZEROS = 4096;

function zeros(dtype: DType, declared: readonly number[]): Tensor {
  const shape = declared.map((dim) => (dim < 0 ? 2 : dim));
  const fits = sizeOf(shape) <= MAX_ZEROS ? shape : shape.map(() => 1);
  if (dtype === "string") return tensor("string", fits, new Array(sizeOf(fits)).fill(new Uint8Array(0)));
  return makeTensor(dtype, fits, newData(dtype, fits));
}

async function useModel(
  files: Files,
  use: (bundle: SavedModelBundle, assets: ReadonlyMap<string, Uint8Array>) => Promise<void>,
): Promise<void> {
  const storage = memoryStorage(new Map([...files].map(([path, bytes]) => [`/m/1/${path}`, bytes])));
  await using bundle = await readSavedModel(storage, "/m/1", ["serve"]);
  await use(bundle, await readAssets(storage, bundle));
}

async function readBundle(files: Files): Promise<void> {
  const storage = memoryStorage(new Map([...files].map(([path, bytes]) => [`/${path}`, bytes])));
  await using reader = await CheckpointReader.open(storage, "/variables");
  for (const name of reader.entries.keys()) await reader.read(name);
}

function mutateFile(random: Random, files: Files, path = random.pick([...files.keys()])): Files {
  const bytes = files.get(path);
  if (bytes === undefined) return files;
  const deep = path === "saved_model.pb" && random.below(4) > 0;
  return new Map(files).set(path, deep ? mutateModel(random, bytes) : mutate(random, bytes));
}

/** 読める SavedModel のまま、中の値を書き換える。 */
function mutateModel(random: Random, bytes: Uint8Array): Uint8Array {
  const model = fromBinary(SavedModelSchema, bytes);
  const words = wordsOf(SavedModelSchema, model);
  for (let edits = 1 + random.below(4); edits > 0; edits--) {
    const graph = model.metaGraphs[0]?.graphDef;
    const target = random.below(4) > 0 && graph !== undefined ? graph : undefined;
    if (target === undefined) mutateMessage(random, SavedModelSchema, model, words);
    else mutateMessage(random, GraphDefSchema, target, words);
  }
  return toBinary(SavedModelSchema, model);
}

/** 検査合計を付け直した索引も作る。そうしないと、行の中の嘘まで届かない。 */
function mutateBundle(random: Random, files: Files): Files {
  if (random.below(3) === 0) return mutateFile(random, files);
  const rows = readTable(files.get("variables.index")!).map(({ key, value }) => ({ key, value }));
  for (let edits = 1 + random.below(3); edits > 0; edits--) {
    const at = random.below(rows.length);
    const { key, value } = rows[at]!;
    const row: TableEntry =
      random.below(5) === 0 ? { key: mutate(random, key), value } : { key, value: mutate(random, value) };
    rows[at] = row;
  }
  rows.sort((a, b) => compareBytes(a.key, b.key));
  return new Map(files).set("variables.index", writeTable(rows));
}

const FOOTER_BYTES = 48;

/** 先頭のブロックだけを壊し、検査合計を付け直す。時には Snappy で圧縮されていることにする。 */
function mutateTable(random: Random, file: Uint8Array): Uint8Array {
  if (random.below(3) === 0) return mutate(random, file);
  const footer = file.subarray(file.length - FOOTER_BYTES);
  const metaindex = readVarints(footer)[0]!;
  // 索引はこれらのファイルでは 1 ブロックだけを指し、その後ろがすべて metaindex から始まる。
  const broken = mutate(random, file.subarray(0, metaindex - TRAILER_BYTES)).subarray(
    0,
    metaindex - TRAILER_BYTES,
  );
  const block = new Uint8Array(metaindex - TRAILER_BYTES);
  block.set(broken);
  const type = Uint8Array.of(random.below(4) === 0 ? 1 : 0);
  const crc = new Uint8Array(Uint32Array.of(maskCrc(crc32c(type, crc32c(block)))).buffer);
  return new Uint8Array(Buffer.concat([block, type, crc, file.subarray(metaindex)]));
}

const TRAILER_BYTES = 5;

function readVarints(bytes: Uint8Array): number[] {
  const numbers: number[] = [];
  let value = 0;
  let scale = 1;
  for (const byte of bytes) {
    value += (byte & 127) * scale;
    scale *= 128;
    if (byte >= 128) continue;
    numbers.push(value);
    value = 0;
    scale = 1;
  }
  return numbers;
}

/** モデルの中の定数を、直列化したまま集める。 */
function constantsOf(bytes: Uint8Array): Uint8Array[] {
  const nodes = fromBinary(SavedModelSchema, bytes).metaGraphs.flatMap(
    ({ graphDef }) => graphDef?.node ?? [],
  );
  return nodes.flatMap(({ op, attr }) => {
    const value = attr["value"]?.value;
    if (op !== "Const" || value?.case !== "tensor") return [];
    const read = tensorFromProto(value.value);
    return [encodeTensorProto(read, false), encodeTensorProto(read, true)];
  });
}
