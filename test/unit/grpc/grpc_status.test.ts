import { expect, test } from "bun:test";
import { invalidArgument, unavailable } from "../../../src/base/status.ts";
import { toGrpcStatus } from "../../../src/grpc/grpc_status.ts";

test.each([
  ["a short text", "no", "no"],
  ["1024 bytes", "x".repeat(1024), "x".repeat(1024)],
  ["1025 bytes", "x".repeat(1025), `${"x".repeat(1024)}...TRUNCATED`],
  ["1024 bytes of wide characters", `${"あ".repeat(341)}x`, `${"あ".repeat(341)}x`],
  ["a character across the cut", `${"あ".repeat(342)}`, `${"あ".repeat(341)}\ufffd...TRUNCATED`],
  ["half a surrogate pair", "a\ud800b", "a\ufffdb"],
])("toGrpcStatus() of %s", (_, message, details) => {
  expect(toGrpcStatus(invalidArgument(message))).toEqual({ code: 3, details });
});

test("toGrpcStatus() keeps codes and hides what nobody foresaw", () => {
  expect(toGrpcStatus(unavailable("full"))).toEqual({ code: 14, details: "full" });
  expect(toGrpcStatus(new TypeError("secret"))).toEqual({ code: 13, details: "Internal error" });
});
