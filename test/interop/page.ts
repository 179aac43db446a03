// 実行ファイルの頁を、本物のブラウザーで動かす。
//   bun test/interop/page.ts BINARY CHROMIUM [PYTHON] [--grpcurl=PATH] [--screenshots=DIR]
// PYTHON は TensorFlow の入ったもの。PYTHON と grpcurl があれば、写したものを走らせる。最後の行は「N passed, N failed」。
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import axe from "axe-core";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { freePort } from "../../scripts/load/tools.ts";

const { positionals, values: flags } = parseArgs({
  allowPositionals: true,
  options: { screenshots: { type: "string" }, grpcurl: { type: "string" } },
});
const [binary, executablePath, python] = positionals;
if (binary === undefined || executablePath === undefined) {
  throw new Error("usage: bun test/interop/page.ts BINARY CHROMIUM [PYTHON] [--screenshots=DIR]");
}

const root = join(import.meta.dir, "..", "..");
const zoo = join(root, "test", "fixtures", "zoo");
const names = readdirSync(zoo)
  .filter((name) => existsSync(join(zoo, name, "1")))
  .sort();
const work = mkdtempSync(join(tmpdir(), "iris-serving-page-"));

let passed = 0;
let failed = 0;

async function check(name: string, body: () => Promise<void>): Promise<void> {
  try {
    await body();
    passed++;
    console.log(`ok   ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAIL ${name}: ${error instanceof Error ? error.stack : error}`);
  }
}

function equal(actual: unknown, expected: unknown, what = "value"): void {
  if (!Bun.deepEquals(actual, expected)) {
    throw new Error(`${what}: expected ${Bun.inspect(expected)}, got ${Bun.inspect(actual)}`);
  }
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await Bun.sleep(25);
  }
}

interface Server extends AsyncDisposable {
  readonly origin: string;
}

async function serve(...args: string[]): Promise<Server> {
  const [port, freeRestPort] = [await freePort(), await freePort()];
  // 同じ旗は後のものが勝つので、番号を決めて立て直すこともできる。
  const given = args.find((arg) => arg.startsWith("--rest_api_port="))?.split("=")[1];
  const restPort = given ?? String(freeRestPort);
  const child = Bun.spawn(
    [binary!, `--port=${port}`, `--rest_api_port=${restPort}`, "--log_level=silent", ...args],
    {
      cwd: work,
      stdio: ["ignore", "ignore", "inherit"],
    },
  );
  const origin = `http://127.0.0.1:${restPort}`;
  await until("the server starts", () =>
    fetch(`${origin}/v1/models`).then(
      (reply) => reply.ok || reply.status === 401,
      () => {
        if (child.exitCode !== null) throw new Error(`the server exited with ${child.exitCode}`);
        return false;
      },
    ),
  );
  return {
    origin,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await child.exited;
    },
  };
}

const browser: Browser = await chromium.launch({
  executablePath,
  args: [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
  ],
});

interface Visit extends AsyncDisposable {
  readonly page: Page;
  /** ブラウザーの不満。失敗した要求についてのものは `refused` に分ける。 */
  readonly complaints: string[];
  readonly refused: string[];
  /** この機械の外へ出ようとした要求。 */
  readonly strangers: string[];
}

async function visit(origin: string, options: BrowserContextOptions = {}): Promise<Visit> {
  const context = await browser.newContext({
    locale: "en-US",
    colorScheme: "light",
    viewport: { width: 1240, height: 900 },
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const complaints: string[] = [];
  const refused: string[] = [];
  const strangers: string[] = [];
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    (/^Failed to load resource/.test(message.text()) ? refused : complaints).push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    const { protocol, origin: to } = new URL(request.url());
    if (protocol !== "data:" && to !== origin) strangers.push(request.url());
  });
  await page.goto(`${origin}/`);
  await page.locator("#model-rows tr, #no-models:not([hidden])").first().waitFor();
  return { page, complaints, refused, strangers, [Symbol.asyncDispose]: () => context.close() };
}

const textOf = async (page: Page, selector: string): Promise<string> =>
  (await page.locator(selector).textContent())?.trim() ?? "";
const widthOf = (page: Page): Promise<number[]> =>
  page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]");

