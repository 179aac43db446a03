import type { ServerOptions } from "@grpc/grpc-js";

const INT32_MAX = 2 ** 31 - 1;

/** grpc-js のサーバーが知っている引数と、その下限。どれも int。 */
const known: Readonly<Record<string, number>> = {
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
  "grpc.max_concurrent_streams": 0,
  "grpc.max_connection_age_ms": 1,
  "grpc.max_connection_age_grace_ms": 0,
  "grpc.max_connection_idle_ms": 1,
  "grpc.keepalive_time_ms": 1,
  "grpc.keepalive_timeout_ms": 1,
  "grpc-node.max_session_memory": 1,
};

export interface ChannelArguments {
  readonly serverOptions: ServerOptions;
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

/**
 * `--grpc_channel_arguments` の `k=v,k=v` を読む。知らない名前や型の合わない値は害なく捨てる。
 * 同じ名前は後のものが勝つ。`=` の無い断片は無視する(TF Serving では異常終了する)。
 */
export function parseChannelArguments(text: string): ChannelArguments {
  const serverOptions: Record<string, number> = {
    // 送受信とも TF Serving と同じく事実上の無制限から始める。
    "grpc.max_receive_message_length": INT32_MAX,
    "grpc.max_send_message_length": -1,
    "grpc.enable_channelz": 0,
  };
  const ignored: string[] = [];
  let reusePort = false;
  for (const piece of text.split(",")) {
    const [key = "", raw] = piece.split("=");
    if (raw === undefined) continue;
    const value = parseInt32(raw);
    const least = known[key];
    if (key === "grpc.so_reuseport") reusePort = value === 1;
    else if (value !== undefined && least !== undefined && value >= least) serverOptions[key] = value;
    else ignored.push(key);
  }
  return { serverOptions, reusePort, ignored };
}

/** 呼び出しごとに grpc-js が守るべき限りが、既定から変えられているか。 */
export function hasOwnLimits({ serverOptions }: ChannelArguments): boolean {
  return (
    serverOptions["grpc.max_receive_message_length"] !== INT32_MAX ||
    serverOptions["grpc.max_send_message_length"] !== -1 ||
    serverOptions["grpc.max_connection_idle_ms"] !== undefined
  );
}
