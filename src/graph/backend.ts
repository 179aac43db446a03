import type { BackendWasm } from "@tensorflow/tfjs-backend-wasm";
import type * as tfc from "@tensorflow/tfjs-core";
import { internal, invalidArgument, resourceExhausted, StatusError } from "../base/status.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { sizeOf, tensor } from "../tensor/tensor.ts";
import type { Device, DeviceInputs, DeviceTensor } from "./value.ts";

/** tfjs-wasm の本体があるパス(実行ファイルの中でもよい)。 */
export interface WasmFiles {
  readonly plain: string;
  readonly simd: string;
}

/** 立ち上げの一部を包む関数。 */
type Around = <T>(run: () => Promise<T>) => Promise<T>;
type KernelFunc = tfc.KernelFunc;

/** tfjs-cpu のうち、ここで使う面。 */
interface CpuBackend {
  makeTensorInfo(shape: number[], dtype: string, values: ArrayLike<number>): tfc.TensorInfo;
  readSync(dataId: object): unknown;
  disposeData(dataId: object, force?: boolean): boolean;
}

/** 右の行列を並べ替えて覚えるカーネル。 */
const packsWeights: ReadonlySet<string> = new Set(["_FusedMatMul", "BatchMatMul"]);

const deviceDType = { float: "float32", int32: "int32", bool: "bool" } as const;
const hostDType = { float32: "float", int32: "int32", bool: "bool" } as const;

/** 一度に写す要素の数(float なら 4 MiB)。 */
const UPLOAD_SLICE = 2 ** 20;

/**
 * tfjs-wasm を engine を介さずに使う Device。カーネルを直に呼ぶので 1 演算あたりの手間が小さく、
 * 記憶の数え上げもこのクラスだけで済む。wasm に無いカーネルは tfjs-cpu に移して走らせる。
 */
class WasmDevice implements Device {
  readonly #core: typeof tfc;
  readonly #wasm: BackendWasm;
  readonly #cpu: CpuBackend;
  readonly #kernels = new Map<string, KernelFunc>();
  /** 行列積の重みとして最初に使われたときの形。 */
  readonly #packed = new WeakMap<object, readonly number[]>();
  /** いまの歩で作られ、まだ引き取り手の決まらないもの。 */
  #pending: DeviceTensor[] = [];
  /** 歩をまたいで残る記憶(重み、変数)。新しい wasm へ移すときに巡る。 */
  readonly #kept = new Set<object>();
  /** 途中で譲りながら写している本数。その間は移せない。 */
  #uploading = 0;

  constructor(core: typeof tfc, wasm: BackendWasm, cpu: CpuBackend) {
    this.#core = core;
    this.#wasm = wasm;
    this.#cpu = cpu;
  }

  has(kernel: string): boolean {
    return this.#core.getKernel(kernel, "wasm") != null;
  }

  call(kernel: string, inputs: DeviceInputs, attrs: object = {}): DeviceTensor {
    const out = this.#run(kernel, this.#guard(kernel, inputs), attrs) as DeviceTensor;
    this.#pending.push(out);
    return out;
  }

