import { dirname } from "node:path";
import { enableProdMode, getBackend, setBackend } from "@tensorflow/tfjs";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";

/**
 * tfjs を wasm で動かす。学習に使う演算器はこれだけ。
 *
 * @throws Error wasm が使えないとき。他の演算器には落ちない。
 */
export async function useWasmBackend(): Promise<void> {
  // 「Node で動いている」という案内文を出させない。
  enableProdMode();
  const file = Bun.resolveSync("@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm", import.meta.dir);
  setWasmPaths(`${dirname(file)}/`);
  if (!(await setBackend("wasm")) || getBackend() !== "wasm") {
    throw new Error("The tfjs wasm backend did not start");
  }
}
