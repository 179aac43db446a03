import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { create, createRegistry, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { toText } from "@bufbuild/protobuf/txtpb";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { DataType } from "../../../src/gen/tensorflow/core/framework/types_pb.ts";
import {
  AssetFileDefSchema,
  MetaGraphDefSchema,
} from "../../../src/gen/tensorflow/core/protobuf/meta_graph_pb.ts";
import { SavedModelSchema } from "../../../src/gen/tensorflow/core/protobuf/saved_model_pb.ts";
import { writeCheckpoint } from "../../../src/savedmodel/checkpoint.ts";
import { readAssets, readSavedModel } from "../../../src/savedmodel/saved_model.ts";
import { diskStorage, memoryStorage } from "../../../src/savedmodel/storage.ts";
import { signatureToProto } from "../../../src/tensor/signature_proto.ts";
import { tensor } from "../../../src/tensor/tensor.ts";

type MetaGraphInit = MessageInitShape<typeof MetaGraphDefSchema>;

const named = (name: string) => ({ encoding: { case: "name" as const, value: name } });
const model = (...metaGraphs: MetaGraphInit[]) =>
  create(SavedModelSchema, {
    savedModelSchemaVersion: 1n,
    metaGraphs: metaGraphs.map((graph) =>
      create(MetaGraphDefSchema, { metaInfoDef: { tags: ["serve"] }, ...graph } as MetaGraphInit),
    ),
  });
const binary = (...metaGraphs: MetaGraphInit[]) => toBinary(SavedModelSchema, model(...metaGraphs));
const files = (entries: Record<string, Uint8Array>) =>
  memoryStorage(new Map(Object.entries(entries).map(([path, bytes]) => [`/m/1/${path}`, bytes])));
const utf8 = (text: string) => new TextEncoder().encode(text);

async function outcome(
  entries: Record<string, Uint8Array>,
  tags: readonly string[] = ["serve"],
): Promise<string> {
  try {
    await using bundle = await readSavedModel(files(entries), "/m/1", tags);
    return `ok ${bundle.metaGraph.metaInfoDef?.metaGraphVersion}`;
  } catch (error) {
    return String(error);
  }
}

describe("MetaGraph の選び方", () => {
  const two = {
    "saved_model.pb": binary(
      { metaInfoDef: { tags: ["serve"], metaGraphVersion: "cpu" } },
      { metaInfoDef: { tags: ["gpu", "serve"], metaGraphVersion: "gpu" } },
      { metaInfoDef: { tags: [], metaGraphVersion: "bare" } },
    ),
  };
  const missing = (tags: string) =>
    `NOT_FOUND: Could not find meta graph def matching supplied tags: { ${tags}}. To inspect available tag-sets in the SavedModel, please use the SavedModel CLI: \`saved_model_cli\``;
  test.each<[string[], string]>([
    [["serve"], "ok cpu"],
    [["serve", "gpu"], "ok gpu"],
    [["gpu", "serve", "gpu"], "ok gpu"],
    [[], "ok bare"],
    [["train"], missing("train ")],
    [["gpu"], missing("gpu ")],
    [["serve", "tpu"], missing("serve tpu ")],
  ])("%j", async (tags, expected) => {
    expect(await outcome(two, tags)).toBe(expected);
  });
});

describe("ファイルの選び方", () => {
  const pb = binary({ metaInfoDef: { tags: ["serve"], metaGraphVersion: "binary" } });
  const pbtxt = utf8('meta_graphs { meta_info_def { tags: "serve" meta_graph_version: "text" } }');
  const rows: [string, Record<string, Uint8Array>, string][] = [
    ["pb が勝つ", { "saved_model.pb": pb, "saved_model.pbtxt": pbtxt }, "ok binary"],
    ["pbtxt だけ", { "saved_model.pbtxt": pbtxt }, "ok text"],
    [
      "壊れた pb",
      { "saved_model.pb": pb.subarray(0, pb.length - 1), "saved_model.pbtxt": pbtxt },
      "DATA_LOSS: Can't parse /m/1/saved_model.pb as binary proto",
    ],
    [
      "壊れた pbtxt",
      { "saved_model.pbtxt": utf8("meta_graphs {\n graph: 1 }") },
      'DATA_LOSS: Can\'t parse /m/1/saved_model.pbtxt as text proto: 2:7: Message type "tensorflow.MetaGraphDef" has no field named "graph".',
    ],
    [
      "分割された形式",
      { "saved_model.cpb": pb },
      "UNIMPLEMENTED: /m/1/saved_model.cpb; Chunked SavedModels are not supported; save the model again without the experimental image format",
    ],
    ["古い形式", { "export.meta": pb }, "UNIMPLEMENTED: Session Bundle is deprecated and removed."],
    [
      "何も無い",
      { "README.md": pb },
      "NOT_FOUND: Specified file path does not appear to contain a SavedModel bundle (should have a file called `saved_model.pb`)\nSpecified file path: /m/1",
    ],
  ];
  test.each(rows)("%s", async (_, entries, expected) => {
    expect(await outcome(entries)).toBe(expected);
  });
});

test("シグネチャはキーの昇順で、既定値を持ち、原本を返せる", async () => {
  const info = {
    ...named("x:0"),
    dtype: DataType.DT_FLOAT,
    tensorShape: { dim: [{ size: -1n, name: "batch" }] },
  };
  const signatureDef = {
    serving_default: {
      inputs: { x: info },
      outputs: {
        y: {
          encoding: { case: "cooSparse" as const, value: { valuesTensorName: "v:0" } },
          dtype: 101 as DataType,
        },
      },
      methodName: "tensorflow/serving/predict",
      defaults: { x: { dtype: DataType.DT_FLOAT, tensorShape: { dim: [{ size: 2n }] }, floatVal: [7] } },
    },
    Another: {},
  };
  await using bundle = await readSavedModel(files({ "saved_model.pb": binary({ signatureDef }) }), "/m/1", [
    "serve",
  ]);
  expect([...bundle.signatures.keys()]).toEqual(["Another", "serving_default"]);
  const signature = bundle.signatures.get("serving_default")!;
  expect(signature.inputs.get("x")).toEqual({ name: "x:0", wireDType: 1, dtype: "float", shape: [-1] });
  expect(signature.outputs.get("y")).toMatchObject({ wireDType: 101, dtype: "float", shape: undefined });
  expect(signature.defaults.get("x")).toEqual(tensor("float", [2], new Float32Array([7, 7])));
  expect(signatureToProto(signature)).toBe(bundle.metaGraph.signatureDef["serving_default"]!);
});

test("変数があれば読み手が付き、無ければ付かない", async () => {
  const weights = tensor("float", [2], new Float32Array([1, 2]));
  const variables = writeCheckpoint("/m/1/variables/variables", new Map([["w", weights]]));
  const storage = memoryStorage(new Map([...variables, ["/m/1/saved_model.pb", binary({})]]));
  await using bundle = await readSavedModel(storage, "/m/1", ["serve"]);
  expect(await bundle.checkpoint?.read("w")).toEqual(weights);
  await using bare = await readSavedModel(files({ "saved_model.pb": binary({}) }), "/m/1", ["serve"]);
  expect(bare.checkpoint).toBeUndefined();
});

describe("初期化の演算", () => {
  const nodes = (...value: string[]) => ({ kind: { case: "nodeList" as const, value: { value } } });
  const signature = { __saved_model_init_op: { outputs: { __saved_model_init_op: named("NoOp") } } };
  test.each<[string, MetaGraphInit, string | undefined]>([
    [
      "TF2 のシグネチャ",
      { signatureDef: signature, collectionDef: { saved_model_main_op: nodes("no") } },
      "NoOp",
    ],
    [
      "main op",
      { collectionDef: { saved_model_main_op: nodes("main"), legacy_init_op: nodes("no") } },
      "main",
    ],
    ["古い集まり", { collectionDef: { legacy_init_op: nodes("group_deps") } }, "group_deps"],
    ["無し", {}, undefined],
  ])("%s", async (_, graph, expected) => {
    await using bundle = await readSavedModel(files({ "saved_model.pb": binary(graph) }), "/m/1", ["serve"]);
    expect(bundle.initOp).toBe(expected);
  });

  test("2 つあれば FAILED_PRECONDITION", async () => {
    const collectionDef = { saved_model_main_op: nodes("a", "b") };
    expect(await outcome({ "saved_model.pb": binary({ collectionDef }) })).toBe(
      "FAILED_PRECONDITION: /m/1/saved_model.pb; Expected exactly one main op in the SavedModel",
    );
  });
});

describe("資産", () => {
  const asset = (filename: string, name = "asset:0") => ({ filename, tensorInfo: named(name) });

  test("テンソル名からパスが引け、同じファイルは 1 度だけ読み、消えたものは除く", async () => {
    const assetFileDef = [
      asset("a.txt", "x:0"),
      asset("a.txt", "y:0"),
      asset("dir/b.txt", "z:0"),
      asset("gone", "g:0"),
    ];
    const storage = files({
      "saved_model.pb": binary({ assetFileDef }),
      "assets/a.txt": utf8("A"),
      "assets/dir/b.txt": utf8("B"),
    });
    await using bundle = await readSavedModel(storage, "/m/1", ["serve"]);
    expect([...bundle.assets]).toEqual([
      ["x:0", "/m/1/assets/a.txt"],
      ["y:0", "/m/1/assets/a.txt"],
      ["z:0", "/m/1/assets/dir/b.txt"],
      ["g:0", "/m/1/assets/gone"],
    ]);
    expect([...(await readAssets(storage, bundle))]).toEqual([
      ["/m/1/assets/a.txt", utf8("A")],
      ["/m/1/assets/dir/b.txt", utf8("B")],
    ]);
  });

  const listed = (packed: Any): MetaGraphInit => ({
    collectionDef: { saved_model_assets: { kind: { case: "anyList", value: { value: [packed] } } } },
  });

  test("TF1 の集まり(Any)からも、text 形式の Any からも読む", async () => {
    const graph = listed(
      anyPack(AssetFileDefSchema, create(AssetFileDefSchema, asset("foo.txt", "filename:0"))),
    );
    const text = toText(SavedModelSchema, model(graph), { registry: createRegistry(AssetFileDefSchema) });
    expect(text).toContain("[type.googleapis.com/tensorflow.AssetFileDef]");
    const forms: Record<string, Uint8Array>[] = [
      { "saved_model.pb": binary(graph) },
      { "saved_model.pbtxt": utf8(text) },
    ];
    for (const entries of forms) {
      await using bundle = await readSavedModel(files(entries), "/m/1", ["serve"]);
      expect([...bundle.assets]).toEqual([["filename:0", "/m/1/assets/foo.txt"]]);
    }
  });

  test.each<[string, MetaGraphInit, RegExp]>([
    [
      "親へ出る",
      { assetFileDef: [asset("../../../etc/passwd")] },
      /^INVALID_ARGUMENT: .*Path leaves the model directory \/m\/1$/,
    ],
    ["NUL を含む", { assetFileDef: [asset("a\0b")] }, /^INVALID_ARGUMENT/],
    ["テンソルが無い", { assetFileDef: [{ filename: "a" }] }, /Asset a has no tensor/],
    [
      "Any の型が違う",
      listed({
        ...anyPack(AssetFileDefSchema, create(AssetFileDefSchema)),
        typeUrl: "type.googleapis.com/x.Y",
      }),
      /holds type\.googleapis\.com\/x\.Y/,
    ],
    [
      "Any が壊れている",
      listed({ ...anyPack(AssetFileDefSchema, create(AssetFileDefSchema)), value: Uint8Array.of(0xff) }),
      /^DATA_LOSS: Can't parse an asset/,
    ],
  ])("%s資産は断る", async (_, graph, expected) => {
    expect(await outcome({ "saved_model.pb": binary(graph) })).toMatch(expected);
  });

  const root = mkdtempSync(`${tmpdir()}/saved_model_`);
  afterAll(() => rmSync(root, { recursive: true }));

  test("外を指すリンクは断り、版のディレクトリがリンクなのは許す", async () => {
    mkdirSync(`${root}/real/assets`, { recursive: true });
    writeFileSync(`${root}/secret`, "secret");
    writeFileSync(`${root}/real/assets/inside`, "inside");
    symlinkSync(`${root}/secret`, `${root}/real/assets/outside`);
    symlinkSync("inside", `${root}/real/assets/alias`);
    symlinkSync("real", `${root}/1`);
    const write = (filename: string) =>
      writeFileSync(`${root}/real/saved_model.pb`, binary({ assetFileDef: [asset(filename)] }));
    write("outside");
    await expect(readSavedModel(diskStorage, `${root}/1`, ["serve"])).rejects.toThrow(
      "Path leaves the model directory",
    );
    write("alias");
    await using bundle = await readSavedModel(diskStorage, `${root}/1`, ["serve"]);
    expect([...(await readAssets(diskStorage, bundle)).values()]).toEqual([utf8("inside")]);
  });
});

describe("膨らむファイルは、場所を取る前に断る", () => {
  const wrap =
    (...prefix: number[]) =>
    (body: Uint8Array) => {
      let bytes = body;
      for (const field of prefix.reverse()) {
        const length: number[] = [];
        for (let rest = bytes.length; ; rest >>>= 7) {
          length.push(rest < 128 ? rest : (rest & 127) | 128);
          if (rest < 128) break;
        }
        const whole = new Uint8Array(1 + length.length + bytes.length);
        whole.set([(field << 3) | 2, ...length]);
        whole.set(bytes, 1 + length.length);
        bytes = whole;
      }
      return bytes;
    };
  const pairs = (count: number, a: number, b: number) =>
    new Uint8Array(count * 2).map((_, i) => (i % 2 === 0 ? a : b));

  test.each<[string, Uint8Array]>([
    // SavedModel.meta_graphs(2).graph_def(2).node(1) = 空、を 400 万個。
    ["空のノード", wrap(2, 2)(pairs(4_000_000, 0x0a, 0))],
    // …node(1).attr(5) = 空の項目。
    ["空の属性", wrap(2, 2, 1)(pairs(4_000_000, 0x2a, 0))],
  ])("%s", async (_, bytes) => {
    expect(await outcome({ "saved_model.pb": bytes })).toBe(
      "RESOURCE_EXHAUSTED: Can't parse /m/1/saved_model.pb as binary proto: protobuf decodes to more than 805306368 bytes",
    );
  });

  test("巨大な埋め草の定数を並べたもの", async () => {
    const value = { dtype: DataType.DT_FLOAT, tensorShape: { dim: [{ size: 50_000_000n }] } };
    const node = Array.from({ length: 3 }, (_, i) => ({
      name: `c${i}`,
      op: "Const",
      attr:
        i === 0
          ? { value: { value: { case: "list" as const, value: { tensor: [value] } } } }
          : { value: { value: { case: "tensor" as const, value } } },
    }));
    expect(await outcome({ "saved_model.pb": binary({ graphDef: { node } }) })).toBe(
      "RESOURCE_EXHAUSTED: /m/1/saved_model.pb; Constants expand to more than 536870912 bytes",
    );
    const signatureDef = { s: { defaults: { a: value, b: value, c: value } } };
    expect(await outcome({ "saved_model.pb": binary({ signatureDef }) })).toContain("Constants expand");
    expect(await outcome({ "saved_model.pb": binary({ graphDef: { node: node.slice(1) } }) })).toContain(
      "ok",
    );
  });

  test.each<[string, Uint8Array]>([
    // …asset_file_def(6).tensor_info(1) の下で composite_tensor(5).components(2) を繰り返す。
    ["深い入れ子", wrap(2, 6, 1, ...Array.from({ length: 60 }, () => [5, 2]).flat())(new Uint8Array(0))],
    ["長さの嘘", Uint8Array.of(0x12, 0xff, 0xff, 0xff, 0x7f)],
    ["終わらない数", new Uint8Array(12).fill(0xff)],
    ["群", Uint8Array.of(0x13)],
    ["切れた固定長", Uint8Array.of(0x09, 1)],
  ])("%s", async (_, bytes) => {
    expect(await outcome({ "saved_model.pb": bytes })).toBe(
      "DATA_LOSS: Can't parse /m/1/saved_model.pb as binary proto",
    );
  });
});

test("読めない既定値は、どのファイルかを言う", async () => {
  const signatureDef = { s: { defaults: { a: { dtype: DataType.DT_RESOURCE } } } };
  expect(await outcome({ "saved_model.pb": binary({ signatureDef }) })).toBe(
    "INVALID_ARGUMENT: /m/1/saved_model.pb; Tensor of type resource cannot hold values",
  );
});
