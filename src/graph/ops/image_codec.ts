import { invalidArgument, unimplemented } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import { sizeOf, type Tensor, tensor } from "../../tensor/tensor.ts";
import { decodeBmp } from "./bmp_decoder.ts";
import { bytesOf, toLatin1 } from "./bytes.ts";
import { decodeGif, InvalidGif } from "./gif_decoder.ts";
import { decodeJpeg, jpegShape } from "./jpeg_decoder.ts";
import { encodeJpeg, type JpegEncodeOptions } from "./jpeg_encoder.ts";
import { InvalidJpeg } from "./jpeg_scan.ts";
import { formatShape, makeTensor, newData, toNumber, toNumbers } from "./kernel_util.ts";
import type { Pixels } from "./pixels.ts";
import { decodePng, encodePng, InvalidPng, PngTooLarge } from "./png_codec.ts";
import type { Attrs, HostKernel, OpNode, OpRow } from "./registry.ts";
import { rowAt } from "./rows.ts";

type DecodeOp = "DecodeJpeg" | "DecodeAndCropJpeg" | "DecodePng" | "DecodeGif" | "DecodeBmp" | "DecodeImage";
type Channels = 0 | 1 | 3 | 4;
type Format = "JPEG" | "PNG" | "GIF" | "BMP";

const magics: readonly (readonly [Format, string])[] = [
  ["JPEG", "\xff\xd8\xff"],
  ["PNG", "\x89PNG\r\n\x1a\n"],
  ["GIF", "GIF8"],
  ["BMP", "BM"],
];

/** 先頭のバイトで形式を見分ける。 */
function formatOf(bytes: Uint8Array): Format {
  const head = toLatin1(bytes.subarray(0, 16));
  const found = magics.find(([, magic]) => head.startsWith(magic));
  if (found !== undefined) return found[0];
  if ((head.startsWith("RIFF") && head.slice(8, 12) === "WEBP") || head.startsWith("\xff\x0a")) {
    throw unimplemented("Decoding WebP and JPEG XL images is not supported");
  }
  throw invalidArgument("Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP required.");
}

interface DecodeSettings {
  readonly op: DecodeOp;
  readonly channels: Channels;
  readonly dtype: "uint8" | "uint16" | "float";
  readonly expandAnimations: boolean;
  readonly ratio: 1 | 2 | 4 | 8;
  readonly accurate: boolean;
  readonly fancyUpscaling: boolean;
  readonly recoverTruncated: boolean;
}

function settingsOf(op: DecodeOp, attrs: Attrs): DecodeSettings {
  const jpeg = op === "DecodeJpeg" || op === "DecodeAndCropJpeg";
  const ratio = jpeg ? attrs.int("ratio") : 1;
  if (ratio !== 1 && ratio !== 2 && ratio !== 4 && ratio !== 8) {
    throw invalidArgument(`ratio must be 1, 2, 4, or 8, got ${ratio}`);
  }
  if (jpeg) {
    if (attrs.float("acceptable_fraction") < 1) {
      throw unimplemented(`${op} with acceptable_fraction below 1 is not supported`);
    }
  }
  const method = jpeg ? attrs.string("dct_method") : "";
  if (!["", "INTEGER_FAST", "INTEGER_ACCURATE"].includes(method)) {
    throw invalidArgument("dct_method must be one of {'', 'INTEGER_FAST', 'INTEGER_ACCURATE'}");
  }
  const typed = op === "DecodePng" || op === "DecodeImage";
  const dtype: DType | undefined = typed ? attrs.dtype("dtype") : "uint8";
  if (dtype !== "uint8" && dtype !== "uint16" && dtype !== "float") {
    throw invalidArgument(`\`dtype\` for \`${op}\` must be unit8, unit16, float but got: ${dtype}`);
  }
  const channels = op === "DecodeGif" ? 3 : attrs.int("channels");
  if (channels !== 0 && channels !== 1 && channels !== 3 && channels !== 4) {
    throw invalidArgument(`\`channels\` must be 0, 1, 3 or 4 but got ${channels}`);
  }
  return {
    op,
    channels,
    dtype,
    expandAnimations: op !== "DecodeImage" || attrs.bool("expand_animations"),
    ratio,
    accurate: method === "INTEGER_ACCURATE",
    fancyUpscaling: !jpeg || attrs.bool("fancy_upscaling"),
    recoverTruncated: jpeg && attrs.bool("try_recover_truncated"),
  };
}

