import { unpackAny } from "../base/any.ts";
import {
  Code,
  dataLoss,
  failedPrecondition,
  invalidArgument,
  notFound,
  resourceExhausted,
  StatusError,
  unimplemented,
} from "../base/status.ts";
import type { AttrValue } from "../gen/tensorflow/core/framework/attr_value_pb.ts";
import type { TensorProto } from "../gen/tensorflow/core/framework/tensor_pb.ts";
import {
  type AssetFileDef,
  AssetFileDefSchema,
  type MetaGraphDef,
} from "../gen/tensorflow/core/protobuf/meta_graph_pb.ts";
import { type SavedModel, SavedModelSchema } from "../gen/tensorflow/core/protobuf/saved_model_pb.ts";
import { byteWidth, dtypeOfWire } from "../tensor/dtype.ts";
import type { Signature } from "../tensor/signature.ts";
import { signatureFromProto } from "../tensor/signature_proto.ts";
import { MAX_PADDED_BYTES } from "../tensor/tensor_proto.ts";
import { CheckpointReader } from "./checkpoint.ts";
import { readMessage } from "./read_message.ts";
import { inFile, resolveInside, type Storage } from "./storage.ts";

/** protobuf の上限。これより大きい saved_model.pb は作れない。 */
const MAX_BINARY_BYTES = 2 ** 31 - 1;
const MAX_TEXT_BYTES = 64 * 2 ** 20;
/** 1 つのモデルの assets の合計の上限。 */
const MAX_ASSETS_BYTES = 2 ** 30;

/** 短い値の列から最後の値で埋めて広げる定数の、1 つのモデルでの合計の上限。 */
const MAX_PADDING_BYTES = 512 * 2 ** 20;

const INIT_OP_SIGNATURE = "__saved_model_init_op";
const MAIN_OP_COLLECTION = "saved_model_main_op";
const LEGACY_INIT_OP_COLLECTION = "legacy_init_op";
const ASSETS_COLLECTION = "saved_model_assets";

/** 読んだ SavedModel の、1 つの MetaGraph の説明。グラフはまだ解いていない。 */
export interface SavedModelBundle extends AsyncDisposable {
  readonly directory: string;
  /** 選ばれた MetaGraph の札。書かれた順。 */
  readonly tags: readonly string[];
  readonly metaGraph: MetaGraphDef;
  /** キーの昇順。内部のもの(`__saved_model_init_op`)も含む。 */
  readonly signatures: ReadonlyMap<string, Signature>;
  /** 資産のテンソル名(`asset_path:0`)→ ファイルの絶対パス。初期化の演算に与える。 */
  readonly assets: ReadonlyMap<string, string>;
  /** 読み込んだ後に一度走らせる演算の名前。`:0` が付くこともある。 */
  readonly initOp: string | undefined;
  /** 変数の無いモデルには無い。 */
  readonly checkpoint: CheckpointReader | undefined;
}

/**
 * SavedModel を読み、札の組がちょうど等しい MetaGraph を選ぶ。
 *
 * @param directory 版のディレクトリ。
 * @param tags 求める札。順は問わない。
 * @throws NOT_FOUND SavedModel が無い、札の合う MetaGraph が無い。
 * @throws DATA_LOSS protobuf や変数の索引が壊れている。
 * @throws INVALID_ARGUMENT 資産のパスがディレクトリの外を指す、既定値のテンソルが読めない。
 * @throws UNIMPLEMENTED 分割された形式(saved_model.cpb)、2017 年より前の形式。
 * @see tensorflow/cc/saved_model/loader.cc, reader.cc
 */
export async function readSavedModel(
  storage: Storage,
  directory: string,
  tags: readonly string[],
): Promise<SavedModelBundle> {
  const { path, savedModel } = await readSavedModelProto(storage, directory);
  const metaGraph = findMetaGraph(savedModel, tags);
  inFile(path, () => checkPaddingTotal(metaGraph));
  const signatures = inFile(path, () => readSignatures(metaGraph));
  const initOp = inFile(path, () => findInitOp(metaGraph));
  const assets = await resolveAssets(storage, directory, metaGraph);
  const prefix = `${directory}/variables/variables`;
  const checkpoint = (await storage.exists(`${prefix}.index`))
    ? await CheckpointReader.open(storage, prefix)
    : undefined;
  return {
    directory,
    tags: metaGraph.metaInfoDef?.tags ?? [],
    metaGraph,
    signatures,
    assets,
    initOp,
    checkpoint,
    async [Symbol.asyncDispose]() {
      await checkpoint?.[Symbol.asyncDispose]();
    },
  };
}

