// REST の天井: 同じ本文を JSON として読み、同じ形の定数を返すだけの Elysia。
//   bun elysia_echo.ts PORT
import { Elysia } from "elysia";

const predictions = [[0.9885, 0.0115, 2.8e-7]];
new Elysia()
  .post("/v1/models/*", ({ body }) => {
    if (!Array.isArray((body as { instances: unknown }).instances)) throw new Error("no instances");
    return { predictions };
  })
  .get("/ready", () => "ok")
  .listen({ hostname: "127.0.0.1", port: Number(process.argv[2]) });
