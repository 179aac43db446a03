import {
  type Attempt,
  buildSample,
  findObstacle,
  firstGuess,
  type Sample,
  searchSample,
} from "../page/sample.ts";
import { type MetadataJson, readSignatures, type SignatureSpec } from "../page/signature.ts";

/** REST の面への 1 回の問い合わせ。中身は HTTP を通したときと同じ。 */
export type Ask = (method: "GET" | "POST", target: string, body?: string) => Promise<Attempt>;

/** 見本つきのシグネチャ。`sample` が無いものは REST では呼べない。 */
export interface DescribedSignature {
  readonly signature: SignatureSpec;
  readonly sample?: Sample;
  /** 見本への答え(JSON)。見本を試していなければ無い。 */
  readonly answer?: unknown;
}

export interface DescribedModel {
  readonly name: string;
  readonly versions: readonly string[];
  readonly signatures: readonly DescribedSignature[];
}

interface ListJson {
  readonly models: readonly {
    readonly name: string;
    readonly ready: boolean;
    readonly versions: readonly { readonly version: string; readonly state: string }[];
  }[];
}

/** JSON は 1 つの値の NaN や Infinity を書けない。そういう答えは例にしない。 */
function parseAnswer(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/**
 * 提供中のモデルを、REST の面に尋ねて調べる。
 *
 * @param triesSamples 見本を実際に試してよいモデルか。呼び出しが状態を変えるモデルでは、見本を推測のまま載せる。
 */
export async function describeModels(
  ask: Ask,
  triesSamples: (name: string) => boolean,
): Promise<DescribedModel[]> {
  const list = JSON.parse((await ask("GET", "/v1/models")).text) as ListJson;
  const described: DescribedModel[] = [];
  for (const { name, versions } of list.models.filter(({ ready }) => ready)) {
    const metadata = await ask("GET", `/v1/models/${name}/metadata`);
    // 一覧を見てからここまでの間に降ろされた。
    if (!metadata.ok) continue;
    const signatures: DescribedSignature[] = [];
    for (const signature of readSignatures(JSON.parse(metadata.text) as MetadataJson)) {
      signatures.push(await describeSignature(ask, name, signature, triesSamples(name)));
    }
    described.push({
      name,
      versions: versions.filter(({ state }) => state === "AVAILABLE").map(({ version }) => version),
      signatures,
    });
  }
  return described;
}

async function describeSignature(
  ask: Ask,
  name: string,
  signature: SignatureSpec,
  triesSamples: boolean,
): Promise<DescribedSignature> {
  if (findObstacle(signature) !== undefined) return { signature };
  if (!triesSamples) return { signature, sample: buildSample(signature, firstGuess(signature)) };
  const { sample, answer } = await searchSample(signature, ({ verb, body }) =>
    ask("POST", `/v1/models/${name}:${verb}`, JSON.stringify(body)),
  );
  return answer.ok ? { signature, sample, answer: parseAnswer(answer.text) } : { signature };
}
