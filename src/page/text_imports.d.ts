// `with { type: "text" }` で埋め込むファイル。
declare module "*.csv" {
  const text: string;
  export default text;
}