/** 3 本の棒の長さ(%)。 */
const bars = (page: Page): Promise<number[]> =>
  page.evaluate(
    `[...document.querySelectorAll("#bars .fill")].map((bar) => Number.parseFloat(bar.style.width))`,
  );

async function predict(origin: string, instances: number[][]): Promise<number[][]> {
  const reply = await fetch(`${origin}/v1/models/iris:predict`, {
    method: "POST",
    body: JSON.stringify({ instances }),
  });
  return ((await reply.json()) as { predictions: number[][] }).predictions;
}

/** axe の「深刻」以上の指摘。 */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const found: { id: string; impact: string; nodes: { html: string; failureSummary: string }[] }[] =
    await page.evaluate("axe.run().then(({ violations }) => violations)");
  return found
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`));
}

async function ready(page: Page): Promise<void> {
  await page.locator("#iris").waitFor({ state: "visible" });
  await until("the verdict", async () => (await textOf(page, "#verdict")) !== "");
  await until("the map", async () => (await page.locator("#plane .region").count()) > 0);
}

/** 送り、応答が出るまで待つ。 */
async function send(page: Page): Promise<void> {
  await page.locator("#send").click();
  await page.locator("#status.ok, #status.failed").waitFor();
}

async function checkIris(origin: string): Promise<void> {
  await using visited = await visit(origin);
  const { page } = visited;
  await check("sliders change the bars, to what the model says", async () => {
    await ready(page);
    const before = await bars(page);
    await page.locator("#petal_length").fill("1.5");
    await page.locator("#petal_width").fill("0.2");
    const [expected] = await predict(origin, [[5.9, 2.8, 1.5, 0.2]]);
    const percents = expected!.map((value) => Number((value * 100).toFixed(2)));
    await until("the bars", async () => Bun.deepEquals(await bars(page), percents));
    if (Bun.deepEquals(before, percents)) throw new Error("the bars did not move");
    equal((await textOf(page, "#verdict")).startsWith("Setosa, "), true, "verdict");
  });

  await check("the sliders have the ranges of the data", async () => {
    const ranges = await page.evaluate(
      `[...document.querySelectorAll("#sliders input")].map(({ min, max }) => [min, max].join(".."))`,
    );
    equal(ranges, ["4.3..7.9", "2..4.4", "1..6.9", "0.1..2.5"]);
  });

  await check("a sepal slider redraws the regions with one request", async () => {
    const sizes: number[] = [];
    page.on("request", (request) => {
      if (request.method() === "POST") sizes.push(request.postDataJSON().instances.length);
    });
    const pixels = () => page.evaluate(`document.getElementById("regions").toDataURL()`);
    const before = await pixels();
    await page.locator("#sepal_width").fill("4.2");
    await until("the map is redrawn", async () => (await pixels()) !== before);
    equal(sizes.filter((size) => size > 1000).length, 1, "large requests");
    equal(sizes.filter((size) => size === 1).length, 1, "small requests");
  });

  await check("the ring can be dragged", async () => {
    const box = (await page.locator("#plane").boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.9, box.y + box.height * 0.15);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.85, box.y + box.height * 0.2, { steps: 4 });
    await page.mouse.up();
    await until("virginica", async () => (await textOf(page, "#verdict")).startsWith("Virginica"));
    if (Number(await page.locator("#petal_length").inputValue()) < 5) throw new Error("the slider stayed");
  });

  await check("the typical flowers are recognised", async () => {
    for (const name of ["Setosa", "Versicolor", "Virginica"]) {
      await page.locator("#presets").getByRole("button", { name }).click();
      await until(name, async () => (await textOf(page, "#verdict")).startsWith(name));
    }
  });

  await check("rate and latency are live", async () => {
    await until("a latency", async () => {
      await page.locator("#petal_length").fill(String(2 + Math.random()));
      return /^\d+\.\d+ ms$/.test(await textOf(page, "#p50"));
    });
    await until("a rate", async () => Number(await textOf(page, "#request-rate")) > 0);
    await until("a trace", async () => (await page.locator("#sparkline .trace").count()) === 1);
  });

  await check("the sample is the flower of the sliders, and the answer is the server's", async () => {
    await page.locator("#presets").getByRole("button", { name: "Setosa" }).click();
    const text = await page.locator("#editor").inputValue();
    equal(JSON.parse(text), { instances: [[5, 3.4, 1.5, 0.2]] });
    await send(page);
    equal((await textOf(page, "#status")).startsWith("200 in "), true, "status");
    equal(JSON.parse(await textOf(page, "#answer")), {
      predictions: await predict(origin, [[5, 3.4, 1.5, 0.2]]),
    });
  });

  await check("a broken request shows the server's words", async () => {
    await page.locator("#editor").fill('{"instances": [[1]]}');
    await page.locator("#send").click();
    await page.locator("#status.failed").waitFor();
    equal((await textOf(page, "#status")).startsWith("400 in "), true, "status");
    equal((await textOf(page, "#answer")).length > 20, true, "the error text");
    await page.locator("#restore").click();
    equal(await textOf(page, "#status"), "");
  });

  await check("nothing but the refused request was complained about, and nothing left the host", async () => {
    equal(visited.complaints, [], "complaints");
    equal(visited.refused.length, 1, "refused requests");
    equal(visited.strangers, [], "requests to others");
  });
}

async function checkSnippets(origin: string): Promise<void> {
  await using visited = await visit(origin);
  const { page } = visited;
  await ready(page);
  const interpreters: Record<string, readonly string[]> = {
    curl: ["sh"],
    typescript: [process.execPath, "run"],
    ...(flags.grpcurl === undefined ? {} : { grpcurl: ["sh"] }),
    ...(python === undefined ? {} : { python: [python], python_grpc: [python] }),
  };
  for (const signature of ["serving_default", "classify"]) {
    await page.locator("#pick-signature").selectOption(signature);
    await send(page);
    for (const [kind, command] of Object.entries(interpreters)) {
      await check(`the copied ${kind} of ${signature} runs as it stands`, async () => {
        await page.locator(`#tab-${kind}`).click();
        const file = join(work, `snippet_${kind}.${kind === "typescript" ? "ts" : "txt"}`);
        const snippet = (await page.locator("#snippet").textContent()) ?? "";
        writeFileSync(file, snippet.replace(/^grpcurl /, `${flags.grpcurl} `));
        const child = Bun.spawn([...command, file], {
          env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: "3", CUDA_VISIBLE_DEVICES: "" },
          stdio: ["ignore", "pipe", "pipe"],
        });
        const [output, complaint] = await Promise.all([
          new Response(child.stdout).text(),
          new Response(child.stderr).text(),
        ]);
        equal(await child.exited, 0, complaint);
        if (!/predictions|outputs|results|result/.test(output))
          throw new Error(`unexpected output: ${output}`);
      });
    }
  }
}

