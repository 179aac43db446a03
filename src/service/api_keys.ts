import { crypto } from "../base/late_builtins.ts";

const digestOf = (token: string): Buffer => crypto().createHash("sha256").update(token).digest();

/**
 * 入口で受ける鍵(bearer token)の集まり。1 行に 1 つ。鍵そのものは覚えず、SHA-256 だけを覚える。
 *
 * @see https://www.rfc-editor.org/rfc/rfc6750#section-2.1
 */
export class ApiKeys {
  #digests: readonly Buffer[] = [];

  /** @param text 鍵のファイルの中身。空の行は数えない。 */
  constructor(text: string) {
    this.replace(text);
  }

  get size(): number {
    return this.#digests.length;
  }

  /** 以後の要求に効く。1 つも無ければ、誰も通さない。 */
  replace(text: string): void {
    this.#digests = text
      .split(/\r?\n/)
      .map((line) => line.trim())
      .filter((line) => line !== "")
      .map(digestOf);
  }

  /**
   * `Authorization` の値を許すか。どの鍵と、どこまで合ったかは、掛かる時間に表れない。
   */
  readonly allows = (authorization: string | null): boolean => {
    const token = /^bearer +(\S+)$/i.exec(authorization ?? "")?.[1];
    if (token === undefined) return false;
    const digest = digestOf(token);
    let isKnown = false;
    for (const known of this.#digests) isKnown = crypto().timingSafeEqual(known, digest) || isKnown;
    return isKnown;
  };
}
