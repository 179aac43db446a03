import { invalidArgument } from "../../base/status.ts";
import type { DType } from "../../tensor/dtype.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { bytesOf, NO_BYTES } from "./bytes.ts";
import { decodeText, makeTensor, newData } from "./kernel_util.ts";
import { integerRange, parseDouble, parseInteger } from "./parse_number.ts";
import type { Attrs, HostKernel, OpRow } from "./registry.ts";

const QUOTE = 0x22;
const isLineBreak = (byte: number): boolean => byte === 0x0a || byte === 0x0d;

/** RFC 4180 風の 1 行を欄に分ける。 */
function splitFields(line: Uint8Array, delimiter: number, quotes: boolean): Uint8Array[] {
  const fields: Uint8Array[] = [];
  let at = 0;
  while (at < line.length) {
    if (isLineBreak(line[at]!)) {
      at++;
      continue;
    }
    if (!quotes || line[at] !== QUOTE) {
      const start = at;
      for (; at < line.length && line[at] !== delimiter; at++) {
        const byte = line[at]!;
        if ((quotes && byte === QUOTE) || isLineBreak(byte)) {
          throw invalidArgument("Unquoted fields cannot have quotes/CRLFs inside");
        }
      }
      fields.push(line.subarray(start, at));
      at++;
      continue;
    }
    at++;
    const field: number[] = [];
    while (at < line.length - 1 && (line[at] !== QUOTE || line[at + 1] !== delimiter)) {
      if (line[at] === QUOTE) {
        if (line[at + 1] !== QUOTE) {
          throw invalidArgument("Quote inside a string has to be escaped by another quote");
        }
        at++;
      }
      field.push(line[at]!);
      at++;
    }
    if (line[at] !== QUOTE || (at !== line.length - 1 && line[at + 1] !== delimiter)) {
      throw invalidArgument("Quoted field has to end with quote followed by delim or end");
    }
    fields.push(Uint8Array.from(field));
    at += 2;
  }
  if (line.at(-1) === delimiter) fields.push(NO_BYTES);
  return fields;
}

/** 欄 1 つを読む。読めなければ undefined。 */
function parseField(dtype: DType | undefined, field: Uint8Array): Uint8Array | number | bigint | undefined {
  switch (dtype) {
    case "string":
      return field;
    case "float":
    case "double":
      return parseDouble(field);
    case "int32": {
      const value = parseInteger(field, ...integerRange.int32);
      return value === undefined ? undefined : Number(value);
    }
    case "int64":
      return parseInteger(field, ...integerRange.int64);
    default:
      throw invalidArgument(`csv: data type ${dtype} not supported`);
  }
}

function decodeCsv(attrs: Attrs): HostKernel {
  const types = attrs.dtypes("OUT_TYPE") as DType[];
  const delimiter = attrs.bytes("field_delim");
  if (delimiter.length !== 1) throw invalidArgument("field_delim should be only 1 char");
  const quotes = attrs.bool("use_quote_delim");
  const missing = attrs.bytes("na_value");
  const columns = attrs.ints("select_cols");
  if (columns.length > 0 && columns.length !== types.length) {
    throw invalidArgument("select_cols should match output size");
  }
  if (columns.some((column, i) => column < 0 || (i > 0 && column <= columns[i - 1]!))) {
    throw invalidArgument("select_cols should be strictly increasing indices");
  }
  const isMissing = (field: Uint8Array): boolean =>
    field.length === 0 || Buffer.compare(field, missing) === 0;

  return ([records, ...defaults]) => {
    defaults.forEach(({ data, shape }, f) => {
      if (shape.length > 1) {
        throw invalidArgument(`Each record default should be at most rank 1`);
      }
      if (data.length >= 2) {
        throw invalidArgument(`There should only be 1 default per field but field ${f} has ${data.length}`);
      }
    });
    const out = types.map((dtype) => newData(dtype, records!.shape) as (Uint8Array | number | bigint)[]);
    bytesOf(records!).forEach((record, r) => {
      const all = splitFields(record, delimiter[0]!, quotes);
      const fields = columns.length > 0 ? columns.flatMap((column) => all[column] ?? []) : all;
      if (fields.length !== types.length) {
        throw invalidArgument(`Expect ${types.length} fields but have ${fields.length} in record ${r}`);
      }
      fields.forEach((field, f) => {
        if (!isMissing(field)) {
          const value = parseField(types[f], field);
          if (value === undefined) {
            throw invalidArgument(
              `Field ${f} in record ${r} is not a valid ${types[f]}: ${decodeText(field)}`,
            );
          }
          out[f]![r] = value;
          return;
        }
        const fallback = defaults[f]!.data[0];
        if (fallback === undefined) {
          throw invalidArgument(`Field ${f} is required but missing in record ${r}!`);
        }
        out[f]![r] = fallback;
      });
    });
    return types.map((dtype, f) => makeTensor(dtype, records!.shape, out[f] as unknown as Tensor["data"]));
  };
}

/** DecodeCSV。 */
export const decodeCsvOps: readonly OpRow[] = [{ op: "DecodeCSV", host: ({ attrs }) => decodeCsv(attrs) }];
