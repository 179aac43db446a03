import { describe, expect, test } from "bun:test";
import {
  BadVersion,
  isApiTarget,
  isWellFormedTarget,
  type ModelPath,
  parsePredictionPath,
  parseQueryPath,
} from "../../../src/rest/model_path.ts";

const escaped = "%21%23%24%25%26%27%28%29%2A%2B%2C%2F%3A%3B%3D%3F%40%5B%5D";
const plain = "!#$%&'()*+,/:;=?@[]";

describe("parseQueryPath()", () => {
  const rows: [string, ModelPath | undefined][] = [
    ["/v1/models", { spec: { name: "" }, word: "" }],
    ["/v1/models/", undefined],
    ["/v1/models/foo", { spec: { name: "foo" }, word: "" }],
    ["/v1/models/foo/", undefined],
    [`/v1/models/modelname${escaped}`, { spec: { name: `modelname${plain}` }, word: "" }],
    ["/v1/models/modelname/versions/99", { spec: { name: "modelname", version: 99n }, word: "" }],
    ["/v1/models/foo/versions/007", { spec: { name: "foo", version: 7n }, word: "" }],
    [
      "/v1/models/foo/versions/9223372036854775807",
      { spec: { name: "foo", version: 9223372036854775807n }, word: "" },
    ],
    ["/v1/models/foo/versions/abc", undefined],
    ["/v1/models/foo/versions/-1", undefined],
    ["/v1/models/foo/versions/", undefined],
    ["/v1/models/modelname/labels/latest", { spec: { name: "modelname", label: "latest" }, word: "" }],
    [
      `/v1/models/modelname/labels/latest${escaped}`,
      { spec: { name: "modelname", label: `latest${plain}` }, word: "" },
    ],
    ["/v1/models/foo/metadata", { spec: { name: "foo" }, word: "metadata" }],
    [
      "/v1/models/modelname/labels/latest/metadata",
      { spec: { name: "modelname", label: "latest" }, word: "metadata" },
    ],
    [
      `/v1/models/m${escaped}/labels/l${escaped}/metadata`,
      { spec: { name: `m${plain}`, label: `l${plain}` }, word: "metadata" },
    ],
    ["/v1/models/foo/versions/3/metadata", { spec: { name: "foo", version: 3n }, word: "metadata" }],
    ["/v1/models/foo/METADATA", { spec: { name: "foo" }, word: "METADATA" }],
    ["/V1/Models/Foo/Versions/3/metadata", { spec: { name: "Foo", version: 3n }, word: "metadata" }],
    ["/v1/models/metadata", { spec: { name: "metadata" }, word: "" }],
    ["/v1/models/versions/5", { spec: { name: "", version: 5n }, word: "" }],
    ["/v1/models/labels/x", { spec: { name: "", label: "x" }, word: "" }],
    ["/v1/models/versions", { spec: { name: "versions" }, word: "" }],
    ["/v1/models/foo?a=1", { spec: { name: "foo?a=1" }, word: "" }],
    ["/v1/models/foo#f", { spec: { name: "foo#f" }, word: "" }],
    ["/v1/models/foo/metadata?a=1", undefined],
    ["/v1/models/foo/versions/1?x=1", undefined],
    ["/v1/models/foo:predict", undefined],
    ["/v1/models/foo/versions/1/labels/x", undefined],
    ["/v1/models/debug/model_name", undefined],
    ["/v1/models/a%2Fb", { spec: { name: "a/b" }, word: "" }],
    ["/v1/models/a+b%zz%4", { spec: { name: "a+b%zz%4" }, word: "" }],
    ["/v1/models/%e3%81%82", { spec: { name: "あ" }, word: "" }],
    ["/v1/foo", undefined],
    ["/v1/", undefined],
  ];
  test.each(rows)("%s", (target, expected) => {
    expect(parseQueryPath(target)).toEqual(expected as never);
  });
});

describe("parsePredictionPath()", () => {
  const rows: [string, ModelPath | undefined][] = [
    ["/v1/models/foo:predict", { spec: { name: "foo" }, word: "predict" }],
    ["/v1/models/foo:classify", { spec: { name: "foo" }, word: "classify" }],
    ["/V1/MODELS/foo:REGRESS", { spec: { name: "foo" }, word: "REGRESS" }],
    [`/v1/models/modelname${escaped}:predict`, { spec: { name: `modelname${plain}` }, word: "predict" }],
    [
      "/v1/models/modelname/versions/99:predict",
      { spec: { name: "modelname", version: 99n }, word: "predict" },
    ],
    [
      "/v1/models/modelname/labels/latest:predict",
      { spec: { name: "modelname", label: "latest" }, word: "predict" },
    ],
    [
      `/v1/models/m${escaped}/labels/l${escaped}:predict`,
      { spec: { name: `m${plain}`, label: `l${plain}` }, word: "predict" },
    ],
    ["/v1/foo", undefined],
    ["/v1/models", undefined],
    ["/v1/models:predict", undefined],
    ["/v1/models/foo", undefined],
    ["/v1/models/foo:explain", undefined],
    ["/v1/models/foo:predict/", undefined],
    ["/v1/models/foo:predict?x=1", undefined],
    ["/v1/models/foo/metadata", undefined],
    ["/v1/models/foo/version/50:predict", undefined],
    ["/v1/models/foo/versions/string:predict", undefined],
    ["/v1/models/foo/label/some_label:regress", undefined],
    ["/v1/models/foo/versions/50/labels/some_label:regress", undefined],
  ];
  test.each(rows)("%s", (target, expected) => {
    expect(parsePredictionPath(target)).toEqual(expected as never);
  });
});

test.each([parseQueryPath, parsePredictionPath])("%p refuses versions beyond int64", (parse) => {
  const tail = parse === parseQueryPath ? "" : ":predict";
  const error = (() => {
    try {
      return parse(`/v1/models/foo/versions/18446744073709551615${tail}`);
    } catch (thrown) {
      return thrown;
    }
  })();
  expect(error).toBeInstanceOf(BadVersion);
  expect(String(error)).toBe("INVALID_ARGUMENT: Failed to convert version: 18446744073709551615 to numeric.");
});

test.each([
  ["/v1/models", true],
  ["/V1/x", true],
  ["/v1/", true],
  ["/v1", false],
  ["/statuspage", false],
  ["/index", false],
  ["/", false],
  ["/v2/models", false],
  ["//v1/models", false],
])("isApiTarget(%s) is %p", (target, expected) => {
  expect(isApiTarget(target)).toBe(expected);
});

test.each([
  ["/v1/models/a:predict", true],
  ["/v1/a%2Fb?x=1&y=/?#f", true],
  ["/v1/[x]", false],
  ["/v1/a%zz", false],
  ["/v1/a%4", false],
  ["/v1/a#b#c", false],
])("isWellFormedTarget(%s) is %p", (target, expected) => {
  expect(isWellFormedTarget(target)).toBe(expected);
});
