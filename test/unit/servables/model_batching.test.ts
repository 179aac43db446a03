import { describe, expect, test } from "bun:test";
import { BatchScheduler } from "../../../src/batching/batch_scheduler.ts";
import { toBatchingParameters } from "../../../src/batching/batching_parameters.ts";
import { QueuedBatching } from "../../../src/batching/batching_run.ts";
import { TurnBatching } from "../../../src/batching/turn_batching.ts";
import { createModelBatching, type QueueSettings } from "../../../src/servables/model_batching.ts";
import { FakeHost } from "../../helpers/fake_host.ts";
import { FakeRun } from "../../helpers/fake_run.ts";

const opened = {
  signatures: new Map(),
  prepare: () => new FakeRun(),
  stateful: false,
  sha256: "",
  dispose() {},
};
const { queue } = toBatchingParameters(undefined, 1);

async function choose(settings: Partial<QueueSettings> | undefined, model = opened) {
  const host = new FakeHost();
  const scheduler = new BatchScheduler(host, 1);
  const coat = createModelBatching(
    host,
    settings === undefined ? undefined : { scheduler, queue, ...settings },
  );
  return { host, batching: await coat("/m/1", model) };
}

describe("createModelBatching()", () => {
  test("merges within a turn by default", async () => {
    expect((await choose(undefined)).batching).toBeInstanceOf(TurnBatching);
  });

  test("leaves a model alone that counts its calls, unless told to batch", async () => {
    const counter = { ...opened, stateful: true };
    expect((await choose(undefined, counter)).batching.prepare).toBe(opened.prepare);
    expect((await choose({}, counter)).batching).toBeInstanceOf(QueuedBatching);
  });

  test("queues when told to, and says so", async () => {
    const { host, batching } = await choose({});
    expect(batching).toBeInstanceOf(QueuedBatching);
    expect(host.lines).toEqual(["I Wrapping session to perform batch processing"]);
  });

  test("reads the model's own parameters", async () => {
    let read = "";
    const { batching } = await choose({
      readPerModel: async (path) => {
        read = path;
        return queue;
      },
    });
    expect(batching).toBeInstanceOf(QueuedBatching);
    expect(read).toBe("/m/1/batching_params.pbtxt");
  });

  test("does not batch a model without its own parameters", async () => {
    const { batching } = await choose({ readPerModel: async () => undefined });
    expect(batching.prepare).toBe(opened.prepare);
    batching.close();
  });
});
