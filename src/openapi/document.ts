import type { Verb } from "../page/signature.ts";
import type { DescribedModel, DescribedSignature } from "./describe_models.ts";
import { columnsSchema, outputsSchema, rowSchema } from "./tensor_schema.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type Schema = { readonly [key: string]: Json };

/** 文書に書く、このサーバーのこと。 */
export interface ServerFacts {
  readonly version: string;
  /** API の鍵が要るか。 */
  readonly needsKey: boolean;
  readonly metricsPaths: readonly string[];
}

const ref = (name: string): Schema => ({ $ref: `#/components/${name}` });
const json = (schema: Schema, example?: unknown): Schema => ({
  "application/json": { schema, ...(example === undefined ? {} : { example: example as Json }) },
});

const errors: Readonly<Record<string, string>> = {
  "400": "The request, or a value in it, is not valid.",
  "404": "No such model, version, label or signature.",
  "412": "The request does not fit the state of the server.",
  "413": "The body is too large.",
  "429": "Too much work is waiting.",
  "500": "The model failed.",
  "501": "The model needs an operation that this server does not have.",
  "503": "The server is stopping, or cannot take more work.",
  "504": "The time limit passed.",
};

/** どの操作も返しうる失敗。 */
function failures(needsKey: boolean): Schema {
  const codes = Object.keys(errors).concat(needsKey ? ["401"] : []);
  return Object.fromEntries(codes.sort().map((code) => [code, ref(`responses/Error${code}`)]));
}

const components = (needsKey: boolean): Schema => ({
  schemas: {
    Error: { type: "object", required: ["error"], properties: { error: { type: "string" } } },
    ModelStatus: {
      type: "object",
      required: ["model_version_status"],
      properties: {
        model_version_status: {
          type: "array",
          items: {
            type: "object",
            required: ["version", "state", "status"],
            properties: {
              version: { type: "string", pattern: "^[0-9]+$" },
              state: { enum: ["UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END"] },
              status: {
                type: "object",
                properties: { error_code: { type: "string" }, error_message: { type: "string" } },
              },
            },
          },
        },
      },
    },
    ModelList: {
      type: "object",
      required: ["models"],
      properties: {
        models: {
          type: "array",
          items: {
            type: "object",
            required: ["name", "ready", "versions"],
            properties: {
              name: { type: "string" },
              ready: { type: "boolean" },
              versions: { type: "array", items: { type: "object" } },
            },
          },
        },
      },
    },
  },
  responses: Object.fromEntries(
    Object.entries({ ...errors, ...(needsKey ? { "401": "No valid API key." } : {}) }).map(
      ([code, description]) => [
        `Error${code}`,
        // HTTP の面そのものが断るときは、HTML の頁になる。
        {
          description,
          content: { ...json(ref("schemas/Error")), "text/html": { schema: { type: "string" } } },
        },
      ],
    ),
  ),
  ...(needsKey ? { securitySchemes: { key: { type: "http", scheme: "bearer" } } } : {}),
});

/** 1 つの動詞で呼べるシグネチャたちの、要求の形。 */
function requestSchema(verb: Verb, signatures: readonly DescribedSignature[]): Schema {
  const choices = signatures.map(({ signature: { key, inputs } }) => {
    const isDefault = key === "serving_default";
    const name = { signature_name: { const: key, type: "string" } };
    const properties: Schema =
      verb === "predict"
        ? {
            instances: { type: "array", minItems: 1, items: rowSchema(inputs) },
            inputs: columnsSchema(inputs),
          }
        : {
            examples: { type: "array", minItems: 1, items: { type: "object" } },
            context: { type: "object" },
          };
    return {
      title: key,
      type: "object",
      properties: { ...name, ...properties },
      required: [...(isDefault ? [] : ["signature_name"]), ...(verb === "predict" ? [] : ["examples"])],
      ...(verb === "predict" ? { oneOf: [{ required: ["instances"] }, { required: ["inputs"] }] } : {}),
    };
  });
  return choices.length === 1 ? choices[0]! : { anyOf: choices };
}

