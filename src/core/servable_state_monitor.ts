import type { EventBus } from "../base/event_bus.ts";
import { LOAD_CANCELLED } from "./loader_harness.ts";
import { formatServableId, type ServableId, type ServableRequest } from "./servable_id.ts";
import type { ManagerState, ServableState } from "./servable_state.ts";

/** 待ちの結果。 */
export interface Verdict {
  /** すべてが目的の状態に達した。false なら 1 つ以上が END になった。 */
  readonly reached: boolean;
  /** 要求ごとに決め手となった版の状態。名前、版の昇順。 */
  readonly states: readonly ServableState[];
}

interface Waiting {
  readonly requests: readonly ServableRequest[];
  readonly goal: ManagerState;
  readonly settle: (verdict: Verdict) => void;
}

/**
 * バスに流れた最後の状態を版ごとに覚える。終わった版も忘れない(状態の問い合わせが答えられるように)。
 *
 * @see tensorflow_serving/core/servable_state_monitor.h
 */
export class ServableStateMonitor implements Disposable {
  /** 名前 → 版 → 状態。 */
  readonly #states = new Map<string, Map<bigint, ServableState>>();
  readonly #waiting = new Set<Waiting>();
  readonly #unsubscribe: () => void;

  constructor(bus: EventBus<ServableState>) {
    this.#unsubscribe = bus.subscribe((state) => this.#record(state));
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
    this.#waiting.clear();
  }

  state({ name, version }: ServableId): ServableState | undefined {
    return this.#states.get(name)?.get(version);
  }

  /** その名前で見たことのあるすべての版。版の降順。 */
  versions(name: string): ServableState[] {
    return [...(this.#states.get(name)?.values() ?? [])].sort((a, b) =>
      a.id.version < b.id.version ? 1 : -1,
    );
  }

  /**
   * すべての要求が `goal` か END に達するまで待つ。版の無い要求は、そのストリームの
   * 最も大きい「達した版」で決まる。期限は無い。
   *
   * その中の、普通に降ろされた版や、要らなくなって読み込みを取り消された版は決め手にしない。
   * 起動中に次の版が置かれただけで失敗と数えてしまわないように(TF Serving は数える)。
   *
   * @throws signal が立ったら、その理由。
   */
  async waitUntil(
    requests: readonly ServableRequest[],
    goal: ManagerState,
    signal: AbortSignal,
  ): Promise<Verdict> {
    signal.throwIfAborted();
    const verdict = this.#judge(requests, goal);
    if (verdict !== undefined) return verdict;
    return await new Promise<Verdict>((resolve, reject) => {
      const giveUp = (): void => {
        this.#waiting.delete(waiting);
        reject(signal.reason);
      };
      const waiting: Waiting = {
        requests,
        goal,
        settle: (reached) => {
          signal.removeEventListener("abort", giveUp);
          resolve(reached);
        },
      };
      signal.addEventListener("abort", giveUp, { once: true });
      this.#waiting.add(waiting);
    });
  }

  #record(state: ServableState): void {
    const { name, version } = state.id;
    const versions = this.#states.get(name);
    if (versions === undefined) this.#states.set(name, new Map([[version, state]]));
    else versions.set(version, state);
    for (const waiting of this.#waiting) {
      const verdict = this.#judge(waiting.requests, waiting.goal);
      if (verdict === undefined) continue;
      this.#waiting.delete(waiting);
      waiting.settle(verdict);
    }
  }

  #judge(requests: readonly ServableRequest[], goal: ManagerState): Verdict | undefined {
    const states: ServableState[] = [];
    for (const { name, version } of requests) {
      const decisive =
        version === undefined
          ? this.versions(name).find((seen) => seen.state === goal || hasFailed(seen))
          : [this.state({ name, version })].find((seen) => seen?.state === goal || seen?.state === "END");
      if (decisive === undefined) return undefined;
      states.push(decisive);
    }
    states.sort((a, b) => (compareIds(a.id, b.id) < 0 ? -1 : 1));
    return { reached: states.every(({ state }) => state === goal), states };
  }
}

/** 読み込みに失敗して終わった。 */
function hasFailed({ state, error }: ServableState): boolean {
  return state === "END" && error !== undefined && error !== LOAD_CANCELLED;
}

function compareIds(a: ServableId, b: ServableId): number {
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return a.version < b.version ? -1 : 1;
}

/**
 * `2 servable(s) did not become available: {{{name: m version: 1} due to error: …}, }`。
 *
 * @param noun `servable(s)`(起動)か `model(s)`(再設定)。
 * @see tensorflow_serving/core/load_servables_fast.cc
 */
export function describeFailure(noun: string, { states }: Verdict): string {
  const failed = states.filter(({ state }) => state !== "AVAILABLE");
  const items = failed.map(
    ({ id, error }) =>
      `{${formatServableId(id)}${error === undefined ? "" : ` due to error: ${error.toString()}`}}, `,
  );
  return `${failed.length} ${noun} did not become available: {${items.join("")}}`;
}
