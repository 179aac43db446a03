import { embeddedModel, wasmFiles } from "./assets.ts";
import { dataLoss } from "./base/status.ts";
import { memoryStorage } from "./savedmodel/storage.ts";
import { digestDirectory } from "./servables/content_digest.ts";

/** 名前 → SHA-256(JSON の文面)。ソースから走らせているときは無い。 */
declare const BUILD_PAYLOAD: string | undefined;

/** 実行ファイルが運ぶ、コードでないもの。名前 → 実行ファイルの中のパス。 */
const assets: ReadonlyMap<string, string> = new Map([
  ...Array.from(embeddedModel, ([path, asset]) => [`model/${path}`, asset] as const),
  ...Object.entries(wasmFiles).map(([name, asset]) => [`wasm/${name}`, asset] as const),
]);

/** 実行ファイルが運ぶもの。改竄されていないことを確かめてある。 */
export interface Payload {
  /** 埋め込みのモデル。既定の置き場から見たパス → 中身。 */
  readonly model: ReadonlyMap<string, Uint8Array>;
}

const sha256 = (bytes: Uint8Array): string => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

async function readAssets(): Promise<ReadonlyMap<string, Uint8Array>> {
  return new Map(
    await Promise.all(
      Array.from(assets, async ([name, asset]) => [name, await Bun.file(asset).bytes()] as const),
    ),
  );
}

/** 実行ファイルに書き込む指紋の表。組み立てのときに 1 度だけ作る。 */
export async function digestAssets(): Promise<Readonly<Record<string, string>>> {
  return Object.fromEntries(Array.from(await readAssets(), ([name, bytes]) => [name, sha256(bytes)]));
}

/**
 * 組み立てたときの指紋と比べる。
 *
 * @throws DATA_LOSS 1 つでも違う、足りない。
 */
export function checkAssets(
  files: ReadonlyMap<string, Uint8Array>,
  expected: Readonly<Record<string, string>>,
): void {
  for (const [name, digest] of Object.entries(expected)) {
    const bytes = files.get(name);
    const found = bytes === undefined ? "nothing" : sha256(bytes);
    if (found !== digest) {
      throw dataLoss(
        `This executable is damaged: its file ${name} has SHA-256 ${found}, it was built with ${digest}`,
      );
    }
  }
}

/**
 * 実行ファイルが運ぶものを読み、確かめる。数 ms で終わる。
 *
 * @throws DATA_LOSS 改竄されている、壊れている。
 */
export async function readPayload(): Promise<Payload> {
  const files = await readAssets();
  if (typeof BUILD_PAYLOAD !== "undefined") checkAssets(files, JSON.parse(BUILD_PAYLOAD));
  return { model: new Map(Array.from(embeddedModel.keys(), (path) => [path, files.get(`model/${path}`)!])) };
}

/** 埋め込みのモデルの指紋。ログや `/v1/models` に出る版の指紋と同じもの。 */
export async function digestEmbeddedModel({ model }: Payload): Promise<{ version: string; sha256: string }> {
  const version = [...model.keys()][0]!.split("/", 1)[0]!;
  const storage = memoryStorage(new Map([...model].map(([path, bytes]) => [`/${path}`, bytes])));
  return { version, sha256: await digestDirectory(storage, `/${version}`, new AbortController().signal) };
}
