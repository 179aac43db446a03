import type { LifetimeLimits } from "../http2/connection_lifetime.ts";

const INT32_MAX = 2 ** 31 - 1;

/** 入口の知っている引数と、その下限。どれも int。 */
const known: ReadonlyMap<string, number> = new Map([
  ["grpc.max_receive_message_length", -1],
  ["grpc.max_send_message_length", -1],
  ["grpc.max_concurrent_streams", 0],
  ["grpc.max_connection_age_ms", 1],
  ["grpc.max_connection_age_grace_ms", 0],
  ["grpc.max_connection_idle_ms", 1],
  ["grpc.keepalive_time_ms", 1],
  ["grpc.keepalive_timeout_ms", 1],
]);

export interface ChannelArguments {
  /** 受け取る、また送るメッセージの長さの上限。 */
  readonly maxReceiveBytes: number;
  readonly maxSendBytes: number;
  /** 1 本の接続で同時に開ける流れ。 */
  readonly maxConcurrentStreams: number;
  readonly lifetime: LifetimeLimits;
  /** `grpc.so_reuseport=1` */
  readonly reusePort: boolean;
  /** 意味を持たない引数の名前。警告に出す。 */
  readonly ignored: readonly string[];
}

/** int32 の 10 進として読めなければ undefined。前後の空白は許す(absl::SimpleAtoi と同じ)。 */
function parseInt32(text: string): number | undefined {
  const value = /^\s*[+-]?\d+\s*$/.test(text) ? Number(text) : Number.NaN;
  return Math.abs(value) <= INT32_MAX ? value : undefined;
}

/** -1 は無制限。TF Serving も、受けるほうを int の最大まで広げている。 */
const lengthOf = (value = -1): number => (value < 0 ? INT32_MAX : value);

/**
 * `--grpc_channel_arguments` の `k=v,k=v` を読む。知らない名前や型の合わない値は害なく捨てる。
 * 同じ名前は後のものが勝つ。`=` の無い断片は無視する(TF Serving では異常終了する)。
 */
export function parseChannelArguments(text: string): ChannelArguments {
  const values = new Map<string, number>();
  const ignored: string[] = [];
  let reusePort = false;
  for (const piece of text.split(",")) {
    const [key = "", raw] = piece.split("=");
    if (raw === undefined) continue;
    const value = parseInt32(raw);
    const least = known.get(key);
    if (key === "grpc.so_reuseport") reusePort = value === 1;
    else if (value !== undefined && least !== undefined && value >= least) values.set(key, value);
    else ignored.push(key);
  }
  return {
    maxReceiveBytes: lengthOf(values.get("grpc.max_receive_message_length")),
    maxSendBytes: lengthOf(values.get("grpc.max_send_message_length")),
    maxConcurrentStreams: values.get("grpc.max_concurrent_streams") ?? INT32_MAX,
    lifetime: {
      maxAgeMs: values.get("grpc.max_connection_age_ms"),
      maxAgeGraceMs: values.get("grpc.max_connection_age_grace_ms"),
      maxIdleMs: values.get("grpc.max_connection_idle_ms"),
      keepaliveMs: values.get("grpc.keepalive_time_ms"),
      keepaliveTimeoutMs: values.get("grpc.keepalive_timeout_ms"),
    },
    reusePort,
    ignored,
  };
}
