import { decodeCsvOps } from "../../../../src/graph/ops/decode_csv.ts";
import { regexOps } from "../../../../src/graph/ops/regex.ts";
import { stringFormatOps } from "../../../../src/graph/ops/string_format.ts";
import { stringHashOps } from "../../../../src/graph/ops/string_hash.ts";
import { stringOps } from "../../../../src/graph/ops/strings.ts";
import { unicodeOps } from "../../../../src/graph/ops/unicode.ts";
import { unicodeScriptOps } from "../../../../src/graph/ops/unicode_script.ts";
import csv from "../../../fixtures/ops/csv.json";
import strings from "../../../fixtures/ops/strings.json";
import { describeOps } from "../../../helpers/op_cases.ts";

describeOps(
  "strings",
  [...stringOps, ...stringFormatOps, ...stringHashOps, ...regexOps, ...unicodeOps, ...unicodeScriptOps],
  strings,
);
describeOps("csv", decodeCsvOps, csv);