async function checkAppearance(origin: string): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    for (const locale of ["en-US", "ja-JP"]) {
      await check(`${colorScheme}, ${locale}: follows the browser, axe finds nothing serious`, async () => {
        await using visited = await visit(origin, { colorScheme, locale });
        const { page } = visited;
        await ready(page);
        await send(page);
        equal(await page.evaluate("document.documentElement.lang"), locale.slice(0, 2));
        equal(await textOf(page, "#call-title"), locale === "ja-JP" ? "モデルを呼ぶ" : "Call a model");
        const background: string = await page.evaluate("getComputedStyle(document.body).backgroundColor");
        equal(Number(background.match(/\d+/)![0]) < 128, colorScheme === "dark", background);
        equal(await violations(page), []);
        equal([...visited.complaints, ...visited.refused, ...visited.strangers], []);
      });
    }
  }

  await check("language and theme can be switched, and are remembered", async () => {
    await using visited = await visit(origin);
    const { page } = visited;
    await ready(page);
    await page.locator("#language").click();
    await page.locator("#theme").click();
    await page.reload();
    await ready(page);
    equal(await page.evaluate("document.documentElement.lang"), "ja");
    equal(await page.evaluate("document.documentElement.dataset.theme"), "dark");
    equal(await textOf(page, "#models-title"), "モデル");
    equal(await textOf(page, "#language"), "English");
    equal((await textOf(page, "#verdict")).includes("確かさ"), true, "verdict");
    const blank = await page.evaluate(
      `[...document.querySelectorAll("[data-word]")].filter((one) => one.textContent === "").length`,
    );
    equal(blank, 0, "words without text");
    equal([...visited.complaints, ...visited.refused], []);
  });

  for (const locale of ["en-US", "ja-JP"]) {
    await check(`phone width, ${locale}: nothing scrolls sideways, axe finds nothing serious`, async () => {
      await using visited = await visit(origin, {
        locale,
        viewport: { width: 390, height: 844 },
        isMobile: true,
        hasTouch: true,
      });
      const { page } = visited;
      await ready(page);
      const [scroll, client] = await widthOf(page);
      equal(scroll, client, "width");
      equal(client, 390, "width of the window");
      equal(await violations(page), []);
    });
  }
}

