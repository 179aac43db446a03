import { invalidArgument } from "../../base/status.ts";
import type { DType, TypedArray } from "../../tensor/dtype.ts";
import { type Tensor, tensor } from "../../tensor/tensor.ts";
import { fromLatin1, NO_BYTES, toLatin1 } from "./bytes.ts";
import { encodeText } from "./kernel_util.ts";
import { type FloatFormat, formatFloat, formatInteger } from "./printf.ts";
import type { Attrs, OpRow } from "./registry.ts";

const floats: ReadonlySet<DType | undefined> = new Set([
  "float",
  "double",
  "half",
  "bfloat16",
  "complex64",
  "complex128",
]);

function asString(attrs: Attrs): (input: Tensor) => Tensor {
  const dtype = attrs.dtype("T");
  const precision = attrs.int("precision");
  const scientific = attrs.bool("scientific");
  const shortest = attrs.bool("shortest");
  const width = attrs.int("width");
  const fill = attrs.string("fill");
  if (!floats.has(dtype)) {
    if (scientific || shortest) {
      throw invalidArgument(
        `scientific and shortest format not supported for datatype ${dtype ?? "variant"}`,
      );
    }
    if (precision >= 0) {
      throw invalidArgument(`precision not supported for datatype ${dtype ?? "variant"}`);
    }
  }
  if (fill.length > 1) throw invalidArgument("Fill string must be one or fewer characters");
  if (fill !== "" && !"+-0 #".includes(fill)) throw invalidArgument(`Fill argument not supported: "${fill}"`);
  if (scientific && shortest) {
    throw invalidArgument("Cannot select both scientific and shortest notation");
  }
  const flag = width > -1 ? fill : "";
  const format: FloatFormat = { style: shortest ? "g" : scientific ? "e" : "f", precision, width, flag };
  const float = (value: number): string => formatFloat(value, format);

  // C の `%u` は符号の指定を無視する。
  const signed = !dtype?.startsWith("u");

  return (input) => {
    const out = (texts: ArrayLike<string>): Tensor =>
      tensor("string", input.shape, Array.from(texts, encodeText));
    switch (input.dtype) {
      case "string":
        return input;
      case "bool":
        return out(Array.from(input.data, (value) => (value ? "true" : "false")));
      case "float":
      case "double":
      case "half":
      case "bfloat16":
        return out(Array.from(input.data, float));
      case "complex64":
      case "complex128": {
        const count = input.data.length / 2;
        return out(
          Array.from(
            { length: count },
            (_, i) => `(${float(input.data[2 * i]!)},${float(input.data[2 * i + 1]!)})`,
          ),
        );
      }
      default:
        return out(
          Array.from(input.data as ArrayLike<number | bigint>, (value) =>
            formatInteger(value, width, signed ? flag : flag.replace(/[+ ]/u, "")),
          ),
        );
    }
  };
}

const escapes: Readonly<Record<number, string>> = {
  10: "\\n",
  13: "\\r",
  9: "\\t",
  34: '\\"',
  39: "\\'",
  92: "\\\\",
};

/** C の文字列としての表し方(制御文字は 8 進、0x80 以上はそのまま)。 */
function escapeBytes(bytes: Uint8Array): string {
  let out = "";
  for (const byte of bytes) {
    const plain = byte >= 0x20 && byte !== 0x7f;
    out += escapes[byte] ?? (plain ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, "0")}`);
  }
  return out;
}

/** 短い桁で元の値に戻ればそれ、戻らなければ必ず戻る桁(float は 6 → 9、double は 15 → 17)。 */
function roundTripFloat(value: number, dtype: DType): string {
  const wide = dtype === "double";
  const at = (precision: number): string =>
    formatFloat(value, { style: "g", precision, width: -1, flag: "" });
  const short = at(wide ? 15 : 6);
  if (!Number.isFinite(value)) return short;
  const same = wide ? Number(short) === value : Math.fround(Number(short)) === value;
  return same ? short : at(wide ? 17 : 9);
}

function element(value: Tensor, index: number): string {
  switch (value.dtype) {
    case "string":
      return `"${escapeBytes(value.data[index]!)}"`;
    case "bool":
      return value.data[index] ? "1" : "0";
    case "complex64":
    case "complex128": {
      const part = value.dtype === "complex64" ? "float" : "double";
      const [re, im] = [value.data[2 * index]!, value.data[2 * index + 1]!];
      return `(${roundTripFloat(re, part)},${roundTripFloat(im, part)})`;
    }
    default: {
      const item = (value.data as TypedArray)[index]!;
      return floats.has(value.dtype) ? roundTripFloat(item as number, value.dtype) : item.toString();
    }
  }
}

/** `tf.print` と同じ要約。各軸の両端を `summarize` 個ずつ出す。負なら全部。 */
function summarizeTensor(value: Tensor, summarize: number): string {
  if (value.shape.length === 0) return element(value, 0);
  const print = (axis: number, from: number, stride: number): string => {
    const dim = value.shape[axis]!;
    const step = dim === 0 ? 0 : stride / dim;
    const last = axis === value.shape.length - 1;
    const item = (i: number): string =>
      last ? element(value, from + i) : print(axis + 1, from + i * step, step);
    const whole = summarize < 0 || 2 * summarize >= dim;
    const heads = Array.from({ length: whole ? dim : summarize }, (_, i) => item(i));
    const tails = whole ? [] : Array.from({ length: summarize }, (_, i) => item(dim - summarize + i));
    const gap = last ? " " : "\n".repeat(value.shape.length - 1 - axis) + " ".repeat(axis + 1);
    if (!last && stride === 0) return `[${gap}...]`;
    const parts = whole ? heads : [...heads, "...", ...tails];
    return `[${parts.join(gap)}]`;
  };
  const size = value.shape.reduce((product, dim) => product * dim, 1);
  return print(0, 0, size);
}

/** 数や値を文字列にする演算。 */
export const stringFormatOps: readonly OpRow[] = [
  {
    op: "AsString",
    host: ({ attrs }) => {
      const convert = asString(attrs);
      return ([input]) => convert(input!);
    },
  },
  {
    op: "StringFormat",
    host: ({ attrs }) => {
      const pieces = toLatin1(attrs.bytes("template")).split(toLatin1(attrs.bytes("placeholder")));
      const summarize = attrs.int("summarize");
      const holes = pieces.length - 1;
      return (inputs) => {
        if (holes !== inputs.length) {
          throw invalidArgument(
            `num placeholders in template and num inputs must match: ${holes} vs. ${inputs.length}`,
          );
        }
        const texts = pieces.flatMap((piece, i) => [
          fromLatin1(piece),
          i < inputs.length ? fromLatin1(summarizeTensor(inputs[i]!, summarize)) : NO_BYTES,
        ]);
        return tensor("string", [], [Buffer.concat(texts)]);
      };
    },
  },
];
