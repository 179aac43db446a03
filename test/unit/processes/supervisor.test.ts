import { expect, test } from "bun:test";
import { notFound } from "../../../src/base/status.ts";
import type { ServableState } from "../../../src/core/servable_state.ts";
import type { FromWorker, ToWorker } from "../../../src/processes/message.ts";
import { type Exit, Supervisor } from "../../../src/processes/supervisor.ts";
import { WorkerLink } from "../../../src/processes/worker_link.ts";
import type { ModelServerConfig } from "../../../src/sources/model_config.ts";
import { FakeHost } from "../../helpers/fake_host.ts";

/** プロセスの代わり。知らせは、本物と同じように写して届ける。 */
class FakeWorker {
  readonly link: WorkerLink;
  readonly exit = Promise.withResolvers<Exit>();
  readonly reloads: ModelServerConfig[] = [];
  states: readonly ServableState[] = [];
  wasKilled = false;
  isDeaf = false;
  welcome: ModelServerConfig | undefined;

  constructor(
    readonly index: number,
    onMessage: (message: FromWorker) => void,
  ) {
    this.link = new WorkerLink((message) => onMessage(structuredClone(message)));
  }

  async join(): Promise<void> {
    this.welcome = await this.link.join();
  }

  ready(): void {
    this.link.ready({
      statuses: () => {
        if (this.states.length === 0) throw notFound("Could not find any versions of model m");
        return this.states;
      },
      reloadConfig: async (config) => void this.reloads.push(config),
      metrics: () => [
        {
          name: "n",
          help: "",
          labels: [],
          kind: "counter",
          limits: [],
          cells: [{ labelValues: [], value: 1 + this.index }],
        },
      ],
    });
  }

  receive(message: ToWorker): void {
    if (!this.isDeaf) this.link.receive(structuredClone(message));
  }
}

function setup(count: number) {
  const host = new FakeHost();
  const workers: FakeWorker[] = [];
  const supervisor = new Supervisor(host, count, (index, onMessage) => {
    const worker = new FakeWorker(index, onMessage);
    workers.push(worker);
    return {
      pid: 100 + workers.length,
      send: (message) => worker.receive(message),
      kill: () => {
        worker.wasKilled = true;
        worker.exit.resolve({ code: null, signal: "SIGKILL" });
      },
      exited: worker.exit.promise,
    };
  });
  return { host, workers, supervisor };
}

async function started(count: number) {
  const all = setup(count);
  const start = all.supervisor.start();
  await all.workers[0]!.join();
  all.workers[0]!.ready();
  expect(await start).toBeUndefined();
  for (const worker of all.workers.slice(1)) {
    await worker.join();
    worker.ready();
  }
  return all;
}

const config: ModelServerConfig = { kind: "list", models: [] };
const available = (version: bigint): ServableState => ({ id: { name: "m", version }, state: "AVAILABLE" });

test("the others are raised when the first one serves", async () => {
  const { supervisor, workers } = setup(3);
  const start = supervisor.start();
  expect(workers).toHaveLength(1);
  workers[0]!.ready();
  expect(await start).toBeUndefined();
  expect(workers.map(({ index }) => index)).toEqual([0, 1, 2]);
});

test("a first worker that cannot start ends the start, and is not replaced", async () => {
  const { host, supervisor, workers } = setup(2);
  const start = supervisor.start();
  workers[0]!.exit.resolve({ code: 255, signal: null });
  expect(await start).toEqual({ code: 255, signal: null });
  await host.clock.advance(60_000);
  expect(workers).toHaveLength(1);
});

test("a dead worker is replaced, later and later when it dies young", async () => {
  const { host, workers } = await started(2);
  for (const pauseMs of [100, 200, 400]) {
    const before = workers.length;
    workers.at(-1)!.exit.resolve({ code: null, signal: "SIGKILL" });
    await host.clock.advance(pauseMs - 1);
    expect(workers).toHaveLength(before);
    await host.clock.advance(1);
    expect(workers).toHaveLength(before + 1);
    expect(workers.at(-1)!.index).toBe(1);
  }
  await host.clock.advance(10_000);
  const before = workers.length;
  workers.at(-1)!.exit.resolve({ code: 1, signal: null });
  await host.clock.advance(0);
  expect(workers).toHaveLength(before + 1);
});

