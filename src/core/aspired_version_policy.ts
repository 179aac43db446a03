import type { HarnessState } from "./loader_harness.ts";

/** 方針が見る、1 つの版の今。 */
export interface VersionSnapshot {
  readonly version: bigint;
  readonly state: HarnessState;
  readonly aspired: boolean;
}

export interface Action {
  readonly kind: "load" | "unload";
  readonly version: bigint;
}

/**
 * 1 つのストリームの全版を見て、次の一手を決める純粋関数。することが無ければ undefined。
 * 状態は manager だけが持つので、同じスナップショットには必ず同じ答えを返す。
 *
 * @see tensorflow_serving/core/aspired_version_policy.h
 */
export type AspiredVersionPolicy = (versions: readonly VersionSnapshot[]) => Action | undefined;

/**
 * 可用性を優先する遷移方針。配信中の版が 0 になる瞬間を作らない。
 * 代償として、切り替え中は新旧 2 版ぶんのメモリを使う。
 *
 * @see tensorflow_serving/core/availability_preserving_policy.cc GetNextAction
 */
export const availabilityPreserving: AspiredVersionPolicy = (versions) => {
  const stale = versions.filter((v) => !v.aspired && v.state === "Ready");
  const aspired = versions.filter((v) => v.aspired);
  // 希望が 1 つも無い(全撤去)か、代わりが配信中なら降ろしてよい。余りが 2 つ以上なら 1 つは残る。
  const replaceable = aspired.length === 0 || aspired.some((v) => v.state === "Ready");
  if (stale.length > 1 || (stale.length === 1 && replaceable)) {
    return { kind: "unload", version: lowest(stale) };
  }
  return loadHighest(aspired);
};

/**
 * 資源を優先する遷移方針。古い版がすべて消えてから新しい版を読むので、2 版ぶんのメモリは要らない。
 * 代償として、その間は提供が途切れる。
 *
 * @see tensorflow_serving/core/resource_preserving_policy.cc GetNextAction
 */
export const resourcePreserving: AspiredVersionPolicy = (versions) => {
  const stale = versions.find((v) => !v.aspired && v.state === "Ready");
  if (stale !== undefined) return { kind: "unload", version: stale.version };
  const leaving = versions.some((v) => !v.aspired && v.state !== "Disabled" && v.state !== "Error");
  return leaving ? undefined : loadHighest(versions.filter((v) => v.aspired));
};

function loadHighest(aspired: readonly VersionSnapshot[]): Action | undefined {
  const fresh = aspired.filter((v) => v.state === "New");
  if (fresh.length === 0) return undefined;
  return { kind: "load", version: fresh.reduce((best, v) => (v.version > best.version ? v : best)).version };
}

function lowest(versions: readonly VersionSnapshot[]): bigint {
  return versions.reduce((best, v) => (v.version < best.version ? v : best)).version;
}
