import { invalidArgument } from "../../base/status.ts";
import { tensor } from "../../tensor/tensor.ts";
import { bytesOf } from "./bytes.ts";
import { makeTensor, newData, toNumbers } from "./kernel_util.ts";
import type { Attrs, HostKernel, OpRow } from "./registry.ts";

const REPLACEMENT = 0xfffd;

/** 1 文字ごとに呼ばれる。壊れた並びは U+FFFD と `broken` で知らせる。 */
type Visit = (codePoint: number, byteLength: number, broken: boolean) => void;
type Scan = (bytes: Uint8Array, visit: Visit) => void;

/** UTF-8。壊れた並びは「正しく始まった最長の部分」ごとに 1 文字と数える(Unicode の推奨、ICU と同じ)。 */
const scanUtf8: Scan = (bytes, visit) => {
  let at = 0;
  while (at < bytes.length) {
    const lead = bytes[at]!;
    if (lead < 0x80) {
      visit(lead, 1, false);
      at++;
      continue;
    }
    const need = lead < 0xc2 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : 0;
    let low = 0x80;
    let high = 0xbf;
    if (lead === 0xe0) low = 0xa0;
    else if (lead === 0xed) high = 0x9f;
    else if (lead === 0xf0) low = 0x90;
    else if (lead === 0xf4) high = 0x8f;
    let codePoint = lead & (0x3f >> need);
    let taken = 1;
    for (; taken <= need; taken++) {
      const next = bytes[at + taken] ?? 0;
      if (next < low || next > high) break;
      codePoint = (codePoint << 6) | (next & 0x3f);
      low = 0x80;
      high = 0xbf;
    }
    const broken = need === 0 || taken <= need;
    visit(broken ? REPLACEMENT : codePoint, taken, broken);
    at += taken;
  }
};

/**
 * BOM つきの符号化。並びの向きは最初の(空でない)文字列で決まり、以後の文字列では BOM も文字になる。
 * TF が 1 回の実行で変換器を使い回すため。
 */
const scanUtf16 = (littleEndian?: boolean): Scan => {
  let little = littleEndian;
  return (bytes, visit) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    let carried = 0;
    if (little === undefined && bytes.length >= 2) {
      const mark = view.getUint16(0);
      little = mark === 0xfffe;
      if (little || mark === 0xfeff) at = carried = 2;
    }
    const emit: Visit = (codePoint, length, broken) => {
      visit(codePoint, length + carried, broken);
      carried = 0;
      at += length;
    };
    while (at < bytes.length) {
      if (bytes.length - at < 2) {
        emit(REPLACEMENT, bytes.length - at, true);
        return;
      }
      const unit = view.getUint16(at, little);
      if (unit < 0xd800 || unit > 0xdfff) {
        emit(unit, 2, false);
        continue;
      }
      const next = at + 4 <= bytes.length ? view.getUint16(at + 2, little) : 0;
      if (unit > 0xdbff || next < 0xdc00 || next > 0xdfff) {
        // 末尾で途切れた上位サロゲートは、残りごと 1 文字。
        const cut = unit <= 0xdbff && at + 4 > bytes.length;
        emit(REPLACEMENT, cut ? bytes.length - at : 2, true);
        continue;
      }
      emit(0x10000 + ((unit - 0xd800) << 10) + (next - 0xdc00), 4, false);
    }
  };
};

const scanUtf32 = (littleEndian?: boolean): Scan => {
  let little = littleEndian;
  return (bytes, visit) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    let carried = 0;
    if (little === undefined && bytes.length >= 4) {
      const mark = view.getUint32(0);
      little = mark === 0xfffe0000;
      if (little || mark === 0xfeff) at = carried = 4;
    }
    for (; at < bytes.length; at += 4) {
      const whole = at + 4 <= bytes.length;
      const codePoint = whole ? view.getUint32(at, little) : -1;
      const broken = !isScalar(codePoint);
      visit(broken ? REPLACEMENT : codePoint, (whole ? 4 : bytes.length - at) + carried, broken);
      carried = 0;
    }
  };
};

const scanSingle =
  (limit: number): Scan =>
  (bytes, visit) => {
    for (const byte of bytes) visit(byte < limit ? byte : REPLACEMENT, 1, byte >= limit);
  };

/** 符号化の名前 → 1 回の実行ぶんの読み手を作る関数。 */
const scanners: Readonly<Record<string, () => Scan>> = {
  UTF8: () => scanUtf8,
  UTF16: () => scanUtf16(),
  UTF16BE: () => scanUtf16(false),
  UTF16LE: () => scanUtf16(true),
  UTF32: () => scanUtf32(),
  UTF32BE: () => scanUtf32(false),
  UTF32LE: () => scanUtf32(true),
  USASCII: () => scanSingle(0x80),
  ASCII: () => scanSingle(0x80),
  ISO88591: () => scanSingle(0x100),
  LATIN1: () => scanSingle(0x100),
};

function scannerOf(attrs: Attrs): () => Scan {
  const name = attrs.string("input_encoding");
  const scan = scanners[name.toUpperCase().replaceAll(/[-_ ]/gu, "")];
  if (scan === undefined) throw invalidArgument(`Could not create converter for input encoding: ${name}`);
  return scan;
}

function isScalar(codePoint: number): boolean {
  return codePoint >= 0 && codePoint <= 0x10ffff && (codePoint < 0xd800 || codePoint > 0xdfff);
}

interface ErrorOptions {
  readonly strict: boolean;
  readonly ignore: boolean;
  readonly substitute: number;
  readonly controls: boolean;
}

