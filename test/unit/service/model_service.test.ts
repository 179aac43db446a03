import { expect, test } from "bun:test";
import { failedPrecondition, unavailable } from "../../../src/base/status.ts";
import { ModelService } from "../../../src/service/model_service.ts";
import type { ModelServerConfig } from "../../../src/sources/model_config.ts";
import { FakeHost } from "../../helpers/fake_host.ts";
import { FakeModels, halfPlusTwo } from "../../helpers/fake_models.ts";

function setup() {
  const host = new FakeHost();
  const models = new FakeModels(halfPlusTwo("m", 1n), halfPlusTwo("m", 3n));
  models.states.push({ id: { name: "m", version: 2n }, state: "END", error: unavailable("no") });
  return { host, models, service: new ModelService(host, models) };
}

const list: ModelServerConfig = {
  kind: "list",
  models: [
    {
      name: "m",
      basePath: "/models/m",
      modelType: 0,
      modelPlatform: "tensorflow",
      versionPolicy: { kind: "all" },
      versionLabels: new Map(),
    },
  ],
};

test.each([
  ["every version, highest first", { name: "m" }, [3n, 2n, 1n]],
  ["every version although a label is given", { name: "m", label: "nope" }, [3n, 2n, 1n]],
  ["one version", { name: "m", version: 2n }, [2n]],
])("getModelStatus() gives %s", async (_, spec, versions) => {
  const { service } = setup();
  expect((await service.getModelStatus(spec)).map(({ id }) => id.version)).toEqual(versions);
});

test.each([
  ["no spec", undefined, "Missing ModelSpec"],
  ["unknown version", { name: "m", version: 0n }, "Could not find version 0 of model m"],
  ["unknown model", { name: "n" }, "Could not find any versions of model n"],
  ["empty name", { name: "" }, "Could not find any versions of model "],
])("getModelStatus() refuses %s", (_, spec, message) => {
  expect(() => setup().service.getModelStatus(spec)).toThrow(message);
});

test("reloadConfig() hands the list on and tells how the asked metrics grew", async () => {
  const { host, models, service } = setup();
  const counter = host.metrics.counter({ name: "/a", help: "", labels: ["x"] });
  counter.cell("first").inc(5);
  counter.cell("second").inc(100);
  host.metrics.histogram({ name: "/h", help: "", labels: [] }, [1]).cell().observe(3);
  const given: ModelServerConfig[] = [];
  models.reload = async (config) => {
    given.push(config);
    counter.cell("first").inc(2);
    counter.cell("second").inc(50);
  };
  const increases = await service.reloadConfig(list, ["/a", "/h", "/nope", "/a"]);
  expect([...increases]).toEqual([
    ["/a", 2],
    ["/h", 0],
    ["/nope", 0],
  ]);
  expect(given).toEqual([list]);
  expect(host.linesWith("config entry")).toHaveLength(1);
});

test.each([[{ kind: "none" } as const], [{ kind: "custom" } as const]])(
  "reloadConfig() refuses %j",
  async (config) => {
    const { models, service } = setup();
    models.reload = () => Promise.reject(new Error("never called"));
    expect(service.reloadConfig(config, [])).rejects.toThrow(
      "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported",
    );
  },
);

test("reloadConfig() passes the failure on", async () => {
  const { models, service } = setup();
  models.reload = () => Promise.reject(failedPrecondition("labels"));
  expect(service.reloadConfig(list, ["/a"])).rejects.toThrow("labels");
});
