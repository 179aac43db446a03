import type { Host } from "../base/host.ts";
import { StatusError } from "../base/status.ts";
import type { ModelServerConfig } from "./model_config.ts";

/**
 * 設定ファイルを一定の間隔で読み直し、変化の有無によらず適用する。失敗は書き留めるだけで、提供は続ける。
 *
 * @param intervalMs 0 以下なら何もしない。
 * @param read ファイルを読む。
 * @param apply 設定を適用する。終わるまで次を読まない。
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
  const pollOnce = async (): Promise<void> => {
    let what = "Failed to read ModelServerConfig file";
    try {
      const config = await read();
      what = "PollFilesystemAndReloadConfig failed to ReloadConfig";
      if (!stopped) await apply(config);
    } catch (thrown) {
      if (!stopped) host.log.error(`${what}: ${StatusError.from(thrown).message}`);
    }
    if (!stopped) cancel = host.clock.after(intervalMs, () => void pollOnce());
  };
  void pollOnce();
  return () => {
    stopped = true;
    cancel();
  };
}
