import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { gzipSync } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { StatusError } from "../../src/base/status.ts";
import { parseTextProto, TextProtoError } from "../../src/base/text_proto.ts";
import type { TensorProto } from "../../src/gen/tensorflow/core/framework/tensor_pb.ts";
import { TensorProtoSchema } from "../../src/gen/tensorflow/core/framework/tensor_pb.ts";
import {
  type ClassificationRequest,
  ClassificationRequestSchema,
} from "../../src/gen/tensorflow_serving/apis/classification_pb.ts";
import { PredictRequestSchema } from "../../src/gen/tensorflow_serving/apis/predict_pb.ts";
import { ModelServerConfigSchema } from "../../src/gen/tensorflow_serving/config/model_server_config_pb.ts";
import { PlatformConfigMapSchema } from "../../src/gen/tensorflow_serving/config/platform_config_pb.ts";
import { decodeExampleRequest } from "../../src/grpc/example_input.ts";
import { fromModelSpecProto } from "../../src/grpc/model_spec_proto.ts";
import { decodePredictRequest } from "../../src/grpc/predict_codec.ts";
import { decodeBase64 } from "../../src/rest/base64.ts";
import { inflateBody } from "../../src/rest/gzip_body.ts";
import { readExamplesBody } from "../../src/rest/json_example.ts";
import { type JsonDocument, Kind, parseJson } from "../../src/rest/json_parser.ts";
import { readGeneralBody, readPredictBody } from "../../src/rest/json_tensor.ts";
import {
  isApiTarget,
  isWellFormedTarget,
  parsePredictionPath,
  parseQueryPath,
} from "../../src/rest/model_path.ts";
import { encodeRecord, readRecords } from "../../src/servables/tf_record.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import type { Signature } from "../../src/tensor/signature.ts";
import { sizeOf, type Tensor, tensor } from "../../src/tensor/tensor.ts";
import { tensorFromProto, tensorToProto } from "../../src/tensor/tensor_proto.ts";
import { decodeTensorProto, encodeTensorProto } from "../../src/tensor/tensor_wire.ts";
import { mutate } from "./mutate.ts";
import { mutateMessage } from "./mutate_message.ts";
import type { Random } from "./random.ts";
import type { Target } from "./targets.ts";
import { isValidWire } from "./wire_oracle.ts";

const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const linesOf = (name: string): Uint8Array[] =>
  readFileSync(join(import.meta.dir, "corpus", name), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => utf8.encode(line));

/** 二つの読み手の食い違い。StatusError でないので、見つかれば必ず findings に載る。 */
class Mismatch extends Error {
  constructor(what: string, input: Uint8Array, ours: unknown, theirs: unknown) {
    const show = (value: unknown) => Bun.inspect(value, { depth: 6 }).slice(0, 600);
    super(
      `${what}: ${show(ours)} is not ${show(theirs)} for ${Buffer.from(input).toString("base64").slice(0, 2000)}`,
    );
  }
}

type Outcome = { readonly value: unknown } | { readonly error: string };

/** 客の誤りとして断ったもの。ほかの例外(バグ)はそのまま投げる。 */
function outcomeOf(read: () => unknown): Outcome {
  try {
    return { value: read() };
  } catch (thrown) {
    if (thrown instanceof StatusError) return { error: thrown.toString() };
    throw thrown;
  }
}

/** 例外の文面は問わない。壊れたワイヤは、どんな例外でも INTERNAL になる。 */
function orBroken<T>(read: () => T): T | "broken" {
  try {
    return read();
  } catch (thrown) {
    if (thrown instanceof RangeError && /stack/i.test(thrown.message)) throw thrown;
    return "broken";
  }
}

