/** 決まった中身を返す頁。 */
export interface StaticPage {
  readonly contentType: string;
  readonly body: string | Uint8Array<ArrayBuffer>;
  /** 足す見出し(`Content-Security-Policy`、`Cache-Control` など)。 */
  readonly headers?: Readonly<Record<string, string>>;
}

interface Stored {
  readonly plain: Uint8Array<ArrayBuffer>;
  readonly zipped: Uint8Array<ArrayBuffer> | undefined;
  readonly headers: Readonly<Record<string, string>>;
}

const encoder = new TextEncoder();
/** これより小さいものは縮めても得をしない。 */
const MIN_ZIPPED_BYTES = 1024;

/**
 * 頁の答え方。ETag を付け、客が同じものを持っていれば 304、受け取れるなら gzip で返す。
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-etag
 */
export class StaticPages {
  readonly #pages: ReadonlyMap<string, StaticPage>;
  /** 一度答えた頁。起動を遅らせないよう、縮めるのは初めて頼まれたとき。 */
  readonly #stored = new Map<string, Stored>();

  constructor(pages: ReadonlyMap<string, StaticPage>) {
    this.#pages = pages;
  }

  /** @param path 頁のある宛先。 */
  answer(path: string, request: Request): Response {
    const { plain, zipped, headers } = this.#store(path, this.#pages.get(path)!);
    const given = request.headers;
    if (matches(given.get("if-none-match"), headers["ETag"]!)) {
      return new Response(null, { status: 304, headers });
    }
    const useZipped = zipped !== undefined && acceptsGzip(given.get("accept-encoding"));
    const body = useZipped ? zipped : plain;
    return new Response(body, {
      headers: { ...headers, ...(useZipped ? { "Content-Encoding": "gzip" } : {}) },
    });
  }

  #store(path: string, { contentType, body, headers }: StaticPage): Stored {
    const known = this.#stored.get(path);
    if (known !== undefined) return known;
    const plain = typeof body === "string" ? encoder.encode(body) : body;
    const zipped = plain.length < MIN_ZIPPED_BYTES ? undefined : Bun.gzipSync(plain, { level: 9 });
    const stored = {
      plain,
      zipped,
      headers: {
        "Content-Type": contentType,
        // gzip でも中身は同じものなので、弱い印にする。
        ETag: `W/"${Bun.hash(plain).toString(36)}"`,
        Vary: "Accept-Encoding",
        ...headers,
      },
    };
    this.#stored.set(path, stored);
    return stored;
  }
}

/** 弱い比較。 @see https://www.rfc-editor.org/rfc/rfc9110#name-if-none-match */
function matches(ifNoneMatch: string | null, etag: string): boolean {
  if (ifNoneMatch === null) return false;
  const opaque = (tag: string): string => tag.trim().replace(/^W\//, "");
  return ifNoneMatch.split(",").some((tag) => tag.trim() === "*" || opaque(tag) === opaque(etag));
}

/** `gzip;q=0` は「要らない」。 @see https://www.rfc-editor.org/rfc/rfc9110#name-accept-encoding */
function acceptsGzip(acceptEncoding: string | null): boolean {
  return (acceptEncoding ?? "").split(",").some((coding) => {
    const [name, ...parameters] = coding.split(";").map((part) => part.trim().toLowerCase());
    return name === "gzip" && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  });
}
