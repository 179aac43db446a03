/** 固定された 1 つの包み。 */
export interface LockedPackage {
  /** 置き場(`a` や、別の版を抱えたときの `a/b`)。 */
  readonly key: string;
  readonly name: string;
  readonly version: string;
  readonly dependencies: readonly string[];
  /** `sha512-…`(base64)。 */
  readonly integrity: string;
}

/** bun.lock のうち、ここで読むところ。 */
export interface Lockfile {
  readonly workspaces: Readonly<Record<string, { readonly dependencies?: Readonly<Record<string, string>> }>>;
  readonly packages: Readonly<
    Record<
      string,
      readonly [
        id: string,
        registry: string,
        info: {
          readonly dependencies?: Readonly<Record<string, string>>;
          readonly optionalPeers?: readonly string[];
          readonly peerDependencies?: Readonly<Record<string, string>>;
        },
        integrity: string,
      ]
    >
  >;
}

/** `key` の中から見える `name`。近い入れ物から順に探す。 */
function resolve(lock: Lockfile, key: string, name: string): string | undefined {
  const holders =
    key === "" ? [] : key.split("/").map((_, i, parts) => parts.slice(0, parts.length - i).join("/"));
  return [...holders.map((holder) => `${holder}/${name}`), name].find((candidate) =>
    Object.hasOwn(lock.packages, candidate),
  );
}

/**
 * 実行時の依存と、その先のすべて。開発だけのものは入らない。
 *
 * @throws 固定されていない依存があるとき。
 */
export function productionPackages(lock: Lockfile): readonly LockedPackage[] {
  const found = new Map<string, LockedPackage>();
  const visit = (from: string, names: readonly string[], required: boolean): readonly string[] =>
    names.flatMap((name) => {
      const key = resolve(lock, from, name);
      if (key === undefined) {
        if (required) throw new Error(`${name} (needed by ${from || "the project"}) is not in bun.lock`);
        return [];
      }
      if (found.has(key)) return [key];
      const [id, , info, integrity] = lock.packages[key]!;
      const at = id.lastIndexOf("@");
      const entry = { key, name: id.slice(0, at), version: id.slice(at + 1), dependencies: [], integrity };
      found.set(key, entry);
      const peers = Object.keys(info.peerDependencies ?? {}).filter(
        (peer) => !info.optionalPeers?.includes(peer),
      );
      const dependencies = [
        ...visit(key, Object.keys(info.dependencies ?? {}), true),
        ...visit(key, peers, false),
      ];
      found.set(key, { ...entry, dependencies });
      return [key];
    });
  visit("", Object.keys(lock.workspaces[""]?.dependencies ?? {}), true);
  return [...found.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}