/** 読み手を、JSON・protobuf・パスなど、客が選べる文面で試す的。 */
export function createWireTargets(): readonly Target[] {
  const bodies = linesOf("bodies.txt");
  const paths = linesOf("paths.txt");
  const tensors = sampleTensors();
  const requests = tensors.map(({ dtype }, i) => predictRequest(dtype, tensors[i]!));
  const examples = sampleExamples();
  const config = utf8.encode(
    'model_config_list { config { name: "a" base_path: "/m" model_platform: \'tensorflow\' # c\n model_version_policy { specific { versions: [1, 0x2, 03] } } version_labels < key: "s", value: 1 >; } }',
  );
  const any = utf8.encode(
    'platform_configs { key: "tensorflow" value { source_adapter_config { [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] { legacy_config { session_config { gpu_options { per_process_gpu_memory_fraction: 0.5e0f } } } } } } }',
  );
  const records = Buffer.concat(requests.map(encodeRecord));
  const gzipped = bodies.map((body) => new Uint8Array(gzipSync(body)));
  return [
    { name: "json", run: (random) => compareJson(mutate(random, random.pick(bodies))) },
    { name: "body", run: (random) => comparePredictBody(random, mutate(random, random.pick(bodies))) },
    { name: "numbers", run: (random) => comparePredictBody(random, numericBody(random)) },
    { name: "examples", run: (random) => void readExamplesBody(mutate(random, random.pick(bodies))) },
    { name: "base64", run: (random) => compareBase64(mutate(random, base64Text(random))) },
    { name: "path", run: (random) => readPath(mutate(random, random.pick(paths))) },
    { name: "gzip", run: (random) => void inflateBody(mutate(random, random.pick(gzipped))) },
    { name: "predict", run: (random) => comparePredict(mutate(random, random.pick(requests))) },
    { name: "predict_deep", run: (random) => comparePredict(mutatePredict(random, random.pick(requests))) },
    { name: "tensor", run: (random) => compareTensor(mutate(random, encodeTensor(random, tensors))) },
    { name: "tensor_deep", run: (random) => compareTensor(mutateTensor(random, random.pick(tensors))) },
    { name: "classify", run: (random) => compareClassify(mutate(random, random.pick(examples))) },
    {
      name: "text",
      run: (random) => {
        if (random.below(2) === 0)
          readText(() => parseTextProto(ModelServerConfigSchema, mutate(random, config)));
        else readText(() => parseTextProto(PlatformConfigMapSchema, mutate(random, any)));
      },
    },
    { name: "record", run: (random) => void [...readRecords(mutateRecord(random, records))] },
  ];
}

function readText(read: () => unknown): void {
  try {
    read();
  } catch (thrown) {
    if (!(thrown instanceof TextProtoError)) throw thrown;
    // 位置は 1 から始まる。
    if (thrown.line < 1 || thrown.column < 1) throw new Error(`position ${thrown.line}:${thrown.column}`);
    throw thrown;
  }
}

// JSON ---------------------------------------------------------------------------------------------

/** JSON.parse が断るもののうち、RapidJSON の方言として読むもの。 */
const dialect = /NaN|Inf|^\uFEFF|\0/;
/** RapidJSON だけが断るもの。 */
const stricter = /Number too big|surrogate pair|escape character/;

/**
 * JSON.parse と比べる。JSON.parse が読めるものは同じ値になる。こちらだけが読めるのは、方言と、
 * 根の値の後ろに何かあるときだけ。
 */
function compareJson(source: Uint8Array): void {
  const ours = outcomeOf(() => parseJson(source));
  const text = orBroken(() => strictUtf8.decode(source));
  if (text === "broken") {
    if ("error" in ours) throw new StatusError(3, ours.error);
    return;
  }
  const theirs = orBroken(() => ({ json: JSON.parse(text) as unknown }));
  if ("value" in ours) {
    const document = ours.value as JsonDocument;
    if (theirs !== "broken") {
      const mine = treeOf(document, 0);
      if (!sameJson(mine, theirs.json)) throw new Mismatch("JSON values", source, mine, theirs.json);
      return;
    }
    // 根の後ろの切り捨てを確かめるには、根だけを読み直せばよい。
    if (!dialect.test(text) && !isPrefix(text)) throw new Mismatch("JSON", source, "accepted", "refused");
    return;
  }
  if (theirs !== "broken" && !stricter.test(ours.error) && !hasLoneSurrogate(theirs.json)) {
    throw new Mismatch("JSON", source, ours.error, theirs.json);
  }
  throw new StatusError(3, ours.error);
}