/** 8 ビットの画素を、頼まれた型に。 */
function convert(shape: readonly number[], data: Uint8Array, dtype: DecodeSettings["dtype"]): Tensor {
  switch (dtype) {
    case "uint8":
      return tensor("uint8", shape, data);
    case "uint16":
      return tensor(
        "uint16",
        shape,
        Uint16Array.from(data, (value) => value * 256),
      );
    case "float": {
      const scale = Math.fround(1 / 255);
      return tensor(
        "float",
        shape,
        Float32Array.from(data, (value) => value * scale),
      );
    }
  }
}

/** DecodeBmp はほかの形式を断り、DecodeAndCropJpeg は JPEG だけを読む。 */
function checkOp(op: DecodeOp, format: Exclude<Format, "BMP">): void {
  if (op === "DecodeBmp") {
    throw invalidArgument(
      `Trying to decode ${format} format using DecodeBmp op. Use \`decode_${format.toLowerCase()}\` or \`decode_image\` instead.`,
    );
  }
  if (op === "DecodeAndCropJpeg" && format !== "JPEG") {
    throw invalidArgument(`DecodeAndCropJpeg operation can run on JPEG only, but detected ${format}.`);
  }
}

function crop({ shape, data }: Pixels, window: Tensor): Pixels {
  if (window.shape.length !== 1) {
    throw invalidArgument(`crop_window must be 1-D, got shape ${formatShape(window.shape)}`);
  }
  if (window.shape[0] !== 4) {
    throw invalidArgument(`crop_size must have four elements ${formatShape(window.shape)}`);
  }
  const [top, left, rows, columns] = toNumbers(window) as [number, number, number, number];
  const [height, width, channels] = shape;
  if (rows <= 0 || columns <= 0 || top < 0 || left < 0 || top + rows > height || left + columns > width) {
    throw new InvalidJpeg("crop window");
  }
  const out = new Uint8Array(rows * columns * channels);
  for (let y = 0; y < rows; y++) {
    const from = ((top + y) * width + left) * channels;
    out.set(data.subarray(from, from + columns * channels), y * columns * channels);
  }
  return { shape: [rows, columns, channels], data: out };
}

function fromJpeg(bytes: Uint8Array, settings: DecodeSettings, window: Tensor | undefined): Tensor {
  const { op, channels, dtype } = settings;
  if (channels === 4) throw invalidArgument("JPEG does not support 4 channels");
  checkOp(op, "JPEG");
  try {
    const whole = decodeJpeg(bytes, { ...settings, channels });
    const { shape, data } = op === "DecodeAndCropJpeg" ? crop(whole, window!) : whole;
    return convert(op === "DecodeGif" ? [1, ...shape] : shape, data, dtype);
  } catch (error) {
    if (!(error instanceof InvalidJpeg)) throw error;
    throw invalidArgument("jpeg::Uncompress failed. Invalid JPEG data or crop window.", error);
  }
}

function fromPng(bytes: Uint8Array, { op, channels, dtype }: DecodeSettings): Tensor {
  checkOp(op, "PNG");
  try {
    const { shape, data } = decodePng(bytes, channels, dtype === "uint8" ? 8 : 16);
    const dims = op === "DecodeGif" ? [1, ...shape] : shape;
    if (dtype !== "float") return makeTensor(dtype, dims, data);
    const scale = Math.fround(1 / 65535);
    return tensor(
      "float",
      dims,
      Float32Array.from(data, (value) => value * scale),
    );
  } catch (error) {
    if (error instanceof PngTooLarge) throw invalidArgument(`PNG size too large for int: ${error.message}`);
    if (!(error instanceof InvalidPng)) throw error;
    throw invalidArgument(
      error.header ? "Invalid PNG. Failed to initialize decoder." : `Invalid PNG data, size ${bytes.length}`,
      error,
    );
  }
}

