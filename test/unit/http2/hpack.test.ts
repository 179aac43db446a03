import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { HpackDecoder, HpackError, TOO_LARGE } from "../../../src/http2/hpack_decoder.ts";
import { encodeHeaders } from "../../../src/http2/hpack_encoder.ts";
import { decodeHuffman } from "../../../src/http2/huffman.ts";

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));
const lines = (decoder: HpackDecoder, block: Uint8Array): string[] => {
  const fields = decoder.decode(block);
  if (fields === TOO_LARGE) throw new Error("too large");
  return fields.map(({ name, value }) => `${name}: ${value}`);
};

/** RFC 7541 の付録 C.3 から C.6。1 つの表を続けて使う。 */
const vectors: readonly [string, readonly (readonly [string, readonly string[]])[]][] = [
  [
    "C.3 requests without Huffman",
    [
      [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
      ],
      [
        "8286 84be 5808 6e6f 2d63 6163 6865",
        [
          ":method: GET",
          ":scheme: http",
          ":path: /",
          ":authority: www.example.com",
          "cache-control: no-cache",
        ],
      ],
      [
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        [
          ":method: GET",
          ":scheme: https",
          ":path: /index.html",
          ":authority: www.example.com",
          "custom-key: custom-value",
        ],
      ],
    ],
  ],
  [
    "C.4 requests with Huffman",
    [
      [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
      ],
      [
        "8286 84be 5886 a8eb 1064 9cbf",
        [
          ":method: GET",
          ":scheme: http",
          ":path: /",
          ":authority: www.example.com",
          "cache-control: no-cache",
        ],
      ],
      [
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        [
          ":method: GET",
          ":scheme: https",
          ":path: /index.html",
          ":authority: www.example.com",
          "custom-key: custom-value",
        ],
      ],
    ],
  ],
];

describe("HpackDecoder", () => {
  test.each(vectors)("%s", (_, blocks) => {
    const decoder = new HpackDecoder(1e6);
    for (const [block, expected] of blocks) expect(lines(decoder, hex(block))).toEqual([...expected]);
  });

  test.each([
    ["an index of zero", "80"],
    ["an index beyond the tables", "be"],
    ["an index cut short", "ff"],
    ["an index too large to be one", "ff ffffffff ff"],
    ["a string cut short", "40 05 6162"],
    ["a string without a length", "40"],
    ["a table larger than allowed", "3f e2 1f"],
    ["a table size after a field", "82 20"],
    ["EOS inside a string", "40 84 ffff ffff 00"],
    ["padding with a zero", "40 81 fe 00"],
    ["padding longer than 7 bits", "40 82 1fff 00"],
  ])("refuses %s", (_, block) => {
    expect(() => new HpackDecoder(1e6).decode(hex(block))).toThrow(HpackError);
  });

  test("the table may shrink and grow back, at the start of a block only", () => {
    const decoder = new HpackDecoder(1e6);
    expect(lines(decoder, hex("40 01 61 01 62"))).toEqual(["a: b"]);
    expect(lines(decoder, hex("be"))).toEqual(["a: b"]);
    // 0 にしてから 4096 に。載っていたものは消える。
    expect(lines(decoder, hex("20 3f e1 1f 82"))).toEqual([":method: GET"]);
    expect(() => decoder.decode(hex("be"))).toThrow(HpackError);
  });

  test("a field larger than the table empties it", () => {
    const decoder = new HpackDecoder(1e6);
    const large = Buffer.concat([
      hex("40 01 61 7f"),
      hex("a9 1f"),
      Buffer.alloc(0x7f + 0x29 + 0x1f * 128, 98),
    ]);
    expect(lines(decoder, hex("40 01 61 01 62 be"))).toEqual(["a: b", "a: b"]);
    expect(lines(decoder, large)[0]).toHaveLength(3 + 0x7f + 0x29 + 0x1f * 128);
    expect(() => decoder.decode(hex("be"))).toThrow(HpackError);
  });

  test("too large a list is said so, and the table still moves on", () => {
    const decoder = new HpackDecoder(100);
    expect(decoder.decode(hex("40 01 61 01 62 40 01 63 01 64 40 01 65 01 66"))).toBe(TOO_LARGE);
    expect(lines(decoder, hex("be c0"))).toEqual(["e: f", "a: b"]);
  });

  test("the same block again is the same fields, until the table has changed", () => {
    const decoder = new HpackDecoder(1e6);
    decoder.decode(hex("40 01 61 01 62"));
    const first = decoder.decode(hex("82 be"));
    expect(decoder.decode(hex("82 be"))).toBe(first);
    decoder.decode(hex("40 01 61 01 63"));
    expect(lines(decoder, hex("82 be"))).toEqual([":method: GET", "a: c"]);
  });

  test("many entries come and go", () => {
    const decoder = new HpackDecoder(1e6);
    for (let i = 0; i < 1000; i++) {
      const value = String(i).padStart(4, "0");
      const block = Buffer.concat([hex("40 01 61 04"), Buffer.from(value)]);
      expect(lines(decoder, block)).toEqual([`a: ${value}`]);
      expect(lines(decoder, hex("be"))).toEqual([`a: ${value}`]);
    }
    // 1 行は 37 バイトなので、4096 バイトには 110 行。
    expect(lines(decoder, hex("ff 2c"))).toEqual(["a: 0890"]);
    expect(() => decoder.decode(hex("ff 2d"))).toThrow(HpackError);
  });

  test("reads whatever the encoder writes", () => {
    const text = fc.string({ unit: "binary-ascii", maxLength: 300 });
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text)), (fields) => {
        const read = lines(new HpackDecoder(1e9), encodeHeaders(fields));
        expect(read).toEqual(fields.map(([name, value]) => `${name}: ${value}`));
      }),
    );
  });

  test("random bytes are fields or an HpackError, nothing else", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }), (blocks) => {
        const decoder = new HpackDecoder(1000);
        try {
          for (const block of blocks) decoder.decode(block);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(HpackError);
        }
      }),
    );
  });
});

describe("encodeHeaders()", () => {
  test("uses the static table, never the dynamic one", () => {
    expect(
      Buffer.from(
        encodeHeaders([
          [":status", "200"],
          ["content-type", "application/grpc"],
          ["x", "1"],
        ]),
      ).toString("hex"),
    ).toBe(`880f10${"10"}${Buffer.from("application/grpc").toString("hex")}000178${"0131"}`);
  });
});

test("decodeHuffman() reads a string longer than its scratch", () => {
  // 'a' は 00011。
  const bits = "00011".repeat(8 * 20_000);
  const bytes = Uint8Array.from({ length: bits.length / 8 }, (_, i) =>
    Number.parseInt(bits.slice(8 * i, 8 * i + 8), 2),
  );
  expect(decodeHuffman(bytes, 0, bytes.length)).toBe("a".repeat(160_000));
});