function hasLoneSurrogate(json: unknown): boolean {
  return (
    !JSON.stringify(json, (_, value) => (typeof value === "string" ? value : value)).isWellFormed() ||
    /\\u[dD][89a-fA-F]/.test(JSON.stringify(json))
  );
}

/** どこかで切れば JSON.parse が読めるか。短い入力だけなので、端から試す。 */
function isPrefix(text: string): boolean {
  for (let end = text.length - 1; end > 0; end--) {
    if (orBroken(() => ({ json: JSON.parse(text.slice(0, end)) as unknown })) !== "broken") return true;
  }
  return false;
}

/** 同じキーは最初のものが勝つ。JSON.parse では最後のものが勝つので、比べるときに揃える。 */
type Tree = null | boolean | number | string | Tree[] | { readonly members: [string, Tree][] };

function treeOf(document: JsonDocument, node: number): Tree {
  switch (document.kind(node)) {
    case Kind.null:
      return null;
    case Kind.true:
      return true;
    case Kind.false:
      return false;
    case Kind.array: {
      const items: Tree[] = [];
      for (let at = node + 1; at < document.after(node); at = document.after(at)) {
        items.push(treeOf(document, at));
      }
      return items;
    }
    case Kind.object: {
      const members: [string, Tree][] = [];
      for (let at = node + 1; at < document.after(node); at = document.after(at + 1)) {
        members.push([document.text(at), treeOf(document, at + 1)]);
      }
      return { members };
    }
    case Kind.integer:
    case Kind.big:
      return Number(document.integer(node));
    case Kind.double:
      return document.number(node);
    default:
      return document.text(node);
  }
}

/** RapidJSON は桁の多い数を最後の数 ulp まで正しくは丸めない。整数の -0 は 0 と読む。 */
const isClose = (mine: number, theirs: number): boolean =>
  mine === theirs || Math.abs(mine - theirs) <= Math.max(Math.abs(theirs) * 1e-14, 1e-322);

function sameJson(mine: Tree, theirs: unknown): boolean {
  if (typeof mine === "number" && typeof theirs === "number") return isClose(mine, theirs);
  if (mine === null || typeof mine !== "object") {
    // 片割れのサロゲートは UTF-8 にできないので、比べようがない。
    return mine === theirs || (typeof theirs === "string" && !theirs.isWellFormed());
  }
  if (Array.isArray(mine)) {
    return (
      Array.isArray(theirs) &&
      mine.length === theirs.length &&
      mine.every((item, i) => sameJson(item, theirs[i]))
    );
  }
  if (typeof theirs !== "object" || theirs === null || Array.isArray(theirs)) return false;
  const last = new Map(mine.members);
  const names = Object.keys(theirs);
  return (
    last.size === names.length &&
    [...last].every(([name, value]) => sameJson(value, Reflect.get(theirs, name)))
  );
}

const dtypes: readonly DType[] = ["float", "double", "int32", "int64", "uint8", "bool", "string", "half"];
const signatures = new Map<string, Signature>(
  dtypes.flatMap((dtype) =>
    [1, 2].map((count): [string, Signature] => [
      `${dtype}${count}`,
      {
        key: "serving_default",
        methodName: "tensorflow/serving/predict",
        inputs: new Map(
          ["x", "y"].slice(0, count).map((name) => [name, { name: `${name}:0`, dtype, shape: undefined }]),
        ),
        outputs: new Map(),
      } as unknown as Signature,
    ]),
  ),
);

