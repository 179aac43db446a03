import manifest from "../package.json" with { type: "json" };

declare const BUILD_COMMIT: string | undefined;

/** この実行ファイルの版。 */
export const VERSION: string = manifest.version;

/** コンパイルした時のコミット。ソースから走らせているときは `source`。 */
export const COMMIT: string = typeof BUILD_COMMIT === "undefined" ? "source" : BUILD_COMMIT;
