import type { Host } from "../base/host.ts";
import { cancelled, failedPrecondition, internal, StatusError } from "../base/status.ts";
import type { Loader } from "./loader.ts";
import type { ServableHandle } from "./servable_handle.ts";
import { formatServableId, type ServableId } from "./servable_id.ts";
import type { Slots } from "./slots.ts";

/**
 * 1 つの版の内部の状態。外に見える ServableState より細かく、manager と方針だけが見る。
 *
 * @see tensorflow_serving/core/loader_harness.h State
 */
export type HarnessState =
  | "New"
  | "LoadRequested"
  | "LoadApproved"
  | "Loading"
  | "Ready"
  | "UnloadRequested"
  | "Quiescing"
  | "Quiesced"
  | "Unloading"
  | "Disabled"
  | "Error";

/** 失敗した読み込みのやり直し方。 */
export interface RetryPolicy {
  /** 最初の 1 回を除く回数。 */
  readonly maxRetries: number;
  /** やり直す前の間。ミリ秒。0 以下なら間を置かない。 */
  readonly intervalMs: number;
}

/** 読み込みの途中で要らなくなった版の終わり方。提供の失敗とは区別する(同一の値で比べる)。 */
export const LOAD_CANCELLED = cancelled("Loading of servable cancelled");

/**
 * 外に見える変化の知らせ。状態が変わるのと同じ同期処理の中で呼ぶ。間が空くと、manager が
 * 知らせより先に新しい状態を見て、次の手を打ってしまう。
 */
export interface HarnessListener<S> {
  /** 最初の試みが始まる。 */
  loading(harness: LoaderHarness<S>): void;
  /** 貸せるようになった。 */
  ready(harness: LoaderHarness<S>): void;
  /** 終わった。失敗と取り消しには理由がある。 */
  ended(harness: LoaderHarness<S>): void;
}

/** 版 1 つの貸し出し 1 回。二度返しても数えるのは一度だけ。 */
class Loan<S> implements ServableHandle<S> {
  readonly id: ServableId;
  readonly servable: S;
  #giveBack: LoaderHarness<S> | undefined;

  constructor(harness: LoaderHarness<S>, servable: S) {
    this.id = harness.id;
    this.servable = servable;
    this.#giveBack = harness;
  }

  [Symbol.dispose](): void {
    const harness = this.#giveBack;
    if (harness === undefined) return;
    this.#giveBack = undefined;
    harness.giveBack();
  }
}

/**
 * 1 つの版の状態機械。読み込みとそのやり直し、貸し出しの勘定、解放を受け持つ。
 * いつ読み、いつ降ろすかは知らない。
 *
 * @see tensorflow_serving/core/loader_harness.cc
 */
export class LoaderHarness<S> {
  readonly id: ServableId;
  /** 最新の希望に入っているか。manager だけが書き換える。 */
  aspired = true;
  readonly #host: Host;
  readonly #loader: Loader<S> | undefined;
  readonly #retry: RetryPolicy;
  readonly #listener: HarnessListener<S>;
  readonly #abort = new AbortController();
  #state: HarnessState = "New";
  #error: StatusError | undefined;
  #servable: S | undefined;
  #loans = 0;
  #drained: (() => void) | undefined;

  /** @param loader 源が準備に失敗した版では、その理由。 */
  constructor(
    host: Host,
    id: ServableId,
    loader: Loader<S> | StatusError,
    retry: RetryPolicy,
    listener: HarnessListener<S>,
  ) {
    this.#host = host;
    this.id = id;
    this.#retry = retry;
    this.#listener = listener;
    if (loader instanceof StatusError) this.#fail(loader);
    else this.#loader = loader;
  }

  get state(): HarnessState {
    return this.#state;
  }

  /** 失敗か取り消しで終わった理由。 */
  get error(): StatusError | undefined {
    return this.#error;
  }

