import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { create, equals } from "@bufbuild/protobuf";
import { mutate } from "../../../scripts/fuzz/mutate.ts";
import { mutateMessage, wordsOf } from "../../../scripts/fuzz/mutate_message.ts";
import { Random } from "../../../scripts/fuzz/random.ts";
import { fuzz } from "../../../scripts/fuzz/run.ts";
import { createTargets, readCorpus } from "../../../scripts/fuzz/targets.ts";
import { internal, notFound } from "../../../src/base/status.ts";
import { TextProtoError } from "../../../src/base/text_proto.ts";
import { GraphDefSchema } from "../../../src/gen/tensorflow/core/framework/graph_pb.ts";

const indexes = (count: number) => Array.from({ length: count }, (_, i) => i);

test("壊したファイルは、どれも読めるか、はっきりしたエラーで終わる", async () => {
  const corpus = readCorpus(resolve(import.meta.dir, "../../.."), 12 * 1024);
  expect(corpus.bundles.length).toBeGreaterThan(3);
  expect(corpus.models.length).toBeGreaterThan(0);
  const { outcomes, findings } = await fuzz(createTargets(corpus), 7, indexes(400));
  expect(findings).toEqual([]);
  for (const [name, counts] of outcomes) {
    // どの的も、壊れたと気づく入力を含んでいる。
    expect([name, [...counts.keys()].some((outcome) => outcome !== "OK")]).toEqual([name, true]);
  }
});

test("fuzz() は想定外の終わり方を、再現できる番号とともに知らせる", async () => {
  const target = (name: string, error: unknown) => ({
    name,
    run: () => {
      throw error;
    },
  });
  const targets = [
    target("bug", new TypeError("oops")),
    target("hidden", internal("Internal error", new RangeError("deep"))),
    target("clear", notFound("x")),
    target("text", new TextProtoError(1, 2, "x")),
    { name: "fine", run: () => {} },
  ];
  const { outcomes, findings } = await fuzz(targets, 1, indexes(5));
  expect(findings.map(({ target: name, index }) => [name, index])).toEqual([
    ["bug", 0],
    ["hidden", 1],
  ]);
  expect(findings[0]!.problem).toContain("oops");
  expect(findings[1]!.problem).toContain("deep");
  expect(Object.fromEntries([...outcomes].map(([name, counts]) => [name, [...counts.keys()]]))).toEqual({
    bug: ["crash"],
    hidden: ["crash"],
    clear: ["NOT_FOUND"],
    text: ["TextProtoError"],
    fine: ["OK"],
  });
});

test("同じ種は同じ壊し方をし、元のファイルは変えない", () => {
  const original = Uint8Array.from({ length: 300 }, (_, i) => i);
  const copies = indexes(50).map((seed) => mutate(new Random(seed), original));
  expect(indexes(50).map((seed) => mutate(new Random(seed), original))).toEqual(copies);
  expect(original).toEqual(Uint8Array.from({ length: 300 }, (_, i) => i));
  expect(new Set(copies.map((bytes) => Buffer.from(bytes).toString("hex"))).size).toBeGreaterThan(40);
});

test("メッセージの壊し方は、形を保ち、名前を付け替える", () => {
  const init = {
    node: [
      { name: "a", op: "Placeholder" },
      { name: "b", op: "Relu", input: ["a"], attr: { T: { value: { case: "type" as const, value: 1 } } } },
    ],
  };
  const original = create(GraphDefSchema, init);
  expect(wordsOf(GraphDefSchema, original)).toEqual(expect.arrayContaining(["a", "b", "Relu", "T"]));
  const changed = indexes(100).map((seed) => {
    const graph = create(GraphDefSchema, init);
    mutateMessage(new Random(seed), GraphDefSchema, graph, ["a", "b"]);
    return graph;
  });
  const different = changed.filter((graph) => !equals(GraphDefSchema, graph, original));
  expect(different.length).toBeGreaterThan(60);
  expect(changed.some(({ node }) => node[1]?.input[0] === "b")).toBe(true);
});
