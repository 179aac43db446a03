declare module "spdx-expression-parse" {
  /** @throws 正しい SPDX の式でないとき。 */
  export default function parse(expression: string): unknown;
}
