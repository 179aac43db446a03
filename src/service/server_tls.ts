/** 入口の TLS の材料(PEM の文字列)。どの入口も同じものを受ける。 */
export interface ServerTls {
  readonly key: string;
  readonly cert: string;
  /** 客の証明書を確かめる根。空ならシステムの根。 */
  readonly clientCa: string;
  /** 客の証明書を求め、確かめる。 */
  readonly clientVerify: boolean;
}