async function checkDocs(origin: string): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    await check(`/docs in ${colorScheme} shows the operations, and nothing is complained about`, async () => {
      const context = await browser.newContext({ locale: "en-US", colorScheme });
      const page = await context.newPage();
      const complaints: string[] = [];
      page.on("console", (message) => {
        if (message.type() === "error") complaints.push(message.text());
      });
      page.on("pageerror", (error) => complaints.push(String(error)));
      await page.goto(`${origin}/docs`);
      await page.getByText("/v1/models/iris:predict").first().waitFor();
      const background: string = await page.evaluate(
        "getComputedStyle(document.documentElement).backgroundColor",
      );
      equal(
        Number(background.match(/\d+/)![0]) < 128 && !background.endsWith(", 0)"),
        colorScheme === "dark",
      );
      equal(complaints, []);
      await context.close();
    });
  }
}

async function checkKeyboard(origin: string): Promise<void> {
  await check("everything can be done from the keyboard", async () => {
    await using visited = await visit(origin);
    const { page } = visited;
    await ready(page);
    const active = (): Promise<string> =>
      page.evaluate("document.activeElement.id || document.activeElement.className");
    const tabTo = async (id: string): Promise<void> => {
      const seen: string[] = [];
      for (let i = 0; i < 60 && (await active()) !== id; i++) {
        await page.keyboard.press("Tab");
        seen.push(await active());
      }
      equal(await active(), id, `focus after ${seen.join(" ")}`);
      const outline: string = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle");
      if (outline === "none") throw new Error(`no visible focus on ${id}`);
    };
    await page.keyboard.press("Tab");
    equal(await active(), "skip");
    await page.keyboard.press("Enter");
    equal(await active(), "content");
    await tabTo("petal_length");
    const before = await bars(page);
    await page.keyboard.press("Home");
    await until("the bars move", async () => !Bun.deepEquals(await bars(page), before));
    await tabTo("pick-signature");
    await page.keyboard.press("ArrowUp");
    await tabTo("editor");
    await page.keyboard.press("Control+Enter");
    await page.locator("#status.ok").waitFor();
    await tabTo("restore");
    await page.keyboard.press("Enter");
    equal(await textOf(page, "#status"), "");
    await page.keyboard.press("Shift+Tab");
    equal(await active(), "send");
    await page.keyboard.press("Enter");
    await page.locator("#status.ok").waitFor();
    await tabTo("tab-curl");
    await page.keyboard.press("ArrowRight");
    equal(await active(), "tab-grpcurl");
    equal((await textOf(page, "#snippet")).startsWith("grpcurl -plaintext"), true, "snippet");
    await page.keyboard.press("End");
    equal(await active(), "tab-typescript");
    await tabTo("copy");
    await page.keyboard.press("Enter");
    await until("copied", async () => (await textOf(page, "#copy")) === "Copied");
    equal([...visited.complaints, ...visited.refused], []);
  });
}

async function checkKey(): Promise<void> {
  const keys = join(work, "keys");
  writeFileSync(keys, "correct-horse-battery\n");
  await check("a server with keys shows the page, and asks for one", async () => {
    await using server = await serve(`--api_key_file=${keys}`);
    const context = await browser.newContext({ locale: "en-US" });
    const page = await context.newPage();
    await page.goto(`${server.origin}/`);
    for (const [key, opens] of [
      ["wrong", false],
      ["correct-horse-battery", true],
    ] as const) {
      await page.locator("#key").fill(key);
      await page.keyboard.press("Enter");
      if (opens) await ready(page);
      else await page.locator("#key-form").waitFor({ state: "visible" });
    }
    await page.locator("#key-form").waitFor({ state: "hidden" });
    equal(await violations(page), []);
    await send(page);
    equal((await textOf(page, "#status")).startsWith("200 in "), true, "status");
    const snippet = (await page.locator("#snippet").textContent())!;
    equal(snippet.includes("$API_KEY") && !snippet.includes("battery"), true, snippet);
    await context.close();
  });
}

