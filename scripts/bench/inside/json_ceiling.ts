// 1,000 行の要求を JSON.parse し、その応答を JSON.stringify するだけの時間。
//   bun json_ceiling.ts 要求のファイル 応答のファイル → {"us": 1 件の µs(5 回の中央値)}
import { readFileSync } from "node:fs";
import { median } from "../numbers.ts";

const [requestFile, responseFile] = process.argv.slice(2);
const request = readFileSync(requestFile!, "utf8");
const response: unknown = JSON.parse(readFileSync(responseFile!, "utf8"));
const times: number[] = [];
let length = 0;
for (let round = 0; round < 6; round++) {
  const start = performance.now();
  for (let i = 0; i < 200; i++) {
    length +=
      (JSON.parse(request) as { instances: unknown[] }).instances.length + JSON.stringify(response).length;
  }
  times.push(((performance.now() - start) * 1000) / 200);
}
if (length === 0) throw new Error("nothing was read");
console.log(JSON.stringify({ us: median(times.slice(1)) }));
