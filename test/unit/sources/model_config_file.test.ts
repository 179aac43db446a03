import { describe, expect, test } from "bun:test";
import { invalidArgument } from "../../../src/base/status.ts";
import type { ModelServerConfig } from "../../../src/sources/model_config.ts";
import { pollModelConfigFile } from "../../../src/sources/model_config_file.ts";
import { FakeHost } from "../../helpers/fake_host.ts";

const config: ModelServerConfig = { kind: "list", models: [] };

describe("pollModelConfigFile()", () => {
  test("applies the file at once and then at every interval, changed or not", async () => {
    const host = new FakeHost();
    let applied = 0;
    const stop = pollModelConfigFile(
      host,
      1000,
      async () => config,
      async () => void applied++,
    );
    await host.clock.settle();
    expect(applied).toBe(1);
    await host.clock.advance(2000);
    expect(applied).toBe(3);
    stop();
    await host.clock.advance(5000);
    expect([applied, host.clock.pendingTimers]).toEqual([3, 0]);
  });

  test("does nothing without an interval", async () => {
    const host = new FakeHost();
    let read = 0;
    const stop = pollModelConfigFile(
      host,
      0,
      async () => {
        read++;
        return config;
      },
      async () => {},
    );
    await host.clock.advance(5000);
    stop();
    expect(read).toBe(0);
  });

  test("only logs failures and goes on", async () => {
    const host = new FakeHost();
    const failures = [
      () => Promise.reject(invalidArgument("Invalid protobuf file: 'f'")),
      () => Promise.resolve(config),
      () => Promise.resolve(config),
    ];
    let applied = 0;
    const stop = pollModelConfigFile(
      host,
      1000,
      () => failures.shift()!(),
      async () => {
        if (applied++ === 0) throw invalidArgument("Illegal to list model m multiple times in config list");
      },
    );
    await host.clock.advance(2000);
    stop();
    expect(applied).toBe(2);
    expect(host.lines).toEqual([
      "E Failed to read ModelServerConfig file: Invalid protobuf file: 'f'",
      "E PollFilesystemAndReloadConfig failed to ReloadConfig: Illegal to list model m multiple times in config list",
    ]);
  });

  test("goes on reading while a reload is still waiting", async () => {
    const host = new FakeHost();
    const gate = Promise.withResolvers<void>();
    let reads = 0;
    const stop = pollModelConfigFile(
      host,
      1000,
      async () => {
        reads++;
        return config;
      },
      () => gate.promise,
    );
    await host.clock.advance(10_000);
    expect(reads).toBe(11);
    stop();
    gate.reject(new Error("after the end nobody cares"));
    await host.clock.settle();
    expect(host.lines).toEqual([]);
  });
});
