import { bundlePage } from "./page_bundle.ts" with { type: "macro" };
import type { PageFile } from "./page_bundle.ts";

/** 頁のファイル。束ねる時に焼き込まれる。`index.html` からは `/page/名前` で指される。 */
export const pageFiles: readonly PageFile[] = bundlePage("/page/");
