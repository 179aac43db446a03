// wasm/*.ts(AssemblyScript)を、バイト列を持つ TypeScript のモジュールに訳す。
import { join } from "node:path";
import asc from "assemblyscript/asc";
import { root } from "./steps.ts";

const options = ["--runtime", "stub", "--enable", "simd", "-O3", "--noAssert"];

/**
 * @param name `wasm/` のファイルの名前。
 * @param pages 記憶の大きさ(64 KiB の頁の数)。増えも減りもしない。
 * @returns 生成するモジュールの文面。
 * @throws 訳せない。
 */
export async function compileWasm(name: string, pages: number): Promise<string> {
  let bytes: Uint8Array | undefined;
  const memory = ["--initialMemory", String(pages), "--maximumMemory", String(pages)];
  const { error, stderr } = await asc.main([`${name}.ts`, "--outFile", "out.wasm", ...options, ...memory], {
    readFile: async (file, folder) => {
      const found = Bun.file(join(root, "wasm", folder === "." ? "" : folder, file));
      return (await found.exists()) ? found.text() : null;
    },
    writeFile: (_, contents) => {
      bytes = contents as Uint8Array;
    },
    listFiles: () => null,
  });
  if (error !== null || bytes === undefined) throw new Error(`wasm/${name}.ts: ${stderr}`, { cause: error });
  const constant = name.replace(/_./g, ([, letter]) => letter!.toUpperCase());
  return `// Generated from wasm/${name}.ts by scripts/generate.ts. Do not edit.
export const ${constant} =
  "${Buffer.from(bytes).toString("base64")}";
`;
}

/** `wasm/` のファイル → 記憶の頁の数。 */
export const wasmModules: ReadonlyMap<string, number> = new Map([
  ["dense", 32],
  ["float_text", 5],
  ["number_rows", 13],
]);
