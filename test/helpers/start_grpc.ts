import { systemClock } from "../../src/base/clock.ts";
import type { Host } from "../../src/base/host.ts";
import { silentLogger } from "../../src/base/log.ts";
import { Metrics } from "../../src/base/metrics.ts";
import { parseChannelArguments } from "../../src/grpc/channel_arguments.ts";
import { GrpcDoor, type GrpcDoorOptions } from "../../src/grpc/grpc_door.ts";
import { Health } from "../../src/service/health.ts";
import { ModelService } from "../../src/service/model_service.ts";
import { PredictionService } from "../../src/service/prediction_service.ts";
import { FakeModels, type FakeServable, halfPlusTwo } from "./fake_models.ts";

export interface GrpcSetup extends AsyncDisposable {
  readonly host: Host;
  readonly models: FakeModels;
  readonly health: Health;
  readonly door: GrpcDoor;
  /** 客がつなぐ先。待ち受けの順。 */
  readonly targets: readonly string[];
}

type Given = Partial<Omit<GrpcDoorOptions, "channelArguments">> & {
  readonly servables?: readonly FakeServable[];
  readonly channelArguments?: string;
};

/** 手で書いたモデルを出す、本物のソケットの gRPC サーバー。番号は空いているもの。 */
export async function startGrpc({
  servables = [halfPlusTwo()],
  channelArguments = "",
  ...given
}: Given = {}) {
  const host: Host = { clock: systemClock, log: silentLogger, metrics: new Metrics() };
  const models = new FakeModels(...servables);
  const health = new Health();
  health.setServing(true);
  const door = new GrpcDoor(
    host,
    {
      prediction: new PredictionService(host, models, { methodNameCheck: false }),
      model: new ModelService(host, models),
      health,
    },
    {
      addresses: [{ host: "127.0.0.1", port: 0, reusePort: false }],
      healthCheck: true,
      tensorContent: false,
      channelArguments: parseChannelArguments(channelArguments),
      ...given,
    },
  );
  const targets = (await door.start()).map((target) => target.replace("127.0.0.1", "localhost"));
  return {
    host,
    models,
    health,
    door,
    targets,
    [Symbol.asyncDispose]: () => door.stop(0),
  } satisfies GrpcSetup;
}
