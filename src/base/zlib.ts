/** node:zlib。読み込みに 1.5 ms 掛かるので、圧縮されたものが届くまで読み込まない。 */
export const zlib = (): typeof import("node:zlib") => process.getBuiltinModule("node:zlib");
