import type { EventBus } from "../base/event_bus.ts";
import type { Host } from "../base/host.ts";
import { notFound, type StatusError } from "../base/status.ts";
import type { Action, AspiredVersionPolicy } from "./aspired_version_policy.ts";
import type { Loader } from "./loader.ts";
import { type HarnessListener, LOAD_CANCELLED, LoaderHarness, type RetryPolicy } from "./loader_harness.ts";
import type { ServableHandle, ServableProvider } from "./servable_handle.ts";
import {
  formatServableId,
  formatServableRequest,
  type ServableId,
  type ServableRequest,
} from "./servable_id.ts";
import type { ManagerState, ServableState } from "./servable_state.ts";
import { Slots } from "./slots.ts";
import type { AspiredVersion } from "./source.ts";

export interface ManagerOptions {
  readonly policy: AspiredVersionPolicy;
  readonly retry: RetryPolicy;
  /** 同時に読み込む数。0 は 1 と同じ(順番に)。 */
  readonly numLoadThreads: number;
  /** 同時に解放する数。0 は 1 と同じ。 */
  readonly numUnloadThreads: number;
}

/** 提供中の版の表の 1 行。`latest` を持っておき、要求ごとに探さない。 */
interface ServingStream<S> {
  latest: LoaderHarness<S>;
  readonly versions: Map<bigint, LoaderHarness<S>>;
}

/**
 * 希望された版と、読み込まれている版を一致させ続け、提供中の版を貸す。
 *
 * 出来事(新しい希望、読み込みの終わり、最後の貸し出しの返却)はどれも「もう一度見よ」と言うだけで、
 * することは毎回スナップショットから方針が決める。だから抜けや二重が起きない。
 *
 * @see tensorflow_serving/core/aspired_versions_manager.cc
 * @see tensorflow_serving/core/basic_manager.cc
 */
export class AspiredVersionsManager<S> implements ServableProvider<S> {
  readonly #host: Host;
  readonly #bus: EventBus<ServableState>;
  readonly #options: ManagerOptions;
  readonly #loadSlots: Slots;
  readonly #unloadSlots: Slots;
  /** 降りきっていない版のすべて。名前 → 版 → ハーネス。 */
  readonly #managed = new Map<string, Map<bigint, LoaderHarness<S>>>();
  /** まだ取り込んでいない希望。名前ごとに最新のものだけ。 */
  readonly #pending = new Map<string, readonly AspiredVersion<Loader<S>>[]>();
  readonly #serving = new Map<string, ServingStream<S>>();
  #reconciling = false;
  #lookAgain = false;
  #closed = false;
  #whenEmpty: (() => void) | undefined;

  constructor(host: Host, bus: EventBus<ServableState>, options: ManagerOptions) {
    this.#host = host;
    this.#bus = bus;
    this.#options = options;
    this.#loadSlots = new Slots(Math.max(1, options.numLoadThreads));
    this.#unloadSlots = new Slots(Math.max(1, options.numUnloadThreads));
  }

  /** 同時に読み込む数を一時的に変える。起動時はすべてを並べて読む。undefined で設定の値に戻す。 */
  set numLoadThreads(count: number | undefined) {
    this.#loadSlots.limit = Math.max(1, count ?? this.#options.numLoadThreads);
  }

