import wasmPlain from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm" with { type: "file" };
import wasmSimd from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm" with { type: "file" };
import savedModel from "../model/iris/1/saved_model.pb" with { type: "file" };
import variablesData from "../model/iris/1/variables/variables.data-00000-of-00001" with { type: "file" };
import variablesIndex from "../model/iris/1/variables/variables.index" with { type: "file" };

/** 埋め込みモデルの、既定の置き場から見たファイル → 実行ファイルの中のパス。 */
export const embeddedModel: ReadonlyMap<string, string> = new Map([
  ["1/saved_model.pb", savedModel],
  ["1/variables/variables.index", variablesIndex],
  ["1/variables/variables.data-00000-of-00001", variablesData],
]);

/** tfjs-wasm の本体。 */
export const wasmFiles = { plain: wasmPlain, simd: wasmSimd } as const;