function errorOptionsOf(attrs: Attrs): ErrorOptions {
  const policy = attrs.string("errors");
  if (policy !== "strict" && policy !== "replace" && policy !== "ignore") {
    throw invalidArgument("errors policy must be one of 'strict', 'replace', or 'ignore'");
  }
  const substitute = attrs.int("replacement_char");
  if (substitute < 0 || substitute > 0x10ffff) {
    throw invalidArgument("replacement_char out of unicode codepoint range");
  }
  const controls = attrs.has("replace_control_characters") && attrs.bool("replace_control_characters");
  return { strict: policy === "strict", ignore: policy === "ignore", substitute, controls };
}

/** 規則を当てながら文字を拾う。無視された文字は `visit` に届かない。 */
function readCharacters(
  bytes: Uint8Array,
  scan: Scan,
  { strict, ignore, substitute, controls }: ErrorOptions,
  visit: (codePoint: number, offset: number) => void,
): void {
  let offset = 0;
  scan(bytes, (codePoint, length, broken) => {
    if (broken && strict) throw invalidArgument("Invalid formatting on input string");
    const replaced = broken || (controls && codePoint <= 0x1f);
    if (!replaced || !ignore) visit(replaced ? substitute : codePoint, offset);
    offset += length;
  });
}

type Encode = (codePoints: readonly number[]) => Uint8Array;

const encoders: Readonly<Record<string, Encode>> = {
  "UTF-8": (codePoints) => Buffer.from(toText(codePoints), "utf8"),
  "UTF-16-BE": (codePoints) => Buffer.from(toText(codePoints), "utf16le").swap16(),
  "UTF-32-BE": (codePoints) => {
    const out = new DataView(new ArrayBuffer(codePoints.length * 4));
    codePoints.forEach((codePoint, i) => {
      out.setUint32(i * 4, codePoint);
    });
    return new Uint8Array(out.buffer);
  },
};

function toText(codePoints: readonly number[]): string {
  let text = "";
  for (const codePoint of codePoints) text += String.fromCodePoint(codePoint);
  return text;
}

function encoderOf(attrs: Attrs): Encode {
  const name = attrs.string("output_encoding");
  const encode = encoders[name];
  if (encode === undefined)
    throw invalidArgument(`Invalid encoding "${name}": Should be one of: UTF-8, UTF-16-BE, UTF-32-BE`);
  return encode;
}

function transcode(attrs: Attrs): HostKernel {
  const newScan = scannerOf(attrs);
  const options = errorOptionsOf(attrs);
  const encode = encoderOf(attrs);
  return ([input]) => {
    const scan = newScan();
    const out = bytesOf(input!).map((text) => {
      const codePoints: number[] = [];
      readCharacters(text, scan, options, (codePoint) => codePoints.push(codePoint));
      return encode(codePoints);
    });
    return tensor("string", input!.shape, out);
  };
}

function decode(attrs: Attrs, withOffsets: boolean): HostKernel {
  const newScan = scannerOf(attrs);
  const options = errorOptionsOf(attrs);
  const splitsType = attrs.dtype("Tsplits") === "int32" ? "int32" : "int64";
  return ([input]) => {
    const scan = newScan();
    const texts = bytesOf(input!);
    const values: number[] = [];
    const offsets: number[] = [];
    const splits = newData(splitsType, [texts.length + 1]);
    texts.forEach((text, row) => {
      readCharacters(text, scan, options, (codePoint, offset) => {
        values.push(codePoint);
        offsets.push(offset);
      });
      if (splits instanceof Int32Array) splits[row + 1] = values.length;
      else splits[row + 1] = BigInt(values.length);
    });
    const out = [
      makeTensor(splitsType, [splits.length], splits),
      tensor("int32", [values.length], Int32Array.from(values)),
    ];
    if (withOffsets) out.push(tensor("int64", [offsets.length], BigInt64Array.from(offsets, BigInt)));
    return out;
  };
}

function encode(attrs: Attrs): HostKernel {
  const { strict, ignore, substitute } = errorOptionsOf(attrs);
  const write = encoderOf(attrs);
  return ([values, splitsTensor]) => {
    const codePoints = toNumbers(values!);
    const splits = toNumbers(splitsTensor!);
    if (splits.length === 0) {
      throw invalidArgument("Input_splits should contain elements, but given input_values has 0 elements");
    }
    if (splits[0] !== 0) throw invalidArgument("First value in input_splits must be zero.");
    if (splits.at(-1) !== codePoints.length) {
      throw invalidArgument("Last value in input_splits must be equal to length of input_tensor.");
    }
    if (splits.some((split, i) => i > 0 && split < splits[i - 1]!)) {
      throw invalidArgument("Values in input_splits must be equal or in ascending order.");
    }
    const out = newData("string", [splits.length - 1]);
    for (let row = 0; row < out.length; row++) {
      const part: number[] = [];
      for (const codePoint of codePoints.slice(splits[row], splits[row + 1])) {
        if (isScalar(codePoint)) part.push(codePoint);
        else if (strict) {
          throw invalidArgument("Code point is out of range for Unicode, or is a surrogate.");
        } else if (!ignore) part.push(substitute);
      }
      out[row] = write(part);
    }
    return tensor("string", [out.length], out);
  };
}

/** 文字符号の変換。 */
export const unicodeOps: readonly OpRow[] = [
  { op: "UnicodeTranscode", host: ({ attrs }) => transcode(attrs) },
  { op: "UnicodeDecode", host: ({ attrs }) => decode(attrs, false) },
  { op: "UnicodeDecodeWithOffsets", host: ({ attrs }) => decode(attrs, true) },
  { op: "UnicodeEncode", host: ({ attrs }) => encode(attrs) },
];