  /**
   * tfjs-wasm のカーネルが、渡した形でなく記憶そのものを見る所を埋める。
   *
   * - 行列積は重みを並べ替えて覚え、記憶の番号だけで引く。同じ記憶を別の形の重みに使うときは写しを渡す。
   * - 融合カーネルの偏りは、作られたときの階数が 1 でないと断られる。
   */
  #guard(kernel: string, inputs: DeviceInputs): DeviceInputs {
    let { b } = inputs;
    const { bias } = inputs;
    if (bias !== undefined) {
      const made = this.#wasm.dataIdMap.get(bias.dataId);
      if (made.shape.length !== bias.shape.length) made.shape = bias.shape;
    }
    if (b === undefined || !packsWeights.has(kernel)) return inputs;
    const packed = this.#packed.get(b.dataId);
    if (packed === undefined) {
      this.#packed.set(b.dataId, b.shape);
    } else if (!isSameShape(packed, b.shape)) {
      b = this.call("Slice", { x: b }, { begin: b.shape.map(() => 0), size: b.shape });
      return { ...inputs, b };
    }
    return inputs;
  }

  callMany(
    kernel: string,
    inputs: readonly DeviceTensor[] | DeviceInputs,
    attrs: object = {},
  ): DeviceTensor[] {
    const made = this.#run(kernel, inputs as DeviceInputs, attrs);
    // 入力が列でも出力が 1 本のカーネルがある(Concat)。
    const out = (Array.isArray(made) ? made : [made]) as DeviceTensor[];
    this.#pending.push(...out);
    return out;
  }

  reshape(from: DeviceTensor, shape: readonly number[]): DeviceTensor {
    if (sizeOf(shape) !== sizeOf(from.shape)) {
      throw invalidArgument(
        `Input to reshape is a tensor with ${sizeOf(from.shape)} values, but the requested shape has ${sizeOf(shape)}`,
      );
    }
    this.#wasm.incRef(from.dataId);
    const out = { dataId: from.dataId, shape: [...shape], dtype: from.dtype };
    this.#pending.push(out);
    return out;
  }

  products(a: DeviceTensor, b: DeviceTensor): DeviceTensor {
    const [count, rows, inner] = a.shape as [number, number, number];
    const columns = b.shape[2]!;
    const out = this.#wasm.makeOutput([count, rows, columns], "float32") as DeviceTensor;
    this.#pending.push(out);
    const [aShape, bShape] = [shapeBytes([1, rows, inner]), shapeBytes([1, inner, columns])];
    const multiply = this.#fusedMatMul();
    for (let i = 0; i < count; i++) {
      const left = this.#window(a, i * rows * inner, rows * inner);
      const right = this.#window(b, i * inner * columns, inner * columns);
      const to = this.#window(out, i * rows * columns, rows * columns);
      try {
        multiply(left.id, aShape, 3, right.id, bShape, 3, 0, 0, 0, 0, 0, 0, to.id);
      } finally {
        for (const window of [left, right, to]) this.#closeWindow(window);
      }
    }
    return out;
  }

  /** `of` の記憶の一部を、写さずに 1 本のテンソルとして登録する。 */
  #window({ dataId }: DeviceTensor, from: number, size: number): Window {
    const { memoryOffset } = this.#wasm.dataIdMap.get(dataId);
    const made = this.#wasm.makeOutput([size], "float32", memoryOffset + from * 4);
    return { dataId: made.dataId, id: this.#wasm.dataIdMap.get(made.dataId).id };
  }

  /** 記憶は持ち主のものなので、登録だけを消す(disposeData は記憶まで返してしまう)。 */
  #closeWindow({ dataId, id }: Window): void {
    this.#wasm.wasm.tfjs.disposeData(id);
    this.#wasm.dataIdMap.delete(dataId);
  }

  #multiply: FusedMatMul | undefined;

  #fusedMatMul(): FusedMatMul {
    const array = new Set([1, 4]);
    const types = Array.from({ length: 13 }, (_, i) => (array.has(i) ? "array" : "number"));
    const { cwrap } = this.#wasm.wasm as unknown as {
      cwrap(name: string, result: null, types: readonly string[]): FusedMatMul;
    };
    this.#multiply ??= cwrap("_FusedMatMul", null, types);
    return this.#multiply;
  }

  upload(from: Tensor): DeviceTensor {
    const out = this.uploadKept(from);
    this.#kept.delete(out.dataId);
    this.#pending.push(out);
    return out;
  }

  /** {@link upload} と同じだが、歩の終わりに解放されない。 */
  uploadKept({ dtype, shape, data }: Tensor): DeviceTensor {
    if (dtype !== "float" && dtype !== "int32" && dtype !== "bool") {
      throw internal(`Tensors of type ${dtype} do not fit the device`);
    }
    const device = deviceDType[dtype];
    const made = this.#wasm.makeOutput([...shape], device, undefined, data as Float32Array);
    this.#kept.add(made.dataId);
    return made as DeviceTensor;
  }

  /**
   * {@link uploadKept} と同じ写しを、`pause` を挟みながら作る。大きな重みを一度に写すと、その間ほかの
   * 要求が止まる(初めて触れる記憶への書き込みは、1 MiB あたり 1 ms 近く掛かる)。
   */
  async uploadInSlices({ dtype, shape, data }: Tensor, pause: () => Promise<void>): Promise<DeviceTensor> {
    if (dtype !== "float" && dtype !== "int32" && dtype !== "bool") {
      throw internal(`Tensors of type ${dtype} do not fit the device`);
    }
    const made = this.#wasm.makeOutput([...shape], deviceDType[dtype]);
    this.#uploading++;
    try {
      for (let at = 0; at < data.length; at += UPLOAD_SLICE) {
        if (at > 0) await pause();
        // 待つ間に wasm の記憶が広がると前の窓は無効になるので、毎回開き直す。
        const heap = this.#wasm.typedArrayFromHeap(made) as Float32Array;
        heap.set(data.subarray(at, at + UPLOAD_SLICE), at);
      }
    } catch (thrown) {
      this.#wasm.disposeData(made.dataId);
      throw thrown;
    } finally {
      this.#uploading--;
    }
    this.#kept.add(made.dataId);
    return made as DeviceTensor;
  }

  download({ dataId, shape, dtype }: DeviceTensor): Tensor {
    return tensor(hostDType[dtype], shape, this.#wasm.readSync(dataId) as Float32Array);
  }

  release({ dataId }: DeviceTensor): void {
    if (this.#wasm.disposeData(dataId)) this.#kept.delete(dataId);
  }

  /** 歩の終わり。`keep` 以外の、この歩で作られたものを解放する。 */
  settle(keep: readonly DeviceTensor[]): void {
    const pending = this.#pending;
    for (let i = 0; i < pending.length; i++) {
      const made = pending[i]!;
      if (keep.includes(made)) this.#kept.add(made.dataId);
      else if (this.#wasm.disposeData(made.dataId)) this.#kept.delete(made.dataId);
    }
    pending.length = 0;
  }

  /** wasm の記憶の大きさ。広がるだけで、縮まない。 */
  get heapBytes(): number {
    return (this.#wasm.wasm as unknown as { readonly HEAPU8: Uint8Array }).HEAPU8.buffer.byteLength;
  }

  /** 生きているテンソルの大きさの合計。 */
  get liveBytes(): number {
    let bytes = 0;
    for (const dataId of this.#kept) bytes += this.#viewOf(dataId).byteLength;
    return bytes;
  }

  /**
   * 残っているテンソルを `fresh` に写し、そこで動く Device を作る。写す間に増減したものは最後に合わせる。
   *
   * @param adopt 移し終えたものを受け取り、使い始める。ここまでに割り込みは無い。
   * @returns 移せない事情(写している途中のもの、持ち主の分からないもの)があれば false。
   */
  async moveTo(
    fresh: BackendWasm,
    pause: () => Promise<void>,
    adopt: (next: WasmDevice) => void,
  ): Promise<boolean> {
    const moved = new Set<object>();
    for (const dataId of this.#kept) {
      moved.add(dataId);
      for (const copySlice of this.#copying(fresh, dataId)) {
        copySlice();
        await pause();
        // 待つ間に手放されたなら、残りは要らない。
        if (!this.#kept.has(dataId)) break;
      }
    }
    const isWhole = this.#kept.size === this.tensorCount && this.#pending.length === 0;
    if (this.#uploading > 0 || !isWhole) return false;
    for (const dataId of this.#kept.difference(moved)) {
      for (const copySlice of this.#copying(fresh, dataId)) copySlice();
    }
    for (const dataId of moved.difference(this.#kept)) fresh.disposeData(dataId, true);
    const next = new WasmDevice(this.#core, fresh, this.#cpu);
    for (const dataId of this.#kept) next.#kept.add(dataId);
    adopt(next);
    return true;
  }

  /** `dataId` の場所を `fresh` に取り、中身を写す仕事を少しずつ出す。 */
  *#copying(fresh: BackendWasm, dataId: object): Generator<() => void> {
    const { shape, dtype, refCount } = this.#wasm.dataIdMap.get(dataId);
    fresh.move(dataId, null, shape, dtype, refCount);
    const size = sizeOf(shape);
    for (let at = 0; at < size; at += UPLOAD_SLICE) {
      yield () => {
        // どちらの記憶も、待つ間に広がると前の窓は無効になるので、毎回開き直す。
        const to = fresh.typedArrayFromHeap({ dataId, shape, dtype }) as Float32Array;
        to.set(this.#viewOf(dataId).subarray(at, at + UPLOAD_SLICE), at);
      };
    }
  }

  #viewOf(dataId: object): Float32Array {
    const { shape, dtype } = this.#wasm.dataIdMap.get(dataId);
    return this.#wasm.typedArrayFromHeap({ dataId, shape, dtype }) as Float32Array;
  }

  /** 生きているデバイスのテンソルの数(漏れの検査用)。 */
  get tensorCount(): number {
    return this.#wasm.numDataIds();
  }

  #run(kernel: string, inputs: DeviceInputs, attrs: object): tfc.TensorInfo | tfc.TensorInfo[] {
    let run = this.#kernels.get(kernel);
    if (run === undefined) {
      run = this.#find(kernel);
      this.#kernels.set(kernel, run);
    }
    return run({
      inputs: inputs as tfc.NamedTensorInfoMap,
      attrs: attrs as tfc.NamedAttrMap,
      backend: this.#wasm,
    });
  }

  #find(kernel: string): KernelFunc {
    const native = this.#core.getKernel(kernel, "wasm");
    if (native != null) return native.kernelFunc;
    const fallback = this.#core.getKernel(kernel, "cpu");
    if (fallback == null) throw internal(`Kernel '${kernel}' is registered neither for wasm nor for cpu`);
    return ({ inputs, attrs }) => this.#runOnCpu(fallback.kernelFunc, inputs, attrs);
  }

  /** 入力を cpu に写し、結果を wasm に戻す。 */
  #runOnCpu(
    run: KernelFunc,
    inputs: tfc.NamedTensorInfoMap,
    attrs: tfc.NamedAttrMap | undefined,
  ): tfc.TensorInfo | tfc.TensorInfo[] {
    const made: tfc.TensorInfo[] = [];
    const copy = (info: tfc.TensorInfo): tfc.TensorInfo => {
      const values = this.#wasm.readSync(info.dataId) as Float32Array;
      const copied = this.#cpu.makeTensorInfo(info.shape, info.dtype, values);
      made.push(copied);
      return copied;
    };
    const copied = Array.isArray(inputs)
      ? inputs.map(copy)
      : Object.fromEntries(
          Object.entries(inputs).map(([name, info]) => [name, info === undefined ? info : copy(info)]),
        );
    const out = run({ inputs: copied as tfc.NamedTensorInfoMap, attrs, backend: this.#cpu });
    const back = (Array.isArray(out) ? out : [out]).map((info) => {
      const values = this.#cpu.readSync(info.dataId) as Float32Array;
      const moved = this.#wasm.makeOutput(info.shape, info.dtype as "float32", undefined, values);
      this.#cpu.disposeData(info.dataId, true);
      return moved;
    });
    for (const { dataId } of made) this.#cpu.disposeData(dataId, true);
    return Array.isArray(out) ? back : back[0]!;
  }
}

/** {@link WasmDevice} が一時的に登録した、記憶の一部。 */
interface Window {
  readonly dataId: object;
  readonly id: number;
}

/**
 * 引数は a の番号・形・階数、b の番号・形・階数、転置 2 つ、活性化、偏り、prelu の重み、leakyrelu の傾き、結果の番号。
 *
 * @see tfjs-backend-wasm/src/kernels/_FusedMatMul.ts
 */
type FusedMatMul = (
  ...args: [number, Uint8Array, 3, number, Uint8Array, 3, 0, 0, 0, 0, 0, 0, number]
) => void;

const shapeBytes = (shape: readonly number[]): Uint8Array => new Uint8Array(Int32Array.from(shape).buffer);

function isSameShape(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/**
 * wasm の記憶(最大 4 GiB)が尽きると malloc は 0 を返すが、tfjs は確かめずに 0 番地から書き込み、ほかのモデルの
 * 重みを壊す。0 なら失敗にする。
 */
function refuseNullAllocations({ wasm }: BackendWasm): void {
  const heap = wasm as unknown as { _malloc: (bytes: number) => number; _free: (address: number) => void };
  if (heap._malloc.name === REFUSING) return;
  // 殻の関数は、初めて呼ばれたときに自分を本体で置き換える。先に済ませておく。
  heap._free(heap._malloc(8));
  const allocate = heap._malloc;
  const refusing = {
    [REFUSING](bytes: number): number {
      const address = allocate(bytes);
      if (address === 0 && bytes > 0) {
        throw resourceExhausted(`OOM when allocating ${bytes} bytes in the wasm heap`);
      }
      return address;
    },
  };
  heap._malloc = refusing[REFUSING]!;
}

const REFUSING = "refusingMalloc";

/** 3 つのモジュールの評価と wasm の用意で 50 ms ほど掛かるので、1 つごとに譲る。 */
async function start(files: WasmFiles, around: Around, pause: () => Promise<void>): Promise<Started> {
  const core = await import("@tensorflow/tfjs-core");
  await pause();
  await import("@tensorflow/tfjs-backend-cpu");
  await pause();
  const wasm = await import("@tensorflow/tfjs-backend-wasm");
  await pause();
  core.enableProdMode();
  wasm.setWasmPaths({
    "tfjs-backend-wasm.wasm": files.plain,
    "tfjs-backend-wasm-simd.wasm": files.simd,
    // スレッド版は Bun では選ばれないが、三つとも名指さないと tfjs が受け付けない。
    "tfjs-backend-wasm-threaded-simd.wasm": files.simd,
  });
  const factory = core.findBackendFactory("wasm") as () => Promise<BackendWasm>;
  if (!(await around(() => core.setBackend("wasm"))))
    throw internal("The wasm backend of tfjs failed to start");
  const backend = core.findBackend("wasm") as BackendWasm;
  refuseNullAllocations(backend);
  const device = new WasmDevice(core, backend, core.findBackend("cpu") as unknown as CpuBackend);
  return { device, core, instantiate: () => around(factory) };
}

/** 立ち上がった tfjs。 */
interface Started {
  readonly device: WasmDevice;
  readonly core: typeof tfc;
  /** wasm の実体をもう 1 つ作る。 */
  readonly instantiate: () => Promise<BackendWasm>;
}

/** wasm の記憶がこれより小さければ、返すために作り直す手間に見合わない。 */
const MIN_SHRINKABLE_BYTES = 64 * 2 ** 20;

/**
 * 生きているものがこの分の 1 より少なければ作り直す。捨てた記憶を OS に返す間(1 MB に 0.5 ms ほど)は止まるので、
 * 同じ大きさの版の入れ替えでは作り直さない。
 */
const SPARSE = 4;

interface BackendOptions {
  /** wasm の立ち上げを包むもの。tfjs-wasm の殻がプロセスに残すものを片付けるのに使う。 */
  readonly around?: Around;
  /** 捨てた wasm の記憶を、すぐに OS へ返させる。 */
  readonly collect?: () => void;
}

/**
 * 必要になったときに 1 度だけ立ち上がる wasm。プロセスに 1 つで、すべてのモデルが共有する。
 * 小さいモデルだけを配るプロセスは tfjs を読み込みすらしない。
 */
export class Backend {
  readonly #files: WasmFiles;
  readonly #around: Around;
  readonly #collect: () => void;
  #starting: Promise<WasmDevice> | undefined;
  #started: Started | undefined;
  #device: WasmDevice | undefined;
  #shrinking = false;

  constructor(files: WasmFiles, { around = (run) => run(), collect = () => {} }: BackendOptions = {}) {
    this.#files = files;
    this.#around = around;
    this.#collect = collect;
  }

  /** 立ち上がっていなければ undefined。{@link shrink} で入れ替わるので、待った後は引き直す。 */
  get device(): WasmDevice | undefined {
    return this.#device;
  }

  /**
   * 立ち上げる。2 回目からは同じものを返す。失敗したら次の呼び出しでやり直す。
   *
   * @param pause 途中で、待っている要求に順番を譲る。
   */
  boot(pause: () => Promise<void> = async () => {}): Promise<WasmDevice> {
    this.#starting ??= start(this.#files, this.#around, pause).then(
      (started) => {
        this.#started = started;
        this.#device = started.device;
        return started.device;
      },
      (error: unknown) => {
        this.#starting = undefined;
        throw StatusError.from(error);
      },
    );
    return this.#starting;
  }

  /**
   * wasm の記憶は縮められない。わずかしか使われていなければ、新しい wasm に生きているテンソルを移し、古いものを
   * 丸ごと捨てる。移す間も要求は古いほうで走り続ける。
   *
   * @param pause 途中で、待っている要求に順番を譲る。
   * @returns 入れ替えたか。
   */
  async shrink(pause: () => Promise<void> = async () => {}): Promise<boolean> {
    const old = this.#device;
    if (old === undefined || this.#started === undefined || this.#shrinking) return false;
    if (old.heapBytes < MIN_SHRINKABLE_BYTES || old.liveBytes * SPARSE > old.heapBytes) return false;
    const { core, instantiate } = this.#started;
    this.#shrinking = true;
    try {
      const fresh = await instantiate();
      refuseNullAllocations(fresh);
      const moved = await old.moveTo(fresh, pause, (next) => {
        core.removeBackend("wasm");
        // 出来上がったものを返す factory なら、setBackend は待たずに終わる。
        core.registerBackend("wasm", () => fresh);
        core.setBackend("wasm");
        this.#device = next;
        this.#starting = Promise.resolve(next);
        this.#started = { device: next, core, instantiate };
      });
      if (!moved) return false;
    } finally {
      this.#shrinking = false;
    }
    this.#collect();
    return true;
  }
}

export type { WasmDevice };