/**
 * ファイル全体を読む。`.pb` と `.pbtxt` の両方があれば `.pb`。
 *
 * @returns `path` は読んだファイル。
 */
export async function readSavedModelProto(
  storage: Storage,
  directory: string,
): Promise<{ readonly path: string; readonly savedModel: SavedModel }> {
  const binary = `${directory}/saved_model.pb`;
  if (await storage.exists(binary)) {
    const bytes = await storage.read(binary, MAX_BINARY_BYTES);
    return { path: binary, savedModel: parseBinary(binary, bytes) };
  }
  const text = `${directory}/saved_model.pbtxt`;
  if (await storage.exists(text)) {
    const bytes = await storage.read(text, MAX_TEXT_BYTES);
    return { path: text, savedModel: await parseText(text, bytes) };
  }
  const chunked = `${directory}/saved_model.cpb`;
  if (await storage.exists(chunked)) {
    throw unimplemented(
      `${chunked}; Chunked SavedModels are not supported; save the model again without the experimental image format`,
    );
  }
  if (await storage.exists(`${directory}/export.meta`)) {
    throw unimplemented("Session Bundle is deprecated and removed.");
  }
  throw notFound(
    "Specified file path does not appear to contain a SavedModel bundle " +
      `(should have a file called \`saved_model.pb\`)\nSpecified file path: ${directory}`,
  );
}

function parseBinary(path: string, bytes: Uint8Array): SavedModel {
  try {
    return readMessage("tensorflow.SavedModel", bytes);
  } catch (thrown) {
    const message = `Can't parse ${path} as binary proto`;
    if (thrown instanceof StatusError && thrown.code === Code.RESOURCE_EXHAUSTED) {
      throw resourceExhausted(`${message}: ${thrown.message}`);
    }
    throw dataLoss(message, thrown);
  }
}

async function parseText(path: string, bytes: Uint8Array): Promise<SavedModel> {
  const { parseTextProto, TextProtoError } = await import("../base/text_proto.ts");
  try {
    // 資産の一覧は Any に入っている。
    return parseTextProto(SavedModelSchema, bytes, [AssetFileDefSchema]);
  } catch (thrown) {
    if (!(thrown instanceof TextProtoError)) throw thrown;
    const { line, column, message } = thrown;
    throw dataLoss(`Can't parse ${path} as text proto: ${line}:${column}: ${message}`);
  }
}

function findMetaGraph({ metaGraphs }: SavedModel, tags: readonly string[]): MetaGraphDef {
  const wanted = new Set(tags);
  const found = metaGraphs.find(
    ({ metaInfoDef }) => new Set(metaInfoDef?.tags).symmetricDifference(wanted).size === 0,
  );
  if (found !== undefined) return found;
  throw notFound(
    `Could not find meta graph def matching supplied tags: { ${[...wanted, ""].join(" ")}}. ` +
      "To inspect available tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`",
  );
}

/** 数バイトの定数を何百も並べて、広げた時にメモリを使い切らせるファイルを退ける。 */
function checkPaddingTotal({ graphDef, signatureDef }: MetaGraphDef): void {
  const functions = graphDef?.library?.function ?? [];
  const nodes = [graphDef?.node ?? [], ...functions.map(({ nodeDef }) => nodeDef)];
  let total = 0;
  for (const { attr } of nodes.flat()) {
    for (const value of Object.values(attr)) {
      for (const tensor of tensorsOf(value)) total += paddingBytes(tensor);
    }
  }
  for (const { defaults } of Object.values(signatureDef)) {
    for (const tensor of Object.values(defaults)) total += paddingBytes(tensor);
  }
  if (total > MAX_PADDING_BYTES) {
    throw resourceExhausted(`Constants expand to more than ${MAX_PADDING_BYTES} bytes`);
  }
}

function tensorsOf({ value }: AttrValue): readonly TensorProto[] {
  if (value.case === "tensor") return [value.value];
  return value.case === "list" ? value.value.tensor : [];
}