  /** 希望を受け取る。 {@link Aspire} の実装。 */
  aspire(name: string, versions: readonly AspiredVersion<Loader<S>>[]): void {
    if (this.#closed) return;
    this.#pending.set(name, versions);
    this.#reconcile();
  }

  acquire(request: ServableRequest): ServableHandle<S> {
    const stream = this.#serving.get(request.name);
    if (stream !== undefined) {
      const { version } = request;
      const harness = version === undefined ? stream.latest : stream.versions.get(version);
      if (harness !== undefined) return harness.borrow();
    }
    throw notFound(`Servable not found for request: ${formatServableRequest(request)}`);
  }

  /** 今借りられる版のすべて。 */
  available(): ServableId[] {
    return [...this.#serving.values()].flatMap(({ versions }) => [...versions.values()].map(({ id }) => id));
  }

  /** 以後の希望を受けず、読み込みをやめ、すべての版を降ろす。貸したものが返るまで待つ。 */
  async shutdown(): Promise<void> {
    this.#host.log.info("Unload all remaining servables in the manager.");
    for (const name of [...this.#managed.keys()]) this.aspire(name, []);
    this.#closed = true;
    if (this.#managed.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#whenEmpty = resolve;
    });
  }

  /** 何度呼んでもよい。自分と重なって走ることはない。 */
  #reconcile(): void {
    this.#lookAgain = true;
    if (this.#reconciling) return;
    this.#reconciling = true;
    try {
      while (this.#lookAgain) {
        this.#lookAgain = false;
        this.#flush();
        this.#admit();
        this.#actOnce();
      }
    } finally {
      this.#reconciling = false;
    }
    if (this.#managed.size === 0) this.#whenEmpty?.();
  }

  /** 希望されず、もう(まだ)何も持っていない版を忘れる。 */
  #flush(): void {
    for (const [name, versions] of this.#managed) {
      for (const [version, harness] of versions) {
        if (harness.aspired) continue;
        if (harness.state === "New") this.#publish(harness.id, "END", LOAD_CANCELLED);
        else if (harness.state !== "Disabled" && harness.state !== "Error") continue;
        versions.delete(version);
      }
      if (versions.size === 0) this.#managed.delete(name);
    }
  }

  /**
   * たまった希望を取り込む。降りかけの版が再び希望されていたら、その版が消えるまで丸ごと待たせる。
   * 新しいローダーで読み直すのであって、降りかけのものを呼び戻すのではない。
   */
  #admit(): void {
    for (const [name, versions] of this.#pending) {
      const managed = this.#managed.get(name) ?? new Map<bigint, LoaderHarness<S>>();
      if (versions.some(({ version }) => managed.get(version)?.aspired === false)) continue;
      this.#pending.delete(name);
      const wanted = new Set(versions.map(({ version }) => version));
      for (const [version, harness] of managed) {
        if (wanted.has(version)) continue;
        harness.aspired = false;
        harness.cancelLoad();
        this.#lookAgain = true;
      }
      for (const { version, data } of versions) {
        if (managed.has(version)) continue;
        const { retry } = this.#options;
        const harness = new LoaderHarness(this.#host, { name, version }, data, retry, this.#listener);
        managed.set(version, harness);
        this.#managed.set(name, managed);
        if (harness.error === undefined) this.#publish(harness.id, "START");
      }
    }
  }

  /** 方針に尋ね、一手だけ進める。降ろす手を先にする。 */
  #actOnce(): void {
    let chosen: Action | undefined;
    let target: LoaderHarness<S> | undefined;
    for (const versions of this.#managed.values()) {
      const action = this.#options.policy(
        [...versions.values()].map(({ id, state, aspired }) => ({ version: id.version, state, aspired })),
      );
      if (action === undefined || (chosen !== undefined && action.kind === "load")) continue;
      chosen = action;
      target = versions.get(action.version)!;
      if (action.kind === "unload") break;
    }
    if (chosen === undefined || target === undefined) return;
    this.#lookAgain = true;
    if (chosen.kind === "load") {
      target.requestLoad();
      void this.#load(target);
    } else {
      target.requestUnload();
      void this.#unload(target);
    }
  }

  async #load(harness: LoaderHarness<S>): Promise<void> {
    await harness.load(this.#loadSlots);
    const { error } = harness;
    if (error !== undefined) {
      this.#host.log.error(`Servable ${formatServableId(harness.id)} cannot be loaded: ${error}`);
    }
    this.#reconcile();
  }

  async #unload(harness: LoaderHarness<S>): Promise<void> {
    this.#publish(harness.id, "UNLOADING");
    this.#removeServing(harness);
    await harness.quiesce();
    using _slot = await this.#unloadSlots.acquire(NEVER);
    await harness.unload();
    this.#reconcile();
  }

  readonly #listener: HarnessListener<S> = {
    loading: ({ id }) => this.#publish(id, "LOADING"),
    ready: (harness) => {
      this.#addServing(harness);
      this.#publish(harness.id, "AVAILABLE");
    },
    ended: ({ id, error }) => this.#publish(id, "END", error),
  };

  #addServing(harness: LoaderHarness<S>): void {
    const { name, version } = harness.id;
    const stream = this.#serving.get(name);
    if (stream === undefined) {
      this.#serving.set(name, { latest: harness, versions: new Map([[version, harness]]) });
      return;
    }
    stream.versions.set(version, harness);
    if (version > stream.latest.id.version) stream.latest = harness;
  }

  #removeServing({ id: { name, version } }: LoaderHarness<S>): void {
    const stream = this.#serving.get(name)!;
    stream.versions.delete(version);
    if (stream.versions.size === 0) {
      this.#serving.delete(name);
      return;
    }
    stream.latest = [...stream.versions.values()].reduce((a, b) => (b.id.version > a.id.version ? b : a));
  }

  #publish(id: ServableId, state: ManagerState, error?: StatusError): void {
    this.#bus.publish(error === undefined ? { id, state } : { id, state, error });
  }
}

/** 立つことのない signal。解放は取り消さない。 */
const NEVER = new AbortController().signal;
