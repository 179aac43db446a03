/**
 * テンソルの大きさの式。係数と記号の積で、記号は行数({@link ROWS})か、分かっていない大きさ 1 つ。
 * 分かっていない大きさは、行数にはよらない。
 */
export interface Size {
  readonly factor: number;
  /** 並べ替え済み。 */
  readonly symbols: readonly string[];
}

/** 1 つの要求の行数。 */
const ROWS = "N";

export const known = (factor: number): Size => ({ factor, symbols: [] });
export const ONE = known(1);
export const rows: Size = { factor: 1, symbols: [ROWS] };

let symbols = 0;

/** 分かっていない大きさ。 */
export const unknownSize = (): Size => ({ factor: 1, symbols: [`u${++symbols}`] });

export const isKnown = ({ symbols: names }: Size): boolean => names.length === 0;
export const isNumber = (size: Size, value: number): boolean => isKnown(size) && size.factor === value;

/** 行数によるか。 */
export const hasRows = ({ symbols: names }: Size): boolean => names.includes(ROWS);

/** 行数の、ちょうど 1 乗に比例するか。 */
export const isRowMultiple = ({ factor, symbols: names }: Size): boolean =>
  factor > 0 && names.filter((name) => name === ROWS).length === 1;

export const isSame = (a: Size, b: Size): boolean =>
  a.factor === b.factor && a.symbols.join() === b.symbols.join();

export function times(a: Size, b: Size): Size {
  return { factor: a.factor * b.factor, symbols: [...a.symbols, ...b.symbols].sort() };
}

export const product = (sizes: readonly Size[]): Size => sizes.reduce(times, ONE);

/** 割り切れなければ undefined。 */
export function over(a: Size, b: Size): Size | undefined {
  if (b.factor === 0 || a.factor % b.factor !== 0) return undefined;
  const left = [...a.symbols];
  for (const name of b.symbols) {
    const at = left.indexOf(name);
    if (at < 0) return undefined;
    left.splice(at, 1);
  }
  return { factor: a.factor / b.factor, symbols: left };
}
