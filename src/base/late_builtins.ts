// Bun の備え付けのうち、読み込みに 1 ms より掛かり、要らない起動の多いもの。使うときに読み込む。

export const zlib = (): typeof import("node:zlib") => process.getBuiltinModule("node:zlib");
export const tls = (): typeof import("node:tls") => process.getBuiltinModule("node:tls");
export const crypto = (): typeof import("node:crypto") => process.getBuiltinModule("node:crypto");