/** 中身を持たずに広がるぶん。形のおかしいものは、使われる時に退けられる。 */
function paddingBytes({ dtype, tensorShape, tensorContent }: TensorProto): number {
  const known = dtypeOfWire(dtype);
  if (known === undefined || tensorContent.length > 0) return 0;
  const count = (tensorShape?.dim ?? []).reduce((product, { size }) => product * Number(size), 1);
  const bytes = count * (byteWidth(known) || 8);
  // 1 つでも広げられない大きさなら、それを読む時に断られるので数えない。
  return bytes > 0 && bytes <= MAX_PADDED_BYTES ? bytes : 0;
}

function readSignatures({ signatureDef }: MetaGraphDef): ReadonlyMap<string, Signature> {
  return new Map(
    Object.entries(signatureDef)
      .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      .map(([key, proto]) => [key, signatureFromProto(key, proto)]),
  );
}

/** @see tensorflow/cc/saved_model/loader_util.cc GetInitOp */
function findInitOp({ signatureDef, collectionDef }: MetaGraphDef): string | undefined {
  const info = signatureDef[INIT_OP_SIGNATURE]?.outputs[INIT_OP_SIGNATURE];
  if (info !== undefined) return info.encoding.case === "name" ? info.encoding.value : undefined;
  const collection = collectionDef[MAIN_OP_COLLECTION] ?? collectionDef[LEGACY_INIT_OP_COLLECTION];
  if (collection === undefined) return undefined;
  const ops = collection.kind.case === "nodeList" ? collection.kind.value.value : [];
  if (ops.length !== 1) throw failedPrecondition("Expected exactly one main op in the SavedModel");
  return ops[0];
}

/** @see tensorflow/cc/saved_model/loader_util.cc GetAssetFileDefs */
function assetFileDefs({ assetFileDef, collectionDef }: MetaGraphDef): readonly AssetFileDef[] {
  if (assetFileDef.length > 0) return assetFileDef;
  const kind = collectionDef[ASSETS_COLLECTION]?.kind;
  if (kind?.case !== "anyList") return [];
  return kind.value.value.map((any) => {
    const asset = unpackAsset(any);
    if (asset === undefined) throw invalidArgument(`Collection ${ASSETS_COLLECTION} holds ${any.typeUrl}`);
    return asset;
  });
}

function unpackAsset(any: Parameters<typeof unpackAny>[0]): AssetFileDef | undefined {
  try {
    return unpackAny(any, AssetFileDefSchema);
  } catch (thrown) {
    throw dataLoss(`Can't parse an asset of the collection ${ASSETS_COLLECTION}`, thrown);
  }
}

async function resolveAssets(
  storage: Storage,
  directory: string,
  metaGraph: MetaGraphDef,
): Promise<ReadonlyMap<string, string>> {
  const assets = new Map<string, string>();
  for (const { filename, tensorInfo } of assetFileDefs(metaGraph)) {
    const name = tensorInfo?.encoding.case === "name" ? tensorInfo.encoding.value : "";
    if (name === "") throw invalidArgument(`${directory}; Asset ${filename} has no tensor`);
    assets.set(name, await resolveAsset(storage, directory, `assets/${filename}`));
  }
  return assets;
}

/** どの演算も読まない資産は、消えていても TF は気にしない。読む演算があればその時に失敗する。 */
async function resolveAsset(storage: Storage, directory: string, relative: string): Promise<string> {
  try {
    return await resolveInside(storage, directory, relative);
  } catch (thrown) {
    if (thrown instanceof StatusError && thrown.code === Code.NOT_FOUND) return `${directory}/${relative}`;
    throw thrown;
  }
}

/**
 * 資産の中身をすべて読む。グラフの演算は同期で、ファイルを待てない。
 *
 * @returns 絶対パス → 中身。同じファイルを指す資産が 2 つあっても 1 度だけ読む。無いファイルは含まない。
 * @throws RESOURCE_EXHAUSTED 合計が大きすぎる。
 */
export async function readAssets(
  storage: Storage,
  { assets }: SavedModelBundle,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const contents = new Map<string, Uint8Array>();
  let rest = MAX_ASSETS_BYTES;
  for (const path of assets.values()) {
    if (contents.has(path) || !(await storage.exists(path))) continue;
    const bytes = await storage.read(path, rest);
    contents.set(path, bytes);
    rest -= bytes.length;
  }
  return contents;
}
