import type { Host } from "../base/host.ts";
import { invalidArgument, StatusError } from "../base/status.ts";
import type { Aspire, AspiredVersion } from "../core/source.ts";
import type { Storage } from "../savedmodel/storage.ts";
import type { ServableVersionPolicy } from "./model_config.ts";
import { RateLimitedLog } from "./rate_limited_log.ts";

/** 源が置き場所について知ること。 */
export type VersionStorage = Pick<Storage, "exists" | "list">;

/** 見張るストリーム 1 つ。 */
export interface MonitoredServable {
  readonly name: string;
  readonly basePath: string;
  readonly versionPolicy: ServableVersionPolicy;
}

export interface FileSystemSourceConfig {
  /** 見回りの間隔。0 は設定ごとに一度だけ、負なら見回らない。 */
  readonly pollWaitSeconds: number;
  /** 版が 1 つも無くなっても、提供中のものを降ろさない。 */
  readonly versionsAlwaysPresent: boolean;
  readonly servables: readonly MonitoredServable[];
}

const PLAIN_INT64 = /^[\t\n\v\f\r ]*([+-]?\d+)[\t\n\v\f\r ]*$/;

/** 版の名前として読めれば、その数。符号と前ゼロと前後の空白を許す 10 進の int64。 */
export function parseVersion(name: string): bigint | undefined {
  const digits = PLAIN_INT64.exec(name)?.[1];
  if (digits === undefined) return undefined;
  const version = digits.startsWith("-") ? -BigInt(digits.slice(1)) : BigInt(digits.replace("+", ""));
  return BigInt.asIntN(64, version) === version ? version : undefined;
}

function joinPath(directory: string, name: string): string {
  return directory.endsWith("/") ? directory + name : `${directory}/${name}`;
}

/**
 * ベースパスを見回り、方針に合う版の場所を希望として知らせる。覚えているのは設定だけで、
 * 知らせは毎回「今あるもの全部」。中身の変化は見ない(版が現れたか消えたかだけ)。
 *
 * TF Serving と違い、1 つのモデルのベースパスが無くても、ほかのモデルの見回りは続ける。
 *
 * @see tensorflow_serving/sources/storage_path/file_system_storage_path_source.cc
 */
export class FileSystemSource {
  readonly #host: Host;
  readonly #storage: VersionStorage;
  readonly #aspire: Aspire<string>;
  readonly #log: RateLimitedLog;
  #config: FileSystemSourceConfig | undefined;
  #rounds: Promise<void> = Promise.resolve();
  #cancelTimer: () => void = () => {};
  #stopped = false;

  constructor(host: Host, storage: VersionStorage, aspire: Aspire<string>) {
    this.#host = host;
    this.#storage = storage;
    this.#aspire = aspire;
    this.#log = new RateLimitedLog(host);
  }

  /** 今見張っているストリームの名前。 */
  get names(): readonly string[] {
    return this.#config?.servables.map(({ name }) => name) ?? [];
  }

  /**
   * 見張るものを置き換える。外れたストリームは空の希望を知らせて降ろし、残りはすぐに見回る。
   *
   * @throws INVALID_ARGUMENT 間隔を変えようとした。
   */
  updateConfig(config: FileSystemSourceConfig): void {
    const current = this.#config;
    if (current !== undefined && current.pollWaitSeconds !== config.pollWaitSeconds) {
      throw invalidArgument("Changing file_system_poll_wait_seconds is not supported");
    }
    this.#config = config;
    const kept = new Set(config.servables.map(({ name }) => name));
    for (const { name } of current?.servables ?? []) if (!kept.has(name)) this.#aspire(name, []);
    if (config.pollWaitSeconds >= 0) void this.#pollRepeatedly();
  }

  /** 見回りをやめる。希望は取り消さない。 */
  stop(): void {
    this.#stopped = true;
    this.#cancelTimer();
  }

