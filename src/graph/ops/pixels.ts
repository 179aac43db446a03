/** 復号した画像。行優先で、画素の中に成分が並ぶ。 */
export interface Pixels<T extends Uint8Array | Uint16Array = Uint8Array> {
  /** [高さ, 幅, 成分の数]。 */
  readonly shape: readonly [number, number, number];
  readonly data: T;
}