function inferenceOperation(
  model: DescribedModel,
  verb: Verb,
  signatures: readonly DescribedSignature[],
  suffix: string,
  { needsKey }: ServerFacts,
): Schema {
  const examples = Object.fromEntries(
    signatures.flatMap(({ signature: { key }, sample }) =>
      sample === undefined ? [] : [[key, { value: sample.body as Schema }]],
    ),
  );
  const first = signatures.find(({ answer }) => answer !== undefined);
  return {
    operationId: `${verb} ${model.name}${suffix}`,
    tags: [model.name],
    summary: `${verb} with ${signatures.map(({ signature }) => signature.key).join(", ")}`,
    requestBody: {
      required: true,
      content: { "application/json": { schema: requestSchema(verb, signatures), examples } },
    },
    responses: {
      "200": {
        description: "The answer of the model.",
        content: json(outputsSchema(verb), first?.answer),
      },
      ...failures(needsKey),
    },
  };
}

function modelPaths(model: DescribedModel, facts: ServerFacts): [string, Schema][] {
  const { name, versions, signatures } = model;
  const bases = [["", `/v1/models/${name}`]].concat(
    versions.map((version) => [` version ${version}`, `/v1/models/${name}/versions/${version}`]),
  ) as [string, string][];
  const get = (operationId: string, summary: string, schema: Schema): Schema => ({
    get: {
      operationId,
      tags: [name],
      summary,
      responses: { "200": { description: summary, content: json(schema) }, ...failures(facts.needsKey) },
    },
  });
  return bases.flatMap(([suffix, path]): [string, Schema][] => [
    [path, get(`status ${name}${suffix}`, "The states of the versions.", ref("schemas/ModelStatus"))],
    [`${path}/metadata`, get(`metadata ${name}${suffix}`, "The signatures.", { type: "object" })],
    ...(["predict", "classify", "regress"] as const).flatMap((verb): [string, Schema][] => {
      const own = signatures.filter(
        ({ signature, sample }) => signature.verb === verb && sample !== undefined,
      );
      if (own.length === 0) return [];
      return [[`${path}:${verb}`, { post: inferenceOperation(model, verb, own, suffix, facts) }]];
    }),
  ]);
}

function serverPaths({ metricsPaths, needsKey }: ServerFacts): [string, Schema][] {
  const text: Schema = { "text/plain": { schema: { type: "string" } } };
  const get = (operationId: string, summary: string, content: Schema, more: Schema = {}): Schema => ({
    get: {
      operationId,
      tags: ["server"],
      summary,
      responses: { "200": { description: summary, content }, ...failures(needsKey), ...more },
    },
  });
  const readiness = json({ type: "object", required: ["ready"], properties: { ready: { type: "boolean" } } });
  return [
    ["/v1/models", get("models", "The models.", json(ref("schemas/ModelList")))],
    ["/healthz", get("healthz", "The process is alive.", text)],
    [
      "/readyz",
      get("readyz", "Every configured model is available.", readiness, {
        "503": { description: "Something is missing; the body says what.", content: readiness },
      }),
    ],
    ...metricsPaths.map((path): [string, Schema] => [
      path,
      get(`metrics ${path}`, "Metrics in the Prometheus text format.", text),
    ]),
    ["/openapi.json", get("openapi", "This document.", json({ type: "object" }))],
  ];
}

/**
 * 提供中のモデルの OpenAPI の文書。
 *
 * @see https://spec.openapis.org/oas/v3.1.1.html
 */
export function createOpenApiDocument(models: readonly DescribedModel[], facts: ServerFacts): Json {
  return {
    openapi: "3.1.1",
    info: {
      title: "iris-serving",
      version: facts.version,
      description: "TensorFlow Serving's REST API, for the models that this server has now.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    ...(facts.needsKey ? { security: [{ key: [] }] } : {}),
    tags: [...models.map(({ name }) => ({ name })), { name: "server" }],
    paths: Object.fromEntries([
      ...models.flatMap((model) => modelPaths(model, facts)),
      ...serverPaths(facts),
    ]),
    components: components(facts.needsKey),
  };
}