function fromGif(bytes: Uint8Array, settings: DecodeSettings): Tensor {
  const { op, channels, dtype, expandAnimations } = settings;
  if (channels !== 0 && channels !== 3) {
    throw invalidArgument(`channels must be 0 or 3 for GIF, got ${channels}`);
  }
  checkOp(op, "GIF");
  const still = op === "DecodePng" || op === "DecodeJpeg";
  try {
    const { shape, data } = decodeGif(bytes, !expandAnimations, (frames) => {
      if (!still || frames === 1) return;
      throw invalidArgument(
        `Got ${frames} frames, but animated gifs can only be decoded by tf.io.decode_gif or tf.io.decode_image`,
      );
    });
    return convert(still || !expandAnimations ? shape.slice(1) : shape, data, dtype);
  } catch (error) {
    if (!(error instanceof InvalidGif)) throw error;
    throw invalidArgument(`Invalid GIF data (size ${bytes.length}), ${error.message}`, error);
  }
}

function fromBmp(bytes: Uint8Array, { op, channels, dtype }: DecodeSettings): Tensor {
  if (channels === 1) throw invalidArgument("`channels` must be 0, 3 or 4 for BMP, but got 1");
  if (op === "DecodeAndCropJpeg") {
    throw invalidArgument("DecodeAndCropJpeg operation can run on JPEG only, but detected BMP.");
  }
  if (op !== "DecodeBmp" && op !== "DecodeImage") {
    throw invalidArgument(
      `Trying to decode BMP format using a wrong op. Use \`decode_bmp\` or \`decode_image\` instead. Op used: ${op}`,
    );
  }
  const { shape, data } = decodeBmp(bytes, channels);
  return convert(shape, data, dtype);
}

function decode(op: DecodeOp): (node: OpNode) => HostKernel {
  return ({ attrs }) => {
    const settings = settingsOf(op, attrs);
    return ([contents, window]) => {
      if (contents!.shape.length !== 0) {
        throw invalidArgument(`\`contents\` must be scalar but got shape${formatShape(contents!.shape)}`);
      }
      const bytes = bytesOf(contents!)[0]!;
      if (bytes.length === 0) throw invalidArgument("Input is empty.");
      switch (formatOf(bytes)) {
        case "JPEG":
          return fromJpeg(bytes, settings, window);
        case "PNG":
          return fromPng(bytes, settings);
        case "GIF":
          return fromGif(bytes, settings);
        case "BMP":
          return fromBmp(bytes, settings);
      }
    };
  };
}

const extractShape = ({ attrs }: OpNode): HostKernel => {
  const dtype = attrs.dtype("output_type") === "int64" ? "int64" : "int32";
  return ([contents]) => {
    if (contents!.shape.length !== 0) {
      throw invalidArgument(`contents must be scalar, got shape ${formatShape(contents!.shape)}`);
    }
    const bytes = bytesOf(contents!)[0]!;
    try {
      const shape = jpegShape(bytes);
      const data = dtype === "int64" ? BigInt64Array.from(shape, BigInt) : Int32Array.from(shape);
      return makeTensor(dtype, [3], data);
    } catch (error) {
      if (!(error instanceof InvalidJpeg)) throw error;
      throw invalidArgument(`Invalid JPEG data, size ${bytes.length}`, error);
    }
  };
};

const formats: Readonly<Record<string, { readonly channels: readonly number[]; readonly text: string }>> = {
  "": { channels: [1, 3], text: "image must have 1 or 3 channels, got " },
  grayscale: { channels: [1], text: "format grayscale expects 1 channels, got " },
  rgb: { channels: [3], text: "format rgb expects 3 channels, got " },
};

