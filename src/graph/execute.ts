import { Code, invalidArgument, StatusError } from "../base/status.ts";
import type { Shape, Tensor } from "../tensor/tensor.ts";
import type { WasmDevice } from "./backend.ts";
import type {
  DeviceKernel,
  DeviceKernelInputs,
  HostKernel,
  RawKernel,
  RunState,
  Subgraph,
} from "./ops/registry.ts";
import { type DeviceTensor, Value } from "./value.ts";

/** 実行の文脈。デバイスは実体の型で持つ(歩の終わりの後始末のため)。 */
export interface ExecutionState extends RunState {
  readonly device: WasmDevice | undefined;
  /** デバイスがあれば速くなる仕事に出会った。 */
  wishDevice(): void;
}

/** 1 ノードの実行。入力の Value は呼び手が持ち続ける。 */
export interface Kernel {
  /** `host`, `wasm`, `host or wasm`, `engine`。利用者に見せる。 */
  readonly place: string;
  invoke(inputs: readonly Value[], state: ExecutionState): Value | readonly Value[];
}

function wrapAll(out: Tensor | readonly Tensor[]): Value | readonly Value[] {
  return isList(out) ? out.map(Value.ofTensor) : Value.ofTensor(out);
}

function isList<T>(value: T | readonly T[]): value is readonly T[] {
  return Array.isArray(value);
}

export class HostRunner implements Kernel {
  readonly place = "host";

  constructor(private readonly kernel: HostKernel) {}

  invoke(inputs: readonly Value[], { device }: ExecutionState): Value | readonly Value[] {
    // 短い入力は配列の組み立てを特殊化する(小さいモデルではここが実行時間の大半になる)。
    switch (inputs.length) {
      case 1:
        return wrapAll(this.kernel([inputs[0]!.tensor(device)]));
      case 2:
        return wrapAll(this.kernel([inputs[0]!.tensor(device), inputs[1]!.tensor(device)]));
      case 3:
        return wrapAll(
          this.kernel([inputs[0]!.tensor(device), inputs[1]!.tensor(device), inputs[2]!.tensor(device)]),
        );
      default:
        return wrapAll(this.kernel(inputs.map((input) => input.tensor(device))));
    }
  }
}

/** デバイスのカーネルに見せる入力。1 回の呼び出しの間だけ使う。 */
class DeviceView implements DeviceKernelInputs {
  constructor(
    private readonly values: readonly Value[],
    private readonly wasm: WasmDevice,
  ) {}

  get count(): number {
    return this.values.length;
  }

  device(index: number): DeviceTensor {
    const value = this.values[index]!;
    if (value.resident !== undefined) return value.resident;
    try {
      return value.attach(this.wasm.uploadKept(value.tensor(this.wasm)));
    } catch (thrown) {
      value.staysOnHost = isExhausted(thrown);
      throw thrown;
    }
  }

  host(index: number): Tensor {
    return this.values[index]!.tensor(this.wasm);
  }

  shape(index: number): Shape {
    return this.values[index]!.shape;
  }
}

/** wasm の記憶が足りなかったか。 */
export const isExhausted = (thrown: unknown): boolean =>
  thrown instanceof StatusError && thrown.code === Code.RESOURCE_EXHAUSTED;

function isDevice(out: DeviceTensor | Tensor): out is DeviceTensor {
  return "dataId" in out;
}

export class DeviceRunner implements Kernel {
  readonly place = "wasm";

  constructor(private readonly kernel: DeviceKernel) {}

  invoke(inputs: readonly Value[], { device }: ExecutionState): Value | readonly Value[] {
    const wasm = device!;
    let keep: readonly DeviceTensor[] = [];
    try {
      const out = this.kernel(new DeviceView(inputs, wasm), wasm);
      if (!isList(out)) {
        if (!isDevice(out)) return Value.ofTensor(out);
        keep = [out];
        return Value.ofDevice(out);
      }
      keep = out.filter(isDevice);
      return out.map((one) => (isDevice(one) ? Value.ofDevice(one) : Value.ofTensor(one)));
    } catch (thrown) {
      throw deviceError(thrown);
    } finally {
      wasm.settle(keep);
    }
  }
}

/** tfjs のカーネルは入力の形の間違いを素の Error で知らせる。 */
function deviceError(thrown: unknown): unknown {
  if (thrown instanceof Error && thrown.constructor === Error) return invalidArgument(thrown.message, thrown);
  return thrown;
}

/** 立ち上がっていないデバイスを求めるのは、閾値のこの倍の仕事から。記憶を 30 MB ほど使うので、少しの得では求めない。 */
const WISH_FACTOR = 16;

/** ホストでもデバイスでも走れるもの。入力の居場所と仕事量だけで選ぶ。 */
export class EitherRunner implements Kernel {
  readonly place = "host or wasm";
  readonly #host: HostRunner;
  readonly #device: DeviceRunner;

  /**
   * @param onDevice デバイスに載せる入力の番号を見分ける。
   * @param work 仕事量。おおよそホストでの積和の回数。
   * @param limit これ以上ならデバイス。
   */
  constructor(
    host: HostKernel,
    device: DeviceKernel,
    private readonly onDevice: readonly boolean[],
    private readonly work: (inputs: readonly Value[]) => number,
    private readonly limit: number,
  ) {
    this.#host = new HostRunner(host);
    this.#device = new DeviceRunner(device);
  }