/** 速い道と一般の道は、値も失敗の文面も同じ。 */
function comparePredictBody(random: Random, source: Uint8Array): void {
  // 速い道が通るのは、入力が 1 つの数の型だけ。
  const chosen =
    random.below(2) === 0
      ? signatures.get("float1")!
      : signatures.get(`${random.pick(dtypes)}${1 + random.below(2)}`)!;
  const attempt = (reader: typeof readPredictBody) =>
    outcomeOf(() => {
      const body = reader(source);
      const { format, inputs } = body.read(chosen);
      for (const value of inputs.values()) {
        if (value !== undefined && value.data.length !== sizeOf(value.shape)) {
          throw new Error(`${value.data.length} values for the shape [${value.shape}]`);
        }
      }
      return { name: body.signatureName, format, inputs: [...inputs] };
    });
  const fast = attempt(readPredictBody);
  const general = attempt(readGeneralBody);
  if (!isDeepStrictEqual(fast, general)) throw new Mismatch("predict body", source, fast, general);
  if ("error" in fast) throw new StatusError(3, fast.error);
}

/** 数だけの本文。速い道を通る確率を高くする。 */
function numericBody(random: Random): Uint8Array {
  const number = () => {
    const digits = (most: number) =>
      Array.from({ length: 1 + random.below(most) }, () => random.below(10)).join("");
    const whole = random.below(3) === 0 ? digits(24).replace(/^0+(?=\d)/, "") : String(random.below(100));
    const fraction = random.below(2) === 0 ? `.${digits(22)}` : "";
    const exponent =
      random.below(4) === 0
        ? `${random.pick(["e", "E"])}${random.pick(["", "+", "-"])}${random.below(330)}`
        : "";
    return `${random.below(4) === 0 ? "-" : ""}${whole}${fraction}${exponent}`;
  };
  const width = 1 + random.below(5);
  const rows = Array.from({ length: 1 + random.below(4) }, () => {
    const row = Array.from({ length: random.below(12) === 0 ? width + 1 : width }, number);
    return `[${row.join(random.pick([",", ", ", " ,\n"]))}]`;
  });
  const key = random.pick(["instances", "inputs"]);
  const source = utf8.encode(`{"${key}":${random.pick(["", " "])}[${rows.join(",")}]}`);
  return random.below(3) === 0 ? mutate(random, source) : source;
}

function base64Text(random: Random): Uint8Array {
  const bytes = Uint8Array.from({ length: 1 + random.below(40) }, () => random.below(256));
  return utf8.encode(Buffer.from(bytes).toString("base64"));
}

/** 空白と `.` の無い、形の正しい base64 なら、Buffer と同じになる。 */
function compareBase64(text: Uint8Array): void {
  const ours = outcomeOf(() => Buffer.from(decodeBase64(text)).toString("hex"));
  const plain = Buffer.from(text).toString("latin1");
  const isStandard = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(plain);
  const theirs = { value: Buffer.from(plain, "base64").toString("hex") };
  if (isStandard && !isDeepStrictEqual(ours, theirs)) throw new Mismatch("base64", text, ours, theirs);
  if ("error" in ours) throw new StatusError(3, ours.error);
}

function readPath(bytes: Uint8Array): void {
  const target = Buffer.from(bytes).toString("latin1");
  if (!isApiTarget(target) || !isWellFormedTarget(target)) return;
  const found = parsePredictionPath(target) ?? parseQueryPath(target);
  if (found === undefined) return;
  const { version } = found.spec as { readonly version?: bigint };
  if (version !== undefined && (version < 0n || version >= 1n << 63n)) {
    throw new Mismatch("version", bytes, version, "an int64");
  }
}

// protobuf -----------------------------------------------------------------------------------------