/** モデルの無いサーバーと、壊れた版の現れたサーバー。 */
async function checkOddServers(): Promise<void> {
  const empty = join(work, "empty.config");
  writeFileSync(empty, "model_config_list {}\n");
  await check("a server without models says how to name one, and offers no call", async () => {
    await using server = await serve(`--model_config_file=${empty}`);
    await using visited = await visit(server.origin);
    const { page } = visited;
    if (!(await textOf(page, "#no-models")).includes("--model_base_path")) throw new Error("no hint");
    equal([await page.locator("#call").isVisible(), await page.locator("#iris").isVisible()], [false, false]);
    equal(await violations(page), []);
    equal([...visited.complaints, ...visited.refused, ...visited.strangers], []);
  });

  await check("a version that cannot be loaded stands in a row of its own, with the reason", async () => {
    const base = join(work, "broken");
    cpSync(join(zoo, "math_double"), base, { recursive: true });
    await using server = await serve(
      "--model_name=m",
      `--model_base_path=${base}`,
      "--max_num_load_retries=0",
    );
    await using visited = await visit(server.origin);
    const { page } = visited;
    mkdirSync(join(base, "2"));
    writeFileSync(join(base, "2", "saved_model.pb"), "broken");
    await until("the row", async () => (await page.locator("#model-rows tr").count()) === 2);
    const rows = await page.locator("#model-rows tr").allInnerTexts();
    equal(
      rows.map((row) => /\b[12]\b/.exec(row)?.[0]),
      ["2", "1"],
      "versions",
    );
    equal(
      [/END/.test(rows[0]!), rows[0]!.includes("saved_model.pb"), /AVAILABLE/.test(rows[1]!)],
      [true, true, true],
    );
    equal(await violations(page), []);
  });

  await check("a server that goes away is noticed, and found again", async () => {
    const flag = `--rest_api_port=${await freePort()}`;
    let server = await serve(flag);
    await using visited = await visit(server.origin);
    const { page } = visited;
    await server[Symbol.asyncDispose]();
    await page.locator("#lost").waitFor({ state: "visible" });
    server = await serve(flag);
    try {
      await page.locator("#lost").waitFor({ state: "hidden" });
    } finally {
      await server[Symbol.asyncDispose]();
    }
  });
}

