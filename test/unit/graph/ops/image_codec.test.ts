import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { StatusError } from "../../../../src/base/status.ts";
import { imageCodecOps } from "../../../../src/graph/ops/image_codec.ts";
import { makeTensor } from "../../../../src/graph/ops/kernel_util.ts";
import { type Tensor, tensor } from "../../../../src/tensor/tensor.ts";
import image from "../../../fixtures/ops/image.json";
import { describeOps, readTensor, runHost } from "../../../helpers/op_cases.ts";

describeOps("image", imageCodecOps, image);

const run = (op: string, attrs: Parameters<typeof runHost>[2], ...inputs: Tensor[]): Tensor =>
  runHost(imageCodecOps, op, attrs, inputs)[0]!;
const contents = (bytes: Uint8Array): Tensor => tensor("string", [], [bytes]);

describe("EncodePng", () => {
  test.each([
    ["uint8", 4],
    ["uint8", 3],
    ["uint8", 2],
    ["uint16", 1],
    ["uint16", 3],
  ] as const)("%s with %d channels reads back", (dtype, channels) => {
    const wire = dtype === "uint8" ? 4 : 17;
    const count = 2 * 5 * 7 * channels;
    const values = Array.from({ length: count }, (_, i) => (i * 7919) % (dtype === "uint8" ? 256 : 65536));
    const data = dtype === "uint8" ? Uint8Array.from(values) : Uint16Array.from(values);
    const out = run("EncodePng", { T: { type: wire } }, makeTensor(dtype, [2, 5, 7, channels], data));
    expect(out.shape).toEqual([2]);
    const back = (out.data as Uint8Array[]).map((bytes) =>
      run("DecodePng", { channels: { i: "0" }, dtype: { type: wire } }, contents(bytes)),
    );
    expect(back.map(({ shape }) => shape)).toEqual(Array(2).fill([5, 7, channels]));
    expect(back.flatMap((part) => Array.from(part.data as Uint8Array))).toEqual(values);
  });

  test.each<[number[], string]>([
    [[2, 2], "image must be at least rank 3, got shape [2,2]"],
    [[2, 2, 5], "image must have 1, 2, 3, or 4 channels, got 5"],
    [[0, 2, 1], "image should have at least one pixel"],
  ])("shape %p is refused", (shape, message) => {
    const size = shape.reduce((product, dim) => product * dim, 1);
    expect(() => run("EncodePng", {}, tensor("uint8", shape, new Uint8Array(size)))).toThrow(message);
  });
});

describe("hostile images", () => {
  const samples = (image as unknown as { op: string; inputs: never[]; outputs?: unknown }[])
    .filter(
      ({ op, outputs }) => op.startsWith("Decode") && op !== "DecodeAndCropJpeg" && outputs !== undefined,
    )
    .map(({ inputs }) => (readTensor(inputs[0]!).data as Uint8Array[])[0]!);
  const attempt = (bytes: Uint8Array): void => {
    try {
      run("DecodeImage", { dtype: { type: 4 } }, contents(bytes));
    } catch (error) {
      expect(error).toBeInstanceOf(StatusError);
      expect((error as StatusError).code).toBe(3);
    }
  };

  test("flipped and cut bytes give pixels or INVALID_ARGUMENT", () => {
    const flips = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.constantFrom(...samples), flips, fc.option(fc.nat()), (sample, changes, cut) => {
        const bytes = sample.slice(0, cut === null ? undefined : 12 + (cut % sample.length));
        // 大きさの欄を壊した巨大な画像は、下の試験で確かめる。
        for (const [at, value] of changes) bytes[40 + (at % Math.max(1, bytes.length - 40))] = value;
        attempt(bytes);
      }),
      { numRuns: 1500 },
    );
  });

  const jpeg = samples.find((bytes) => bytes[0] === 0xff)!.slice();
  const frame = jpeg.findIndex((byte, i) => byte === 0xff && jpeg[i + 1] === 0xc0);
  jpeg.set([0xff, 0xff, 0xff, 0xff], frame + 5);
  const png = samples.find((bytes) => bytes[0] === 0x89)!.slice();
  new DataView(png.buffer).setUint32(16, 100_000_000);
  new DataView(png.buffer).setUint32(20, 5);
  new DataView(png.buffer).setUint32(29, Bun.hash.crc32(png.subarray(12, 29)));
  const gif = samples.find((bytes) => bytes[0] === 0x47)!.slice();
  const block = gif.indexOf(0x2c, 13 + 3 * 4);
  gif.set([0xff, 0xff, 0xff, 0xff], block + 5);

  test.each([
    ["JPEG", jpeg, "jpeg::Uncompress failed. Invalid JPEG data or crop window."],
    ["PNG", png, "Invalid PNG data, size"],
    ["GIF", gif, "Invalid GIF data (size"],
  ] as const)("a small %s that claims to be huge allocates nothing", (_, bytes, message) => {
    expect(() => run("DecodeImage", { dtype: { type: 4 } }, contents(bytes))).toThrow(message);
  });

  test("formats that cannot be read are named", () => {
    const webp = new TextEncoder().encode("RIFF....WEBPVP8 ");
    expect(() => run("DecodeImage", { dtype: { type: 4 } }, contents(webp))).toThrow(
      "Decoding WebP and JPEG XL images is not supported",
    );
  });
});
