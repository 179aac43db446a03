import type { Host } from "../base/host.ts";

/** 1 件の要求の、追うための印。 */
export interface RequestTrace {
  /** 客が付けた(または付けなかったので作った)番号。応答にも付けて返す。 */
  readonly requestId: string;
  /** この要求をログに書くか。 */
  readonly sampled: boolean;
  /** 届いた時刻(Clock.monotonicMs)。 */
  readonly startMs: number;
  /** W3C の trace-id。客が付けていなければ無い。 */
  readonly traceId?: string;
  /** 客の側の span の番号。 */
  readonly parentId?: string;
}

/** 要求の見出し。名前は小文字で尋ねる。 */
export interface TraceHeaders {
  get(name: "x-request-id" | "traceparent"): string | null | undefined;
}

/** 終わった要求。 */
export interface FinishedRequest {
  readonly door: "REST" | "gRPC";
  readonly method: string;
  readonly path: string;
  /** HTTP の状態か、gRPC のコード。 */
  readonly status: number;
}

/** 受け入れる番号。ログの行を壊す字や、長過ぎるものは受け入れない。 */
const ACCEPTABLE_ID = /^[\x21-\x7e]{1,128}$/;
/** @see https://www.w3.org/TR/trace-context/#traceparent-header-field-values */
const TRACEPARENT = /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-[\da-f]{2}(?:-|$)/;

/**
 * 要求の記録。1 件 1 行で、割合で間引く。
 *
 * 客の付けた番号(`x-request-id`)は、記録しなくても応答に付けて返す。`traceparent` は行に残し、追跡の仕組みとつなげる。
 */
export class AccessLog {
  readonly #host: Host;
  readonly #rate: number;
  readonly #random: () => number;

  /**
   * @param rate 記録する割合。0 から 1。
   * @param random 0 以上 1 未満の乱数。
   */
  constructor(host: Host, rate: number, random: () => number) {
    this.#host = host;
    this.#rate = rate;
    this.#random = random;
  }

  /** @returns 番号も無く、記録もしないなら undefined。その要求には何もしなくてよい。 */
  begin(headers: TraceHeaders): RequestTrace | undefined {
    const requestId = headers.get("x-request-id") ?? null;
    const sampled = this.#rate > 0 && this.#random() < this.#rate;
    if (requestId === null && !sampled) return undefined;
    const isAcceptable = requestId !== null && ACCEPTABLE_ID.test(requestId);
    if (!isAcceptable && !sampled) return undefined;
    const [, traceId, parentId] = (sampled && TRACEPARENT.exec(headers.get("traceparent") ?? "")) || [];
    return {
      requestId: isAcceptable ? requestId : crypto.randomUUID(),
      sampled,
      startMs: this.#host.clock.monotonicMs(),
      ...(traceId === undefined ? {} : { traceId, parentId: parentId! }),
    };
  }

  finish({ sampled, startMs, ...ids }: RequestTrace, request: FinishedRequest): void {
    if (!sampled) return;
    const ms = Math.round((this.#host.clock.monotonicMs() - startMs) * 1000) / 1000;
    this.#host.log.info("request", { ...request, ms, ...ids });
  }
}