function sampleTensors(): Tensor[] {
  const text = ["", "a", "日本", "\0"].map((one) => utf8.encode(one));
  return [
    tensor("float", [1, 4], Float32Array.of(5.1, 3.5, 1.4, 0.2)),
    tensor("float", [], Float32Array.of(Number.NaN)),
    tensor("double", [2], Float64Array.of(1e300, -0)),
    tensor("int32", [2, 2], Int32Array.of(1, -1, 2 ** 31 - 1, -(2 ** 31))),
    tensor("int64", [3], BigInt64Array.of(1n, -1n, 2n ** 63n - 1n)),
    tensor("uint64", [1], BigUint64Array.of(2n ** 64n - 1n)),
    tensor("uint8", [3], Uint8Array.of(0, 1, 255)),
    tensor("bool", [2], Uint8Array.of(0, 1)),
    tensor("half", [2], Float32Array.of(1, -0.5)),
    tensor("string", [2, 2], text),
    tensor("float", [0, 3], new Float32Array(0)),
  ];
}

const encodeTensor = (random: Random, tensors: readonly Tensor[]): Uint8Array =>
  encodeTensorProto(random.pick(tensors), random.below(2) === 0);

function predictRequest(signatureName: string, value: Tensor): Uint8Array {
  return toBinary(
    PredictRequestSchema,
    create(PredictRequestSchema, {
      modelSpec: { name: "iris", signatureName, versionChoice: { case: "version", value: { value: 1n } } },
      inputs: { x: tensorToProto(value), "": tensorToProto(value, value.dtype !== "string") },
      outputFilter: ["y", ""],
    }),
  );
}

const words = ["", "x", "y", "iris", "serving_default", "日本"];

function mutatePredict(random: Random, bytes: Uint8Array): Uint8Array {
  const message = fromBinary(PredictRequestSchema, bytes);
  for (let edits = 1 + random.below(4); edits > 0; edits--) {
    mutateMessage(random, PredictRequestSchema, message, words);
  }
  return toBinary(PredictRequestSchema, message);
}

function mutateTensor(random: Random, value: Tensor): Uint8Array {
  const message = tensorToProto(value, random.below(2) === 0);
  for (let edits = 1 + random.below(4); edits > 0; edits--) {
    mutateMessage(random, TensorProtoSchema, message, words);
  }
  return toBinary(TensorProtoSchema, message);
}

/** 復号できないテンソルは undefined(どう断るかは service が決める)。 */
const viaDescriptor = (proto: TensorProto): Tensor | undefined => {
  const read = outcomeOf(() => tensorFromProto(proto));
  return "value" in read ? (read.value as Tensor) : undefined;
};

/** これより長い値は、値ごとの JavaScript の数にしない(埋め草だけの巨大なテンソルがある)。 */
const MAX_LISTED = 4096;

/** NaN の中身のビットは問わず、値として比べられる形。 */
const comparable = (value: Tensor | undefined) =>
  value === undefined || value.data.length > MAX_LISTED
    ? value
    : { ...value, data: Array.from(value.data as ArrayLike<unknown>) };

/**
 * 手書きの復号器は、正しいワイヤなら記述から作られた復号器と同じものを読む。壊れたワイヤは断ってよいが、
 * 使わない部分の壊れには気づかなくてもよい。
 */
function comparePredict(bytes: Uint8Array): void {
  const ours = orBroken(() => decodePredictRequest(bytes));
  if (!isValidWire(PredictRequestSchema, bytes)) {
    if (ours === "broken") throw new StatusError(3, "broken wire");
    return;
  }
  if (ours === "broken") throw new Mismatch("PredictRequest", bytes, ours, "readable");
  const message = fromBinary(PredictRequestSchema, bytes);
  const reference = {
    spec: fromModelSpecProto(message.modelSpec),
    signatureName: message.modelSpec?.signatureName ?? "",
    outputFilter: message.outputFilter,
  };
  const inputs = new Map(
    Object.entries(message.inputs).map(([alias, proto]) => [alias, comparable(viaDescriptor(proto))]),
  );
  const { spec, signatureName, outputFilter } = ours;
  const rest = { spec, signatureName, outputFilter };
  const mine = new Map([...ours.inputs].map(([alias, value]) => [alias, comparable(value)]));
  if (!isDeepStrictEqual(rest, reference)) throw new Mismatch("PredictRequest", bytes, rest, reference);
  if (!isDeepStrictEqual(mine, inputs)) throw new Mismatch("PredictRequest.inputs", bytes, mine, inputs);
}

