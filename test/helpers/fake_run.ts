import type { PreparedRun, RunContext } from "../../src/servables/model_servable.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { tensor } from "../../src/tensor/tensor.ts";

export const floats = (shape: readonly number[], ...values: number[]): Tensor =>
  tensor("float", shape, Float32Array.from(values));

export const valuesOf = ({ data }: Tensor): number[] => Array.from(data as Float32Array);

/** どの入力も y = x/2 + 2 にして、出力ごとに同じ位置の入力から作る実行。呼ばれた記録を残す。 */
export class FakeRun implements PreparedRun {
  readonly feedDTypes: PreparedRun["feedDTypes"];
  readonly calls: { readonly shapes: readonly (readonly number[])[]; readonly context: RunContext }[] = [];
  /** 行ごとに独立な形。 */
  rowShapes: PreparedRun["rowShapes"];
  /** 実行の代わりに行うこと(投げる、出力をすり替える、時計を進める)。 */
  before: (inputs: readonly Tensor[]) => readonly Tensor[] | undefined = () => undefined;
  /** Promise で答える。 */
  asynchronous = false;

  constructor(inputs = 1) {
    this.feedDTypes = new Array(inputs).fill("float");
  }

  /** 実行した行数の列。 */
  get rows(): (number | undefined)[] {
    return this.calls.map(({ shapes }) => shapes[0]?.[0]);
  }

  run(inputs: readonly Tensor[], context: RunContext): readonly Tensor[] | Promise<readonly Tensor[]> {
    this.calls.push({ shapes: inputs.map(({ shape }) => shape), context });
    const outputs =
      this.before(inputs) ??
      inputs.map(({ shape, data }) => floats(shape, ...Array.from(data as Float32Array, (x) => x / 2 + 2)));
    return this.asynchronous ? Promise.resolve(outputs) : outputs;
  }
}
