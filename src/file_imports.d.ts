// `with { type: "file" }` で埋め込むファイル。値は(実行ファイルの中の)パス。
declare module "*.pb" {
  const path: string;
  export default path;
}
declare module "*.index" {
  const path: string;
  export default path;
}
declare module "*.data-00000-of-00001" {
  const path: string;
  export default path;
}
declare module "*.wasm" {
  const path: string;
  export default path;
}

// `with { type: "text" }` で埋め込むファイル。値は中身。
declare module "*.csv" {
  const text: string;
  export default text;
}
declare module "*.tsv" {
  const text: string;
  export default text;
}
declare module "swagger-ui-dist/swagger-ui-bundle.js" {
  const path: string;
  export default path;
}
declare module "swagger-ui-dist/swagger-ui.css" {
  const path: string;
  export default path;
}
