import type { Host } from "../base/host.ts";
import { StatusError } from "../base/status.ts";
import type { ModelServerConfig } from "./model_config.ts";

/**
 * 設定ファイルを一定の間隔で読み直し、変化の有無によらず適用する。失敗は書き留めるだけで、提供は続ける。
 * 新しいモデルを待っている間も読み続けるので、書き間違いは書き直せば済む。
 *
 * @param intervalMs 0 以下なら何もしない。
 * @param read ファイルを読む。
 * @param apply 設定を適用する。
 * @returns 見回りをやめる関数。
 * @see tensorflow_serving/model_servers/server.cc PollFilesystemAndReloadConfig
 */
export function pollModelConfigFile(
  host: Host,
  intervalMs: number,
  read: () => Promise<ModelServerConfig>,
  apply: (config: ModelServerConfig) => Promise<void>,
): () => void {
  if (intervalMs <= 0) return () => {};
  let cancel = (): void => {};
  let stopped = false;
  const report = (what: string, thrown: unknown): void => {
    if (!stopped) host.log.error(`${what}: ${StatusError.from(thrown).message}`);
  };
  const pollOnce = async (): Promise<void> => {
    try {
      const config = await read();
      if (stopped) return;
      void apply(config).catch((thrown) =>
        report("PollFilesystemAndReloadConfig failed to ReloadConfig", thrown),
      );
    } catch (thrown) {
      report("Failed to read ModelServerConfig file", thrown);
    }
    if (!stopped) cancel = host.clock.after(intervalMs, () => void pollOnce());
  };
  void pollOnce();
  return () => {
    stopped = true;
    cancel();
  };
}
