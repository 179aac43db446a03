import type { Shape } from "../../tensor/tensor.ts";
import { EngineObject } from "../value.ts";

/** 階数が 1 以上の variant テンソル(RaggedTensorToVariant の結果など)。 */
export class VariantArray extends EngineObject {
  readonly kind = "variant tensor";

  constructor(
    readonly shape: Shape,
    readonly items: readonly EngineObject[],
  ) {
    super();
  }

  override get variantShape(): Shape {
    return this.shape;
  }
}