test("status speaks for all, and NOT_FOUND only when nobody knows", async () => {
  const { workers } = await started(2);
  const [a, b] = [workers[0]!, workers[1]!];
  expect(a.link.statuses("m", undefined)).rejects.toThrow("Could not find any versions of model m");
  a.states = [available(1n)];
  b.states = [{ ...available(1n), state: "END", error: notFound("gone") }];
  const [state] = await b.link.statuses("m", undefined);
  expect(state).toMatchObject({ id: { name: "m", version: 1n }, state: "END" });
  expect(String(state!.error)).toBe("NOT_FOUND: gone");
});

test("metrics are those of all, and of the supervisor", async () => {
  const { workers } = await started(3);
  const families = await workers[1]!.link.metrics();
  const readMetric = (name: string) => families.find((family) => family.name === name)?.cells[0]?.value;
  expect(readMetric("n")).toBe(1 + 2 + 3);
  expect(readMetric(":iris_serving:processes")).toBe(3);
  expect(readMetric(":iris_serving:process_restarts_total")).toBe(0);
});

test("a reload reaches all, and those that come later", async () => {
  const { host, workers } = await started(2);
  await workers[1]!.link.reloadConfig(config);
  expect(workers.map(({ reloads }) => reloads)).toEqual([[config], [config]]);
  workers[0]!.exit.resolve({ code: 1, signal: null });
  await host.clock.advance(100);
  const late = workers[2]!;
  await late.join();
  expect(late.welcome).toEqual(config);
  const newer: ModelServerConfig = { kind: "none" };
  await workers[1]!.link.reloadConfig(newer);
  late.ready();
  await host.clock.settle();
  expect(late.reloads).toEqual([newer]);
});

test("a worker that dies or does not answer is left out", async () => {
  const { host, workers } = await started(3);
  const [a, b, c] = [workers[0]!, workers[1]!, workers[2]!];
  for (const worker of workers) worker.states = [available(1n)];
  b.isDeaf = true;
  c.isDeaf = true;
  const asked = a.link.statuses("m", 1n);
  await host.clock.settle();
  c.exit.resolve({ code: 1, signal: null });
  await host.clock.advance(5_000);
  expect((await asked).map(({ state }) => state)).toEqual(["AVAILABLE"]);
});

test("a failed reload is told", async () => {
  const { workers } = await started(2);
  workers[0]!.link.ready({
    statuses: () => [],
    reloadConfig: () => Promise.reject(notFound("no such path")),
    metrics: () => [],
  });
  expect(workers[1]!.link.reloadConfig(config)).rejects.toThrow("no such path");
});

test("stop() drains all and tells whether all ended well", async () => {
  for (const [code, clean] of [
    [0, true],
    [1, false],
  ] as const) {
    const { supervisor, workers } = await started(2);
    const stopped = supervisor.stop(1000);
    for (const worker of workers) {
      await worker.link.drained;
      worker.exit.resolve({ code, signal: null });
    }
    expect(await stopped).toBe(clean);
    expect(workers).toHaveLength(2);
  }
});

test("stop() ends a worker that does not drain", async () => {
  const { host, supervisor, workers } = await started(2);
  const stopped = supervisor.stop(1000);
  workers[0]!.exit.resolve({ code: 0, signal: null });
  await host.clock.advance(6_000);
  expect(await stopped).toBe(false);
  expect(workers.map(({ wasKilled }) => wasKilled)).toEqual([false, true]);
});

test("a worker without its supervisor drains", async () => {
  const link = new WorkerLink(() => {});
  link.disconnected();
  await link.drained;
});