/** 写した grpcurl を走らせる。 */
async function runGrpcurl(page: Page, key: string): Promise<void> {
  await page.locator("#tab-grpcurl").click();
  const snippet = (await page.locator("#snippet").textContent()) ?? "";
  const child = Bun.spawn(["sh", "-c", snippet.replace(/^grpcurl /, `${flags.grpcurl} `)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const complaint = await new Response(child.stderr).text();
  equal(await child.exited, 0, `${key} by grpcurl: ${complaint}`);
}

/** 呼べないと言うものを、サーバーも断ること。それでも、写した grpcurl は通ること。 */
async function checkImpossible(page: Page, key: string, problem: string, url: string): Promise<void> {
  if (await page.locator("#send").isEnabled()) {
    await send(page);
    const answer = await textOf(page, "#answer");
    if (!answer.startsWith("Failed to write JSON value")) throw new Error(`${key}: ${answer}`);
  }
  const reply = await fetch(url, { method: "POST", body: await page.locator("#editor").inputValue() });
  if (reply.ok) throw new Error(`${key} answers, but the page says it cannot`);
  const isComposite = problem.includes("several tensors");
  if (flags.grpcurl !== undefined && !isComposite) await runGrpcurl(page, key);
}

/** 見本を送る。呼べない訳が書かれているシグネチャでは、サーバーも本当に断ることを確かめる。 */
async function checkSamples(origin: string): Promise<void> {
  await using visited = await visit(origin);
  const { page } = visited;
  let answered = 0;
  let impossible = 0;
  for (const name of names) {
    await check(`samples of ${name}`, async () => {
      await page.locator("#pick-model").selectOption(name);
      await until("the signatures", async () => (await textOf(page, "#target")).includes(`/models/${name}:`));
      const keys = await page.locator("#pick-signature option").allTextContents();
      equal(keys.length > 0, true, "signatures");
      for (const key of keys) {
        await page.locator("#pick-signature").selectOption(key);
        const verb = (await textOf(page, "#target")).split(":").at(-1)!;
        const problem = await textOf(page, "#call-problem");
        if (problem !== "") {
          impossible++;
          await checkImpossible(page, key, problem, `${origin}/v1/models/${name}:${verb}`);
          continue;
        }
        await send(page);
        const status = await textOf(page, "#status");
        if (!status.startsWith("200 in "))
          throw new Error(`${key}: ${status} ${await textOf(page, "#answer")}`);
        // 見つけた見本は、そのまま送っても受け取られる。
        const reply = await fetch(`${origin}/v1/models/${name}:${verb}`, {
          method: "POST",
          body: await page.locator("#editor").inputValue(),
        });
        equal(reply.status, 200, `${key} sent again`);
        answered++;
      }
    });
  }
  console.log(`${answered} signatures answered, ${impossible} cannot be called by REST`);
  await check("the walk over all models left no complaint", async () => {
    equal([...visited.complaints, ...visited.strangers], []);
  });
}

async function takeScreenshots(origin: string, directory: string): Promise<void> {
  const shots = [
    ["page-light", "light", { width: 1200, height: 1000 }, 1],
    ["page-dark", "dark", { width: 1200, height: 1000 }, 1],
    ["page-phone", "light", { width: 390, height: 844 }, 2],
  ] as const;
  for (const [name, colorScheme, viewport, deviceScaleFactor] of shots) {
    await using visited = await visit(origin, { colorScheme, viewport, deviceScaleFactor });
    const { page } = visited;
    await ready(page);
    for (let i = 0; i < 240; i++) {
      await page.locator("#petal_length").fill((3 + 2 * Math.sin(i / 7)).toFixed(1));
      await Bun.sleep(20 + 30 * Math.sin(i / 19) ** 2);
    }
    await page.locator("#presets button").nth(1).click();
    await page.mouse.move(0, 0);
    await Bun.sleep(300);
    await page.screenshot({ path: join(directory, `${name}.png`) });
  }
}

/** どのモデルにもある所: 要求の編集欄と、同じ呼び出し。 */
async function takeCallScreenshot(directory: string): Promise<void> {
  const config = join(work, "shown.config");
  const shown = { reviews: "keras_text_embedding", photos: "image_classifier", houses: "keras_tabular" };
  const entries = Object.entries(shown).map(
    ([name, model]) =>
      `config { name: "${name}" base_path: "${join(zoo, model)}" model_platform: "tensorflow" }`,
  );
  writeFileSync(config, `model_config_list {\n${entries.join("\n")}\n}\n`);
  await using server = await serve(`--model_config_file=${config}`);
  await using visited = await visit(server.origin, { viewport: { width: 1200, height: 1000 } });
  const { page } = visited;
  await page.locator("#pick-model").selectOption("houses");
  await until("the signature", async () => (await textOf(page, "#target")).includes("houses"));
  await send(page);
  await page.locator("#tab-python_grpc").click();
  await page.mouse.move(0, 0);
  await page.evaluate("document.activeElement.blur()");
  await page.locator("#call").screenshot({ path: join(directory, "page-call.png") });
}

try {
  if (flags.screenshots !== undefined) {
    await using server = await serve();
    await takeScreenshots(server.origin, flags.screenshots);
    await takeCallScreenshot(flags.screenshots);
  } else {
    {
      await using server = await serve();
      await checkIris(server.origin);
      await checkSnippets(server.origin);
      await checkAppearance(server.origin);
      await checkKeyboard(server.origin);
      await checkDocs(server.origin);
    }
    await checkKey();
    await checkOddServers();
    const config = join(work, "models.config");
    const entries = names.map(
      (name) => `config { name: "${name}" base_path: "${join(zoo, name)}" model_platform: "tensorflow" }`,
    );
    writeFileSync(config, `model_config_list {\n${entries.join("\n")}\n}\n`);
    await using server = await serve(`--model_config_file=${config}`);
    await checkSamples(server.origin);
  }
} finally {
  await browser.close();
  rmSync(work, { recursive: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