  async #pollRepeatedly(): Promise<void> {
    this.#cancelTimer();
    const config = this.#config!;
    // 前の見回りが遅い置き場所で手間取っていても、重ねて走らせない。
    this.#rounds = this.#rounds.then(() => this.#poll(config));
    await this.#rounds;
    if (this.#config !== config || this.#stopped || config.pollWaitSeconds === 0) return;
    this.#cancelTimer = this.#host.clock.after(
      config.pollWaitSeconds * 1000,
      () => void this.#pollRepeatedly(),
    );
  }

  async #poll(config: FileSystemSourceConfig): Promise<void> {
    await Promise.all(
      config.servables.map(async (servable) => {
        try {
          const versions = await this.#discover(servable);
          // 調べている間に設定が変わったら、外れたものを呼び戻さないよう捨てる。
          if (this.#config !== config || this.#stopped) return;
          if (versions.length === 0 && config.versionsAlwaysPresent) {
            this.#log.say("error", `Refusing to unload all versions for Servable: ${servable.name}`);
            return;
          }
          this.#aspire(servable.name, versions);
        } catch (thrown) {
          this.#log.say(
            "error",
            `FileSystemStoragePathSource encountered a filesystem access error: ${messageOf(thrown)}`,
          );
        }
      }),
    );
    this.#log.endRound();
  }

  async #discover(servable: MonitoredServable): Promise<AspiredVersion<string>[]> {
    const { name, basePath, versionPolicy } = servable;
    if (!(await this.#storage.exists(basePath))) {
      throw invalidArgument(
        `Could not find base path ${basePath} for servable ${name} with error NOT_FOUND: ${basePath} not found`,
      );
    }
    if (versionPolicy.kind === "specific") {
      if (versionPolicy.versions.length === 0) {
        this.#log.say("warn", `No specific versions requested for servable ${name}.`);
        return [];
      }
      // どれも素直な名前であれば、一覧(遠い置き場所では高い)を取らずに済む。
      const paths = versionPolicy.versions.map((version) => joinPath(basePath, version.toString()));
      const found = await Promise.all(paths.map((path) => this.#storage.exists(path)));
      if (!found.includes(false)) return aspireUnique(versionPolicy.versions, paths);
    }
    const children = await this.#childrenByVersion(basePath);
    const chosen = this.#choose(servable, [...children.keys()]);
    if (chosen.length === 0) {
      this.#log.say(
        "warn",
        `No versions of servable ${name} found under base path ${basePath}. ` +
          "Did you forget to name your leaf directory as a number (eg. '/1/')?",
      );
      // いちばん多い間違い。TF Serving の文面だけでは、何を直せばよいか分からない。
      if (await this.#storage.exists(joinPath(basePath, "saved_model.pb"))) {
        this.#log.say(
          "warn",
          `${basePath} holds a SavedModel itself; the base path is the directory above the numbered ones.`,
        );
      }
    }
    return chosen.map((version) => ({ version, data: joinPath(basePath, children.get(version)!) }));
  }

  #choose({ name, versionPolicy }: MonitoredServable, versions: readonly bigint[]): bigint[] {
    const ascending = [...versions].sort((a, b) => (a < b ? -1 : 1));
    switch (versionPolicy.kind) {
      case "all":
        return ascending;
      case "latest":
        return ascending.reverse().slice(0, Math.max(1, versionPolicy.numVersions));
      case "specific": {
        const requested = new Set(versionPolicy.versions);
        for (const version of requested) {
          if (versions.includes(version)) continue;
          this.#log.say(
            "warn",
            `Version ${version} of servable ${name}, which was requested to be served as a 'specific' version ` +
              "in the servable's version policy, was not found in the file system",
          );
        }
        return ascending.filter((version) => requested.has(version));
      }
    }
  }

  /** 版 → 直下の名前。同じ版を指す名前が 2 つあれば、バイト順で後のものを採る。 */
  async #childrenByVersion(basePath: string): Promise<Map<bigint, string>> {
    const children = await this.#storage.list(basePath);
    const byVersion = new Map<bigint, string>();
    for (const name of children.map((child) => child.name).sort()) {
      const version = parseVersion(name);
      if (version === undefined) continue;
      const other = byVersion.get(version);
      if (other !== undefined) {
        this.#log.say(
          "warn",
          `Duplicate version directories detected. Version ${version} will be loaded from ${name}, ${other} will be ignored.`,
        );
      }
      byVersion.set(version, name);
    }
    return byVersion;
  }
}

function aspireUnique(versions: readonly bigint[], paths: readonly string[]): AspiredVersion<string>[] {
  return [...new Map(versions.map((version, i) => [version, paths[i]!]))].map(([version, data]) => ({
    version,
    data,
  }));
}

function messageOf(thrown: unknown): string {
  if (thrown instanceof StatusError || thrown instanceof Error) return thrown.message;
  return String(thrown);
}