  /** @throws FAILED_PRECONDITION 既に頼まれている。 */
  requestLoad(): void {
    if (this.#state !== "New") throw failedPrecondition("Duplicate load request");
    this.#state = "LoadRequested";
  }

  /** @throws FAILED_PRECONDITION 配信中でない。 */
  requestUnload(): void {
    if (this.#state !== "Ready") {
      throw failedPrecondition("Servable not loaded, or unload already requested/ongoing");
    }
    this.#state = "UnloadRequested";
  }

  /** もう要らない。以後やり直さず、読み終えていたらすぐ解放する。 */
  cancelLoad(): void {
    this.#abort.abort(LOAD_CANCELLED);
  }

  /**
   * 読み込む。終わりは Ready か Error(読み終えた後の取り消しなら Disabled)で、投げない。
   * やり直しを待つ間は slot を手放す。壊れた版が、ほかの版の読み込みを何分も塞がないように。
   */
  async load(slots: Slots): Promise<void> {
    const { log } = this.#host;
    const what = `Loading servable: ${formatServableId(this.id)}`;
    const { maxRetries } = this.#retry;
    try {
      for (let tries = 0; ; tries++) {
        if (tries > 0) {
          await this.#pause();
          log.info(`Retrying of ${what} retry: ${tries}`);
        }
        try {
          using _slot = await slots.acquire(this.#abort.signal);
          if (tries === 0) this.#start();
          this.#servable = await this.#loader!.load(this.#abort.signal);
          break;
        } catch (thrown) {
          if (this.#abort.signal.aborted) {
            log.info(`Retrying of ${what} was cancelled.`);
            throw LOAD_CANCELLED;
          }
          const error = StatusError.from(thrown);
          log.error(
            `${what} failed: ${error}`,
            error.cause === undefined ? undefined : { error: error.cause },
          );
          if (tries === maxRetries) {
            log.info(`Retrying of ${what} exhausted max_num_retries: ${maxRetries}`);
            throw error;
          }
        }
      }
    } catch (thrown) {
      this.#fail(StatusError.from(thrown));
      return;
    }
    if (this.#abort.signal.aborted) {
      this.#error = LOAD_CANCELLED;
      await this.#release("Loading");
      return;
    }
    this.#transition("Loading", "Ready");
    log.info(`Successfully loaded servable version ${formatServableId(this.id)}`);
    this.#listener.ready(this);
  }

  /** 貸す。Ready の間(提供の表に載っている間)だけ呼ばれる。 */
  borrow(): ServableHandle<S> {
    this.#loans++;
    return new Loan(this, this.#servable as S);
  }

  giveBack(): void {
    this.#loans--;
    if (this.#loans === 0) this.#drained?.();
  }

  /** 新しい貸し出しを止めた後、貸したものがすべて返るまで待つ。 */
  async quiesce(): Promise<void> {
    this.#transition("UnloadRequested", "Quiescing");
    this.#host.log.info(`Quiescing servable version ${formatServableId(this.id)}`);
    if (this.#loans > 0) {
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
    }
    this.#transition("Quiescing", "Quiesced");
    this.#host.log.info(`Done quiescing servable version ${formatServableId(this.id)}`);
  }

  /** 解放する。 */
  async unload(): Promise<void> {
    await this.#release("Quiesced");
  }

  #start(): void {
    const name = formatServableId(this.id);
    this.#host.log.info(`Successfully reserved resources to load servable ${name}`);
    this.#transition("LoadRequested", "LoadApproved");
    this.#host.log.info(`Approving load for servable version ${name}`);
    this.#transition("LoadApproved", "Loading");
    this.#listener.loading(this);
    this.#host.log.info(`Loading servable version ${name}`);
  }

  /** やり直すまでの間。取り消されたらその場で終わる。 */
  async #pause(): Promise<void> {
    const { signal } = this.#abort;
    signal.throwIfAborted();
    if (this.#retry.intervalMs <= 0) return;
    await new Promise<void>((resolve, reject) => {
      const giveUp = (): void => {
        cancel();
        reject(signal.reason);
      };
      const cancel = this.#host.clock.after(this.#retry.intervalMs, () => {
        signal.removeEventListener("abort", giveUp);
        resolve();
      });
      signal.addEventListener("abort", giveUp, { once: true });
    });
  }

  async #release(from: "Loading" | "Quiesced"): Promise<void> {
    const name = formatServableId(this.id);
    this.#transition(from, "Unloading");
    this.#host.log.info(`Unloading just-loaded servable version ${name}`);
    const servable = this.#servable as S;
    // 貸し出し票や状態表が版を覚えていても、中身は残らないようにする。
    this.#servable = undefined;
    try {
      await this.#loader!.unload(servable);
    } catch (thrown) {
      // 解放の失敗で版を引き止めても、もう誰も使えない。記録して終わらせる。
      this.#host.log.error(`Unloading servable version ${name} failed`, { error: thrown });
    }
    this.#transition("Unloading", "Disabled");
    this.#host.log.info(`Done unloading servable version ${name}`);
    this.#listener.ended(this);
  }

  #fail(error: StatusError): StatusError {
    this.#state = "Error";
    this.#error = error;
    this.#host.log.info(`Encountered an error for servable version ${formatServableId(this.id)}: ${error}`);
    this.#listener.ended(this);
    return error;
  }

  #transition(from: HarnessState, to: HarnessState): void {
    if (this.#state !== from) {
      throw this.#fail(internal(`Illegal request to transition from state ${this.#state} to ${to}`));
    }
    this.#state = to;
  }
}
