import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { zipSync } from "fflate";
import { create } from "tar";

/** 書庫に入れる 1 つのファイル。 */
export interface Entry {
  readonly path: string;
  readonly executable: boolean;
}

/** `directory` の下に並べた tar.gz。同じ中身からは同じバイト列になる。 */
export async function writeTarGz(
  file: string,
  parent: string,
  directory: string,
  mtime: Date,
): Promise<void> {
  await create({ file, cwd: parent, gzip: { level: 6 }, portable: true, mtime, noDirRecurse: false }, [
    directory,
  ]);
}

const UNIX = 3;

/** Windows のための zip。実行の許可も書く(unix の道具で開いたときのため)。 */
export function writeZip(file: string, directory: string, entries: readonly Entry[], mtime: Date): void {
  const files = Object.fromEntries(
    entries.map(({ path, executable }) => [
      `${directory}/${basename(path)}`,
      [
        new Uint8Array(readFileSync(path)),
        {
          level: 6 as const,
          mtime,
          os: UNIX,
          attrs: ((0o100000 | (executable ? 0o755 : 0o644)) << 16) >>> 0,
        },
      ] as [Uint8Array, { level: 6; mtime: Date; os: number; attrs: number }],
    ]),
  );
  writeFileSync(file, zipSync(files));
}
