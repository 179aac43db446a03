import { failedPrecondition, invalidArgument } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import { type Shape, type Tensor, tensor } from "../../tensor/tensor.ts";
import { type Device, EngineObject, Value } from "../value.ts";
import { isBig, zipBigs, zipNumbers } from "./elementwise.ts";
import { formatShape } from "./kernel_util.ts";
import type { OpNode, OpRow, RawKernel, SessionState } from "./registry.ts";
import { generatorUpdates, scatterUpdates } from "./variable_update_names.ts";

/** 変数 1 つ。モデル 1 版の間だけ生きる。 */
export class Variable extends EngineObject {
  readonly kind = "variable";
  #value: Value | undefined;

  /**
   * @param shape 宣言された形。未知の次元は -1、階数が未知なら undefined。
   */
  constructor(
    readonly name: string,
    readonly dtype: DType | undefined,
    readonly shape: Shape | undefined,
  ) {
    super();
  }

  /** 初期化されていなければ undefined。 */
  get value(): Value | undefined {
    return this.#value;
  }

  assign(value: Value, device: Device | undefined): void {
    const old = this.#value;
    this.#value = value.retain();
    old?.drop(device);
  }

  /** @throws FAILED_PRECONDITION 初期化されていない(resource 変数の文面)。 */
  read(): Value {
    if (this.#value !== undefined) return this.#value;
    throw failedPrecondition(
      `Could not find variable ${this.name}. This could mean that the variable has been deleted. ` +
        "In TF1, it can also mean the variable is uninitialized. Debug info: container=localhost, " +
        `status error message=Resource localhost/${this.name}/N10tensorflow3VarE does not exist.`,
    );
  }

  /** @throws FAILED_PRECONDITION 初期化されていない(参照変数の文面)。 */
  deref(): Value {
    if (this.#value !== undefined) return this.#value;
    throw failedPrecondition(`Attempting to use uninitialized value ${this.name}`);
  }

  dispose(device: Device | undefined): void {
    this.#value?.drop(device);
    this.#value = undefined;
  }
}

const cellOf = (value: Value | undefined): Variable => value!.objectOf(Variable);

/** 変数を作るノードが指す変数。`shared_name` が同じなら同じもの。 */
export function variableOf(node: Pick<OpNode, "name" | "attrs">, session: SessionState): Variable {
  const { attrs } = node;
  const name = attrs.string("shared_name") || node.name;
  const key = `variable/${attrs.string("container")}/${name}`;
  return session.resource(key, () => new Variable(name, attrs.dtype("dtype"), attrs.shape("shape")));
}

/** 変数を作る演算の行。値は計画時に決まる定数(resource)。 */
const handle = (node: OpNode): RawKernel => {
  const value = Value.ofObject(variableOf(node, node.session));
  return () => value;
};

function fits(declared: Shape, given: Shape): boolean {
  return declared.length === given.length && declared.every((dim, i) => dim < 0 || dim === given[i]);
}

const assign = (node: OpNode): RawKernel => {
  const validates = node.attrs.bool("validate_shape");
  return ([target, value], run) => {
    const variable = cellOf(target);
    const { shape } = variable;
    if (validates && shape !== undefined && !fits(shape, value!.shape)) {
      throw invalidArgument(
        `Assign requires shapes of both tensors to match. lhs shape= ${formatShape(shape)} rhs shape= ${formatShape(value!.shape)}`,
      );
    }
    variable.assign(value!, run.device);
    return target!;
  };
};

const assignResource = (node: OpNode): RawKernel => {
  const validates = node.attrs.bool("validate_shape");
  return ([target, value], run) => {
    const variable = cellOf(target);
    const { shape } = variable;
    if (validates && shape !== undefined && !fits(shape, value!.shape)) {
      throw invalidArgument(
        `Shape of tensor ${node.name} (${formatShape(value!.shape)}) is not compatible with expected shape ${formatShape(shape)}.`,
      );
    }
    variable.assign(value!, run.device);
    return [];
  };
};

/** `variable ± value`。 */
function accumulate(current: Tensor, delta: Tensor, sign: 1 | -1): Tensor {
  if (isBig(current.dtype)) {
    return zipBigs(current, delta, current.dtype, sign > 0 ? (a, b) => a + b : (a, b) => a - b);
  }
  return zipNumbers(current, delta, current.dtype, sign > 0 ? (a, b) => a + b : (a, b) => a - b);
}

/** 形は等しくなければならない。`mismatch` は違うときの文面。 */
const update =
  (
    sign: 1 | -1,
    read: (variable: Variable) => Value,
    result: (target: Value) => Value | readonly Value[],
    mismatch: (current: Tensor, delta: Tensor) => string,
  ) =>
  (): RawKernel =>
  ([target, value], run) => {
    const variable = cellOf(target);
    const [current, delta] = [read(variable).tensor(run.device), value!.tensor(run.device)];
    if (current.shape.join() !== delta.shape.join()) throw invalidArgument(mismatch(current, delta));
    const next = accumulate(current, delta, sign);
    variable.assign(Value.ofTensor(next), run.device);
    return result(target!);
  };

const updateRef = (sign: 1 | -1) =>
  update(
    sign,
    (variable) => variable.deref(),
    (target) => target,
    () => "Parameters and update must be the same size",
  );
const updateResource = (sign: 1 | -1) =>
  update(
    sign,
    (variable) => variable.read(),
    () => [],
    (current, delta) =>
      `Cannot update variable with shape ${formatShape(current.shape)} using a Tensor with shape ${formatShape(delta.shape)}, shapes must be equal.`,
  );

const scalarBool = (value: boolean): Value =>
  Value.ofTensor(tensor("bool", [], Uint8Array.of(value ? 1 : 0)));

const isInitialized =
  (): RawKernel =>
  ([target]) =>
    scalarBool(cellOf(target).value !== undefined);

const shapeOf = (node: OpNode): RawKernel => {
  const [dtype] = node.outputTypes;
  return ([target]) => {
    const { shape } = cellOf(target).read();
    return Value.ofTensor(
      dtype === "int64"
        ? tensor("int64", [shape.length], BigInt64Array.from(shape, BigInt))
        : tensor("int32", [shape.length], Int32Array.from(shape)),
    );
  };
};

const readAll = (): RawKernel => (inputs) => inputs.map((input) => cellOf(input).read());

/**
 * 変数。resource 変数(TF2)と参照変数(TF1)の両方。参照の読み出しは計画が `_Deref` として差し込む。
 *
 * @see tensorflow/core/kernels/resource_variable_ops.cc
 * @see tensorflow/core/kernels/variable_ops.cc
 */
export const variableOps: readonly OpRow[] = [
  { op: "VarHandleOp", foldable: true, raw: handle },
  { op: "VariableV2", foldable: true, raw: handle },
  { op: "Variable", foldable: true, raw: handle },
  {
    op: "ReadVariableOp",
    raw:
      () =>
      ([target]) =>
        cellOf(target).read(),
  },
  { op: "_ReadVariablesOp", raw: readAll },
  {
    op: "_Deref",
    raw:
      () =>
      ([target]) =>
        cellOf(target).deref(),
  },
  { op: "Assign", stateful: true, raw: assign },
  { op: "AssignAdd", stateful: true, raw: updateRef(1) },
  { op: "AssignSub", stateful: true, raw: updateRef(-1) },
  { op: "AssignVariableOp", stateful: true, raw: assignResource },
  { op: "AssignAddVariableOp", stateful: true, raw: updateResource(1) },
  { op: "AssignSubVariableOp", stateful: true, raw: updateResource(-1) },
  { op: "VarIsInitializedOp", raw: isInitialized },
  { op: "IsVariableInitialized", raw: isInitialized },
  { op: "VariableShape", raw: shapeOf },
];

/** 変数に書き込む演算。これがどこかの signature から届く変数は、定数に畳み込まない。 */
export const assigningOps: ReadonlySet<string> = new Set(
  variableOps
    .filter(({ stateful }) => stateful === true)
    .map(({ op }) => op)
    .concat(scatterUpdates, generatorUpdates),
);
