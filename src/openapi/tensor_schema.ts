import type { TensorSpec, Verb } from "../page/signature.ts";
import type { Json } from "./document.ts";

type Schema = { readonly [key: string]: Json };

/** REST が受ける 1 つの値。小数には NaN と Infinity の語も書けるが、JSON の外なので書かない。 */
function elementSchema(dtype: string): Schema {
  if (dtype === "bool") return { type: "boolean" };
  if (dtype === "string") {
    const bytes: Schema = {
      type: "object",
      required: ["b64"],
      properties: { b64: { type: "string", contentEncoding: "base64" } },
      additionalProperties: false,
    };
    return { anyOf: [{ type: "string" }, bytes] };
  }
  return { type: /^u?int/.test(dtype) ? "integer" : "number" };
}

/** 次元の数だけ入れ子にした配列。階数が分からなければ、何でもよい。 */
function tensorSchema(dtype: string, shape: readonly number[] | undefined): Schema {
  if (shape === undefined) return {};
  return shape.reduceRight<Schema>(
    (items, size) => ({ type: "array", items, ...(size >= 0 ? { minItems: size, maxItems: size } : {}) }),
    elementSchema(dtype),
  );
}

function named(inputs: readonly TensorSpec[], schemaOf: (input: TensorSpec) => Schema): Schema {
  return {
    type: "object",
    properties: Object.fromEntries(inputs.map((input) => [input.alias, schemaOf(input)])),
    required: inputs.map(({ alias }) => alias),
  };
}

/** 入力が 1 つなら、名前を省ける。 */
function nameable(inputs: readonly TensorSpec[], schemaOf: (input: TensorSpec) => Schema): Schema {
  const object = named(inputs, schemaOf);
  return inputs.length === 1 ? { anyOf: [schemaOf(inputs[0]!), object] } : object;
}

/** `instances` の 1 行。 */
export function rowSchema(inputs: readonly TensorSpec[]): Schema {
  return nameable(inputs, ({ dtype, shape }) => tensorSchema(dtype, shape?.slice(1)));
}

/** `inputs` の値。 */
export function columnsSchema(inputs: readonly TensorSpec[]): Schema {
  return nameable(inputs, ({ dtype, shape }) => tensorSchema(dtype, shape));
}

/** 200 の答え。 */
export function outputsSchema(verb: Verb): Schema {
  if (verb !== "predict") {
    return { type: "object", required: ["results"], properties: { results: { type: "array" } } };
  }
  return {
    type: "object",
    oneOf: [{ required: ["predictions"] }, { required: ["outputs"] }],
    properties: { predictions: { type: "array" }, outputs: {} },
  };
}
