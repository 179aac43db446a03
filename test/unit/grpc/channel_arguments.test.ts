import { expect, test } from "bun:test";
import { parseChannelArguments } from "../../../src/grpc/channel_arguments.ts";

const defaults = {
  "grpc.max_receive_message_length": 2147483647,
  "grpc.max_send_message_length": -1,
  "grpc.enable_channelz": 0,
};

test.each<[string, Record<string, number>, string[], boolean]>([
  ["", {}, [], false],
  [
    "grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb",
    { "grpc.max_connection_age_ms": 2000 },
    ["grpc.lb_policy_name"],
    false,
  ],
  ["grpc.keepalive_time_ms= 10 ,", { "grpc.keepalive_time_ms": 10 }, [], false],
  ["grpc.max_concurrent_streams=+5=6", { "grpc.max_concurrent_streams": 5 }, [], false],
  [
    "grpc.max_concurrent_streams=1,grpc.max_concurrent_streams=2",
    { "grpc.max_concurrent_streams": 2 },
    [],
    false,
  ],
  ["grpc.max_connection_age_ms=soon", {}, ["grpc.max_connection_age_ms"], false],
  ["grpc.max_connection_age_ms=-1", {}, ["grpc.max_connection_age_ms"], false],
  ["grpc.max_connection_age_ms=2147483648", {}, ["grpc.max_connection_age_ms"], false],
  ["grpc.max_receive_message_length=-1", { "grpc.max_receive_message_length": -1 }, [], false],
  ["loose,=,grpc.so_reuseaddr=1", {}, ["", "grpc.so_reuseaddr"], false],
  ["grpc.so_reuseport=1", {}, [], true],
  ["grpc.so_reuseport=1,grpc.so_reuseport=0", {}, [], false],
  ["__proto__=1,constructor=2", {}, ["__proto__", "constructor"], false],
])("parseChannelArguments(%p)", (text, options, ignored, reusePort) => {
  expect(parseChannelArguments(text)).toEqual({
    serverOptions: { ...defaults, ...options },
    reusePort,
    ignored,
  });
});