/** 埋め草で伸びた巨大なテンソルを、基準の側でも作って比べるのは、時間とメモリの無駄になる。 */
const MAX_COMPARED = 2 ** 20;

function compareTensor(bytes: Uint8Array): void {
  const ours = outcomeOf(() => comparable(decodeTensorProto(bytes)));
  if (isValidWire(TensorProtoSchema, bytes)) {
    const proto = fromBinary(TensorProtoSchema, bytes);
    const count = proto.tensorShape?.dim.reduce((product, { size }) => product * Number(size), 1) ?? 1;
    if (count > MAX_COMPARED) return;
    const theirs = outcomeOf(() => comparable(tensorFromProto(proto)));
    const isSame = "value" in ours ? isDeepStrictEqual(ours, theirs) : "error" in theirs;
    if (!isSame) throw new Mismatch("TensorProto", bytes, ours, theirs);
  }
  if ("error" in ours) throw new StatusError(3, ours.error);
}

function sampleExamples(): Uint8Array[] {
  const list = {
    examples: [
      {
        features: {
          feature: {
            a: { kind: { case: "floatList" as const, value: { value: [1, 2.5] } } },
            b: { kind: { case: "bytesList" as const, value: { value: [utf8.encode("x")] } } },
            c: { kind: { case: "int64List" as const, value: { value: [-1n, 3n] } } },
          },
        },
      },
    ],
  };
  const modelSpec = { name: "iris", signatureName: "classify" };
  return [
    toBinary(
      ClassificationRequestSchema,
      create(ClassificationRequestSchema, {
        modelSpec,
        input: { kind: { case: "exampleList", value: list } },
      }),
    ),
    toBinary(
      ClassificationRequestSchema,
      create(ClassificationRequestSchema, {
        modelSpec,
        input: {
          kind: {
            case: "exampleListWithContext",
            value: { ...list, context: { features: { feature: { d: { kind: { case: undefined } } } } } },
          },
        },
      }),
    ),
  ];
}

/** `input` を生のまま取り分けても、例の数とほかの欄は変わらない。中身は後でグラフの中の解析器が読む。 */
function compareClassify(bytes: Uint8Array): void {
  const ours = orBroken(() => decodeExampleRequest(ClassificationRequestSchema, bytes));
  if (isValidWire(ClassificationRequestSchema, bytes)) {
    const theirs = fromBinary(ClassificationRequestSchema, bytes);
    const isSame =
      ours !== "broken" &&
      ours.examples.length === countExamples(theirs) &&
      isDeepStrictEqual(ours.message.modelSpec, theirs.modelSpec);
    if (!isSame) throw new Mismatch("ClassificationRequest", bytes, ours, theirs);
  }
  if (ours === "broken") throw new StatusError(3, "broken wire");
}

function countExamples({ input }: ClassificationRequest): number {
  const kind = input?.kind;
  return kind?.case === undefined ? 0 : kind.value.examples.length;
}

// TFRecord -----------------------------------------------------------------------------------------

/** 半分は、検査合計を付け直して長さの嘘まで届かせる。 */
function mutateRecord(random: Random, records: Uint8Array): Uint8Array {
  if (random.below(2) === 0) return mutate(random, records);
  const parts = [...readRecords(records)].map((part) =>
    random.below(3) === 0 ? mutate(random, part) : part,
  );
  const framed = new Uint8Array(Buffer.concat(parts.map(encodeRecord)));
  return random.below(2) === 0 ? framed : framed.slice(0, random.below(framed.length));
}
