import type { ManagerState } from "../core/servable_state.ts";
import type { WireState } from "./message.ts";

/** 控えめな順。1 つでも手前の状態にあれば、全体はその状態とする。AVAILABLE は全員がそうなときだけ。 */
const cautious: readonly ManagerState[] = ["START", "LOADING", "UNLOADING", "END", "AVAILABLE"];

/**
 * 各プロセスの版の状態を、全体の状態にまとめる。版の降順。
 * ある版を知らないプロセスがあれば、そこではまだ START にすらなっていないので、START とみなす。
 */
export function mergeStates(processes: readonly (readonly WireState[])[]): WireState[] {
  const versions = new Map<bigint, WireState[]>();
  for (const states of processes) {
    for (const state of states) {
      const seen = versions.get(state.version);
      if (seen === undefined) versions.set(state.version, [state]);
      else seen.push(state);
    }
  }
  return [...versions.entries()]
    .sort(([a], [b]) => (a < b ? 1 : -1))
    .map(([, states]) => {
      const first = states.reduce((a, b) => (cautious.indexOf(b.state) < cautious.indexOf(a.state) ? b : a));
      // 降ろし終えた版を知らないのは、後から加わったプロセス。END はそのまま END。
      if (states.length < processes.length && first.state === "AVAILABLE") {
        return { name: first.name, version: first.version, state: "START" as const };
      }
      return first;
    });
}
