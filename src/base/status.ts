/**
 * 正準ステータスコード。数値は gRPC と absl で共通なので変換表を持たない。
 *
 * @see https://grpc.io/docs/guides/status-codes/
 */
export const Code = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type Code = (typeof Code)[keyof typeof Code];
export type CodeName = keyof typeof Code;

const names = Object.fromEntries(Object.entries(Code).map(([name, code]) => [code, name])) as Record<
  number,
  CodeName
>;

/** コードの名前(`INVALID_ARGUMENT` など)。表に無い数は `UNKNOWN`。 */
export function codeName(code: number): CodeName {
  return names[code] ?? "UNKNOWN";
}

/**
 * サーバー内のすべての失敗を表す唯一のエラー。文面はそのままクライアントに届く。
 * 送ってはならない詳細は `cause` に入れる(ログにだけ出る)。
 */
export class StatusError extends Error {
  override readonly name = "StatusError";
  readonly code: Code;

  constructor(code: Code, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }

  /** `INVALID_ARGUMENT: text` の形。TF Serving のログや状態表示と同じ。 */
  override toString(): string {
    return `${codeName(this.code)}: ${this.message}`;
  }

  /**
   * 何が投げられても StatusError にする。想定外のものは中身を見せず `INTERNAL` の定型文にする。
   */
  static from(thrown: unknown): StatusError {
    if (thrown instanceof StatusError) return thrown;
    if (thrown instanceof DOMException) {
      if (thrown.name === "TimeoutError") return deadlineExceeded("Deadline Exceeded", thrown);
      if (thrown.name === "AbortError") return cancelled("Cancelled", thrown);
    }
    return internal("Internal error", thrown);
  }
}

const constructorOf =
  (code: Code) =>
  (message: string, cause?: unknown): StatusError =>
    new StatusError(code, message, cause);

export const cancelled = constructorOf(Code.CANCELLED);
export const unknown = constructorOf(Code.UNKNOWN);
export const invalidArgument = constructorOf(Code.INVALID_ARGUMENT);
export const deadlineExceeded = constructorOf(Code.DEADLINE_EXCEEDED);
export const notFound = constructorOf(Code.NOT_FOUND);
export const permissionDenied = constructorOf(Code.PERMISSION_DENIED);
export const resourceExhausted = constructorOf(Code.RESOURCE_EXHAUSTED);
export const failedPrecondition = constructorOf(Code.FAILED_PRECONDITION);
export const outOfRange = constructorOf(Code.OUT_OF_RANGE);
export const unimplemented = constructorOf(Code.UNIMPLEMENTED);
export const internal = constructorOf(Code.INTERNAL);
export const unavailable = constructorOf(Code.UNAVAILABLE);
export const dataLoss = constructorOf(Code.DATA_LOSS);
export const unauthenticated = constructorOf(Code.UNAUTHENTICATED);