function checkImage(image: Tensor, format: string): Pixels {
  if (image.shape.length !== 3)
    throw invalidArgument(`image must be 3-dimensional${formatShape(image.shape)}`);
  const [height, width, channels] = image.shape as [number, number, number];
  const { channels: allowed, text } = formats[format]!;
  if (!allowed.includes(channels)) throw invalidArgument(`${text}${formatShape(image.shape)}`);
  if (height < 1 || width < 1 || height > 65535 || width > 65535) {
    throw invalidArgument("JPEG encoding failed");
  }
  return { shape: [height, width, channels], data: image.data as Uint8Array };
}

const toJpeg = ({ attrs }: OpNode): HostKernel => {
  const format = attrs.string("format");
  if (formats[format] === undefined)
    throw invalidArgument(`format must be '', grayscale or rgb, got ${format}`);
  const quality = attrs.int("quality");
  if (quality < 0 || quality > 100) throw invalidArgument(`quality must be in [0,100], got ${quality}`);
  const unit = attrs.string("density_unit");
  if (unit !== "in" && unit !== "cm") throw invalidArgument(`Invalid density_unit: ${unit}`);
  // progressive と optimize_size は詰め方だけの違いで、画素は変わらないので、いつも基本の形式で書く。
  const options: JpegEncodeOptions = {
    quality,
    downsampleChroma: attrs.bool("chroma_downsampling"),
    density: { unit: unit === "in" ? 1 : 2, x: attrs.int("x_density"), y: attrs.int("y_density") },
    xmp: attrs.bytes("xmp_metadata"),
  };
  return ([image]) => tensor("string", [], [encodeJpeg(checkImage(image!, format), options)]);
};

const toJpegVariable =
  (): HostKernel =>
  ([image, quality]) => {
    if (quality!.shape.length !== 0) {
      throw invalidArgument(`quality must be scalar: ${formatShape(quality!.shape)}`);
    }
    const level = toNumber(quality!);
    if (level < 0 || level > 100) throw invalidArgument(`quality must be in [0,100], got ${level}`);
    const options = {
      quality: level,
      downsampleChroma: true,
      density: { unit: 1, x: 300, y: 300 },
      xmp: new Uint8Array(0),
    } as const;
    return tensor("string", [], [encodeJpeg(checkImage(image!, ""), options)]);
  };

const toPng = ({ attrs }: OpNode): HostKernel => {
  const level = attrs.int("compression");
  if (level < -1 || level > 9) throw invalidArgument(`compression should be in [-1,9], got ${level}`);
  return ([image]) => {
    const { shape } = image!;
    if (shape.length < 3)
      throw invalidArgument(`image must be at least rank 3, got shape ${formatShape(shape)}`);
    const [height, width, channels] = shape.slice(-3) as [number, number, number];
    if (channels < 1 || channels > 4) {
      throw invalidArgument(`image must have 1, 2, 3, or 4 channels, got ${channels}`);
    }
    if (height < 1 || width < 1) throw invalidArgument("image should have at least one pixel");
    const batch = shape.slice(0, -3);
    const flat = makeTensor(image!.dtype, [sizeOf(batch), height, width, channels], image!.data);
    const out = newData("string", batch).map((_, i) =>
      encodePng(
        { shape: [height, width, channels], data: rowAt(flat, i).data as Uint8Array | Uint16Array },
        level,
      ),
    );
    return tensor("string", batch, out);
  };
};

/** 画像の読み書き。JPEG の画素は TF と 1 階調も違わない。 */
export const imageCodecOps: readonly OpRow[] = [
  ...(["DecodeJpeg", "DecodeAndCropJpeg", "DecodePng", "DecodeGif", "DecodeBmp", "DecodeImage"] as const).map(
    (op) => ({ op, host: decode(op) }),
  ),
  { op: "ExtractJpegShape", host: extractShape },
  { op: "EncodeJpeg", host: toJpeg },
  { op: "EncodeJpegVariableQuality", host: toJpegVariable },
  { op: "EncodePng", host: toPng },
];
