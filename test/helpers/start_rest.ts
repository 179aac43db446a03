import { type Clock, systemClock } from "../../src/base/clock.ts";
import type { Host } from "../../src/base/host.ts";
import { silentLogger } from "../../src/base/log.ts";
import { Metrics } from "../../src/base/metrics.ts";
import { RestDoor, type RestDoorOptions } from "../../src/rest/rest_door.ts";
import { ModelService } from "../../src/service/model_service.ts";
import { PredictionService } from "../../src/service/prediction_service.ts";
import { FakeModels, type FakeServable, halfPlusTwo } from "./fake_models.ts";

export interface RestSetup extends AsyncDisposable {
  readonly host: Host;
  readonly models: FakeModels;
  readonly door: RestDoor;
  readonly port: number;
  /** `http://localhost:<port>` */
  readonly origin: string;
}

type Given = Partial<RestDoorOptions> & {
  readonly servables?: readonly FakeServable[];
  readonly clock?: Clock;
};

/** 手で書いたモデルを出す、本物のソケットの REST サーバー。番号は空いているもの。 */
export async function startRest({
  servables = [halfPlusTwo()],
  clock = systemClock,
  ...given
}: Given = {}): Promise<RestSetup> {
  const host: Host = { clock, log: silentLogger, metrics: new Metrics() };
  const models = new FakeModels(...servables);
  const door = new RestDoor(
    host,
    {
      prediction: new PredictionService(host, models, { methodNameCheck: false }),
      model: new ModelService(host, models),
    },
    {
      hostname: "127.0.0.1",
      port: 0,
      reusePort: false,
      cors: false,
      timeoutMs: 30_000,
      maxBodyBytes: 16 * 1024 * 1024,
      idleTimeoutSeconds: 0,
      ...given,
    },
  );
  const [address] = await door.start();
  const port = Number(address!.slice(address!.lastIndexOf(":") + 1));
  return {
    host,
    models,
    door,
    port,
    origin: `${given.tls === undefined ? "http" : "https"}://localhost:${port}`,
    [Symbol.asyncDispose]: () => door.stop(0),
  };
}
