/** ヘッダーの 1 行。名前も値も、1 バイトを 1 文字とする。 */
export interface HeaderField {
  readonly name: string;
  readonly value: string;
}

/** 1 行が表で占める大きさのうち、文字でない分。 @see https://www.rfc-editor.org/rfc/rfc7541#section-4.1 */
const ENTRY_OVERHEAD = 32;

/** 表の中と、ヘッダーの大きさの上限での、1 行の大きさ。 */
export const sizeOfField = ({ name, value }: HeaderField): number =>
  name.length + value.length + ENTRY_OVERHEAD;

/** 空白の無い名前と値の組。値の無いものは名前だけ。 */
const STATIC = `:authority|:method GET|:method POST|:path /|:path /index.html|:scheme http|:scheme https|:status 200|:status 204|:status 206|:status 304|:status 400|:status 404|:status 500|accept-charset|accept-encoding gzip, deflate|accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate`;

/**
 * 静的な表。番号は 1 から。
 *
 * @see https://www.rfc-editor.org/rfc/rfc7541#appendix-A
 */
export const staticTable: readonly HeaderField[] = STATIC.split("|").map((entry) => {
  const [name = "", ...value] = entry.split(" ");
  return { name, value: value.join(" ") };
});

/** 客が足していく表。番号は、静的な表の後ろに、新しいものから付く。 */
export class DynamicTable {
  /** 古い順。`#head` より前は捨てたもの。 */
  #entries: HeaderField[] = [];
  #head = 0;
  #size = 0;
  #capacity: number;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** @param index 0 が一番新しい。 */
  get(index: number): HeaderField | undefined {
    const at = this.#entries.length - 1 - index;
    return at < this.#head ? undefined : this.#entries[at];
  }

  /** 表より大きい行は、表を空にするだけで載らない。 */
  add(field: HeaderField): void {
    this.#size += sizeOfField(field);
    this.#entries.push(field);
    this.#evict();
  }

  resize(capacity: number): void {
    this.#capacity = capacity;
    this.#evict();
  }

  #evict(): void {
    while (this.#size > this.#capacity) this.#size -= sizeOfField(this.#entries[this.#head++]!);
    if (this.#head > 64 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }
}
