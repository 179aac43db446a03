/** 1 度目の合図で `stop`、2 度目で `hurry` を呼ぶ。 */
export function onStopSignal(stop: (signal: string) => void, hurry: () => void): void {
  let signals = 0;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => (++signals > 1 ? hurry() : stop(signal)));
  }
}