  invoke(inputs: readonly Value[], state: ExecutionState): Value | readonly Value[] {
    if (state.device === undefined) {
      if (this.work(inputs) >= this.limit * WISH_FACTOR) state.wishDevice();
      return this.#host.invoke(inputs, state);
    }
    if (!this.#prefersDevice(inputs)) return this.#host.invoke(inputs, state);
    try {
      return this.#device.invoke(inputs, state);
    } catch (thrown) {
      // wasm の記憶は 4 GiB まで。載りきらないものは、遅くてもホストで計算する。
      if (!isExhausted(thrown)) throw thrown;
      return this.#host.invoke(inputs, state);
    }
  }

  #prefersDevice(inputs: readonly Value[]): boolean {
    const { onDevice } = this;
    for (let i = 0; i < inputs.length; i++) if (inputs[i]!.staysOnHost) return false;
    for (let i = 0; i < inputs.length; i++) {
      if (onDevice[i] && !inputs[i]!.onHost) return true;
    }
    return this.work(inputs) >= this.limit;
  }
}

export class RawRunner implements Kernel {
  readonly place = "engine";

  constructor(private readonly kernel: RawKernel) {}

  invoke(inputs: readonly Value[], state: ExecutionState): Value | readonly Value[] {
    return this.kernel(inputs, state);
  }
}

/** 計画の 1 歩。数字はすべて溝(slot)の番号。 */
export interface Step {
  readonly name: string;
  readonly op: string;
  readonly kernel: Kernel;
  readonly inputs: readonly number[];
  /** 使われない出力は -1。 */
  readonly outputs: readonly number[];
  /** この歩の後、もう使われない溝。 */
  readonly frees: readonly number[];
}

/** 一列に並んだ計画。 */
export interface LinearPlan {
  /** 溝の初期値。定数だけが入っている。 */
  readonly template: readonly (Value | undefined)[];
  readonly feeds: readonly number[];
  readonly steps: readonly Step[];
  readonly fetches: readonly number[];
}

/** 枝や繰り返しの本体の引数の数が、渡されたものと違う。 */
export function wrongArity(expected: number, given: number): StatusError {
  return invalidArgument(`The function takes ${expected} arguments but was given ${given}`);
}

/** 枝や本体の戻り値の数が、演算の出力より少ない。 */
export function tooFewOutputs(expected: number, given: number): StatusError {
  return invalidArgument(`The function returns ${given} values but ${expected} are used`);
}

/** 失敗にノードの名前を添える。 */
export function atNode(thrown: unknown, name: string): unknown {
  if (!(thrown instanceof StatusError) || thrown.message.includes("[[{{node ")) return thrown;
  if (thrown.code === Code.DEADLINE_EXCEEDED || thrown.code === Code.CANCELLED) return thrown;
  return new StatusError(thrown.code, `${thrown.message}\n\t [[{{node ${name}}}]]`, thrown.cause);
}

/** 一列の計画を走らせる。名前は引かず、溝の番号だけで動く。 */
export class LinearExecutor implements Subgraph {
  constructor(private readonly plan: LinearPlan) {}

  run(args: readonly Value[], run: RunState): readonly Value[] {
    const state = run as ExecutionState;
    const { template, feeds, steps, fetches } = this.plan;
    const { device } = state;
    if (args.length !== feeds.length) throw wrongArity(feeds.length, args.length);
    const slots = template.slice();
    for (let i = 0; i < feeds.length; i++) {
      if (feeds[i]! >= 0) slots[feeds[i]!] = args[i]!.retain();
    }
    let at = 0;
    try {
      for (; at < steps.length; at++) {
        const { kernel, inputs, outputs, frees } = steps[at]!;
        const values = new Array<Value>(inputs.length);
        for (let i = 0; i < inputs.length; i++) values[i] = slots[inputs[i]!]!;
        const out = kernel.invoke(values, state);
        if (out instanceof Value) store(slots, outputs[0], out, state);
        else if (out.length < outputs.length) throw tooFewOutputs(outputs.length, out.length);
        else for (let i = 0; i < out.length; i++) store(slots, outputs[i], out[i]!, state);
        for (let i = 0; i < frees.length; i++) {
          const slot = frees[i]!;
          slots[slot]!.drop(device);
          slots[slot] = undefined;
        }
      }
    } catch (thrown) {
      this.#clear(slots, device);
      throw atNode(thrown, steps[at]!.name);
    }
    const results = new Array<Value>(fetches.length);
    for (let i = 0; i < fetches.length; i++) results[i] = slots[fetches[i]!]!.retain();
    this.#clear(slots, device);
    for (const value of results) value.handOver();
    return results;
  }

  /** 定数を除く溝をすべて手放す。 */
  #clear(slots: readonly (Value | undefined)[], device: WasmDevice | undefined): void {
    const { template } = this.plan;
    for (let i = 0; i < slots.length; i++) {
      if (slots[i] !== undefined && template[i] === undefined) slots[i]!.drop(device);
    }
  }
}

function store(
  slots: (Value | undefined)[],
  slot: number | undefined,
  value: Value,
  state: ExecutionState,
): void {
  if (slot !== undefined && slot >= 0) slots[slot] = value.retain();
  else if (value.refs === 0) value.releaseDevice(state.device);
}
