import { internal, invalidArgument } from "../base/status.ts";
import type { DType } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** tfjs-wasm の記憶にあるテンソル。tfjs の TensorInfo と同じ形なので、カーネルにそのまま渡せる。 */
export interface DeviceTensor {
  readonly dataId: object;
  readonly shape: number[];
  readonly dtype: "float32" | "int32" | "bool";
}

/** tfjs カーネルの入力。名前は tfjs の `NamedTensorInfoMap` のもの(`x`, `filter`, `a`, `b` …)。 */
export type DeviceInputs = Readonly<Record<string, DeviceTensor | undefined>>;

/** デバイス側の演算の窓口。実体は backend.ts。 */
export interface Device {
  /** wasm に登録されたカーネルがあるか。 */
  has(kernel: string): boolean;
  /**
   * 出力が 1 本の tfjs カーネルを wasm で呼ぶ(wasm に無ければ cpu で走らせて戻す)。
   * 結果は歩(step)の終わりに、返り値でなければ自動で解放される。
   *
   * @param kernel tfjs のカーネル名(`Conv2D`, `_FusedMatMul` …)。
   */
  call(kernel: string, inputs: DeviceInputs, attrs?: object): DeviceTensor;
  /** 出力が複数の tfjs カーネルを呼ぶ。解放の約束は {@link call} と同じ。 */
  callMany(kernel: string, inputs: readonly DeviceTensor[] | DeviceInputs, attrs?: object): DeviceTensor[];
  /**
   * 行列の組ごとの積。tfjs の BatchMatMul は 1 要素ずつ足すので遅く、こちらは 1 組ずつ XNNPACK に渡す。
   *
   * @param a float の [組, 行, 中]。空であってはならない。
   * @param b float の [組, 中, 列]。
   * @returns [組, 行, 列]。
   */
  products(a: DeviceTensor, b: DeviceTensor): DeviceTensor;
  /** 同じ記憶を別の形で見る(写さない)。入力そのものを返したいときもこれを使う。 */
  reshape(tensor: DeviceTensor, shape: readonly number[]): DeviceTensor;
  /** float, int32, bool だけ。歩の終わりに自動で解放される。 */
  upload(tensor: Tensor): DeviceTensor;
  download(tensor: DeviceTensor): Tensor;
  /** デバイスの写しを 1 つ手放す。カーネルからは呼ばない(自動で解放される)。 */
  release(tensor: DeviceTensor): void;
}

/** resource や variant など、テンソルでない値。変数、表、TensorList はこれを継承する。 */
export abstract class EngineObject {
  /** エラー文に出る種類(`variable`, `hash table`, `tensor list` …)。 */
  abstract readonly kind: string;

  /** テンソルとして見たときの形。並びを持つ variant だけがスカラーでない。 */
  get variantShape(): readonly number[] {
    return [];
  }
}

const dtypeOfDevice = { float32: "float", int32: "int32", bool: "bool" } as const;

/** デバイスに載る dtype か。 */
export function fitsDevice(dtype: DType | undefined): boolean {
  return dtype === "float" || dtype === "int32" || dtype === "bool";
}

/**
 * 線を流れる値。ホストのテンソル、デバイスのテンソル、または JS のオブジェクト(resource, variant)。
 * ホストとデバイスの写しは求められたときに作り、両方あるときは同じ中身を指す。
 *
 * カーネルは作って読むだけでよい。線の間の数え上げと解放は execute.ts が扱う。呼び出しをまたいで
 * 値を持ち続けるカーネル(変数、ループ)だけが {@link retain} と {@link drop} を対で呼ぶ。
 */
export class Value {
  /** この値を持つ線や変数の数。0 になればデバイスの写しを解放する。 */
  refs = 0;
  /** デバイスに載りきらなかった。以後はホストで使う。 */
  staysOnHost = false;

  private constructor(
    private host: Tensor | undefined,
    private onDevice: DeviceTensor | undefined,
    private readonly engineObject: EngineObject | undefined,
  ) {}

  static ofTensor(tensor: Tensor): Value {
    return new Value(tensor, undefined, undefined);
  }

  /** 解放の責任ごと引き取る。 */
  static ofDevice(tensor: DeviceTensor): Value {
    return new Value(undefined, tensor, undefined);
  }

  static ofObject(object: EngineObject): Value {
    return new Value(undefined, undefined, object);
  }

  /** 値の dtype。resource と variant は undefined。 */
  get dtype(): DType | undefined {
    if (this.host !== undefined) return this.host.dtype;
    return this.onDevice === undefined ? undefined : dtypeOfDevice[this.onDevice.dtype];
  }

  get shape(): readonly number[] {
    return this.host?.shape ?? this.onDevice?.shape ?? this.engineObject?.variantShape ?? [];
  }

  get object(): EngineObject | undefined {
    return this.engineObject;
  }

  /** デバイスにある写し(無ければ undefined)。 */
  get resident(): DeviceTensor | undefined {
    return this.onDevice;
  }

  /** ホストに写しがあるか。 */
  get onHost(): boolean {
    return this.host !== undefined;
  }

  /**
   * ホストのテンソルとして読む。デバイスにしか無ければ写す。
   *
   * @throws INVALID_ARGUMENT テンソルでない値。
   */
  tensor(device: Device | undefined): Tensor {
    if (this.host === undefined) {
      // 壊れたグラフでは、variant の線に別の種類のものが流れる。
      if (this.engineObject !== undefined) {
        throw invalidArgument(`Expected a tensor, got a ${this.engineObject.kind}`);
      }
      if (this.onDevice === undefined || device === undefined) {
        throw internal("Expected a tensor, got a released value");
      }
      this.host = device.download(this.onDevice);
    }
    return this.host;
  }

  /**
   * 指定した種類のオブジェクトとして読む。
   *
   * @throws INVALID_ARGUMENT 別の種類の値。
   */
  objectOf<T extends EngineObject>(type: abstract new (...args: never) => T): T {
    if (this.engineObject instanceof type) return this.engineObject;
    throw invalidArgument(`Expected a ${type.name}, got a ${this.engineObject?.kind ?? "tensor"}`);
  }

  /** デバイスの写しを覚えさせる(解放の責任ごと)。execute.ts だけが呼ぶ。 */
  attach(tensor: DeviceTensor): DeviceTensor {
    this.onDevice = tensor;
    return tensor;
  }

  /** ホストの写しを手放す。デバイスに写しがあるときだけ意味を持つ。plan.ts が定数に使う。 */
  dropHost(): void {
    if (this.onDevice !== undefined) this.host = undefined;
  }

  /** 持ち手を 1 つ増やす。変数の中身や、繰り返しの間だけ持つ値に使う。 */
  retain(): this {
    this.refs++;
    return this;
  }

  /** 持ち手を 1 つ減らし、誰も持たなくなればデバイスの写しを解放する。 */
  drop(device: Device | undefined): void {
    if (--this.refs <= 0) this.releaseDevice(device);
  }

  /** 持ち手を 1 つ減らすが解放はしない。返り値として次の持ち手に渡すときに使う。 */
  handOver(): this {
    this.refs--;
    return this;
  }

  /** デバイスの写しを解放する。execute.ts と session.ts だけが呼ぶ。 */
  releaseDevice(device: Device | undefined): void {
    const tensor = this.onDevice;
    if (tensor === undefined) return;
    this.onDevice = undefined;
    device?.release(tensor);
  }
}
