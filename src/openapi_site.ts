import { type Ask, describeModels } from "./openapi/describe_models.ts";
import { createOpenApiDocument, type ServerFacts } from "./openapi/document.ts";

/**
 * `/openapi.json` を作る関数。モデルの一覧が変わるまで、同じものを返す。
 *
 * @param triesSamples 見本を実際に試してよいモデルか。
 */
export function createOpenApi(
  facts: ServerFacts,
  triesSamples: (name: string) => boolean,
): (ask: Ask) => Promise<string> {
  let known: { readonly list: string; readonly document: Promise<string> } | undefined;
  return async (ask) => {
    const { text: list } = await ask("GET", "/v1/models");
    if (known?.list !== list) {
      const document = describeModels(ask, triesSamples).then((models) =>
        JSON.stringify(createOpenApiDocument(models, facts), undefined, 1),
      );
      known = { list, document };
      // 失敗は覚えない。次に尋ねられたときに作り直す。
      document.catch(() => {
        known = undefined;
      });
    }
    return known.document;
  };
}
