import { expect, test } from "bun:test";
import { parseChannelArguments } from "../../../src/grpc/channel_arguments.ts";
import type { LifetimeLimits } from "../../../src/http2/connection_lifetime.ts";

const defaults = {
  maxReceiveBytes: 2147483647,
  maxSendBytes: 2147483647,
  maxConcurrentStreams: 2147483647,
};
type Given = Partial<typeof defaults> & { readonly lifetime?: LifetimeLimits };

test.each<[string, Given, string[], boolean]>([
  ["", {}, [], false],
  [
    "grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb",
    { lifetime: { maxAgeMs: 2000 } },
    ["grpc.lb_policy_name"],
    false,
  ],
  ["grpc.keepalive_time_ms= 10 ,", { lifetime: { keepaliveMs: 10 } }, [], false],
  ["grpc.max_concurrent_streams=+5=6", { maxConcurrentStreams: 5 }, [], false],
  ["grpc.max_concurrent_streams=1,grpc.max_concurrent_streams=2", { maxConcurrentStreams: 2 }, [], false],
  ["grpc.max_connection_age_ms=soon", {}, ["grpc.max_connection_age_ms"], false],
  ["grpc.max_connection_age_ms=-1", {}, ["grpc.max_connection_age_ms"], false],
  ["grpc.max_connection_age_ms=2147483648", {}, ["grpc.max_connection_age_ms"], false],
  ["grpc.max_receive_message_length=-1", {}, [], false],
  [
    "grpc.max_receive_message_length=9,grpc.max_send_message_length=0",
    { maxReceiveBytes: 9, maxSendBytes: 0 },
    [],
    false,
  ],
  [
    "grpc.max_connection_age_grace_ms=1,grpc.max_connection_idle_ms=2,grpc.keepalive_timeout_ms=3",
    { lifetime: { maxAgeGraceMs: 1, maxIdleMs: 2, keepaliveTimeoutMs: 3 } },
    [],
    false,
  ],
  ["loose,=,grpc.so_reuseaddr=1", {}, ["", "grpc.so_reuseaddr"], false],
  ["grpc.so_reuseport=1", {}, [], true],
  ["grpc.so_reuseport=1,grpc.so_reuseport=0", {}, [], false],
  ["__proto__=1,constructor=2", {}, ["__proto__", "constructor"], false],
])("parseChannelArguments(%p)", (text, options, ignored, reusePort) => {
  expect(parseChannelArguments(text)).toEqual({
    ...defaults,
    lifetime: {},
    ...options,
    reusePort,
    ignored,
  });
});
