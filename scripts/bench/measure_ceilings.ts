// 天井との比。どの行も、同じ CPU に留めた 2 つのサーバーへ、交互に同じ負荷を掛ける。
import { h2load, type Load, wrk } from "./load.ts";
import type { Pace } from "./main.ts";
import { callRaw, flowers, PREDICT, predictFrame } from "./payloads.ts";
import { compare, interleave, type Pair, type Row } from "./rounds.ts";
import { pinned } from "./servers.ts";
import { checkIris, post, type Subject, startEchoes, startIris } from "./subjects.ts";

type Field = keyof Load;
const pick = ({ ours, theirs }: { ours: Load[]; theirs: Load[] }, field: Field): Pair => ({
  ours: ours.map((load) => load[field]),
  theirs: theirs.map((load) => load[field]),
});

export async function measureCeilings(work: string, { rounds, seconds }: Pace): Promise<Row[]> {
  const ours = await startIris();
  const one = predictFrame(flowers(1), false);
  const address = new URL((await ours.grpc(1, false)).origin).host;
  const echoes = await startEchoes(work, await callRaw(address, PREDICT, one));
  const [elysia, grpcJs] = echoes;
  const rest = (connections: number) => {
    const load = (of: Subject) => () => wrk(work, of.rest(1), connections, seconds);
    return interleave(rounds, load(ours), load(elysia));
  };
  const grpc = (connections: number, streams: number) => {
    const load = (of: Subject) => async () =>
      h2load(work, await of.grpc(1, false), connections, streams, seconds);
    return interleave(rounds, load(ours), load(grpcJs));
  };

  const rows: Row[] = [];
  const rest64 = await rest(64);
  rows.push(
    compare("REST predict, 1 row, 64 connections ÷ Elysia echo", "requests/s", pick(rest64, "perSecond"), {
      atLeast: 1,
    }),
  );
  const grpc100 = await grpc(10, 10);
  rows.push(
    compare("gRPC Predict, 1 row, 10 × 10 streams ÷ grpc-js echo", "requests/s", pick(grpc100, "perSecond"), {
      atLeast: 0.95,
    }),
  );
  rows.push(
    compare("REST lone request, p50 ÷ Elysia echo", "ms", pick(await rest(1), "p50"), { atMost: 1.1 }),
  );
  rows.push(
    compare("gRPC lone request, p50 ÷ grpc-js echo", "ms", pick(await grpc(1, 1), "p50"), { atMost: 1.1 }),
  );
  rows.push(compare("REST, 64 connections, p99 ÷ Elysia echo", "ms", pick(rest64, "p99"), { atMost: 1.5 }));
  rows.push(
    compare("gRPC, 64 connections, p99 ÷ grpc-js echo", "ms", pick(await grpc(64, 1), "p99"), {
      atMost: 1.5,
    }),
  );
  rows.push(...(await measureThousand(work, ours, rounds, seconds)));
  await checkIris(ours);
  for (const { server } of [ours, ...echoes]) await server.stop();
  return rows;
}

/** 1,000 行。REST は JSON を読み書きするだけの時間と、gRPC は REST と比べる。 */
async function measureThousand(work: string, ours: Subject, rounds: number, seconds: number): Promise<Row[]> {
  const ROWS = 1000;
  const [requestFile, responseFile] = [`${work}/request.json`, `${work}/response.json`];
  const target = ours.rest(ROWS);
  await Bun.write(requestFile, target.body);
  await Bun.write(responseFile, await post(target));
  const rest = () => wrk(work, target, 4, seconds);
  const against = await interleave(
    rounds,
    async () => 1e6 / (await rest()).perSecond,
    async () => (await pinned<{ us: number }>("json_ceiling.ts", [requestFile, responseFile])).us,
  );
  const packed = await ours.grpc(ROWS, true);
  const doors = await interleave(
    rounds,
    async () => (await h2load(work, packed, 4, 1, seconds)).perSecond * ROWS,
    async () => (await rest()).perSecond * ROWS,
  );
  return [
    compare("REST predict, 1,000 rows: request ÷ JSON.parse + JSON.stringify", "µs", against, {
      atMost: 0.7,
    }),
    compare("gRPC Predict, 1,000 rows in tensor_content ÷ REST", "rows/s", doors, { atLeast: 3 }),
  ];
}
