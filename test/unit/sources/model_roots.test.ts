import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { diskStorage } from "../../../src/savedmodel/storage.ts";
import { checkModelRoots } from "../../../src/sources/model_roots.ts";

const base = realpathSync(mkdtempSync(join(tmpdir(), "roots-")));
afterAll(() => rmSync(base, { recursive: true }));
mkdirSync(join(base, "models", "a"), { recursive: true });
mkdirSync(join(base, "models-other"));
mkdirSync(join(base, "secret"));
symlinkSync(join(base, "secret"), join(base, "models", "link"));
symlinkSync(join(base, "models"), join(base, "alias"));

const check = (roots: readonly string[], path: string) =>
  checkModelRoots(diskStorage, roots, [{ name: "m", basePath: path }]).then(
    () => "OK",
    (thrown: unknown) => String(thrown),
  );
const refused = "PERMISSION_DENIED: Base path of model m is not under any of --model_roots";
const roots = [join(base, "models")];

describe("checkModelRoots()", () => {
  test.each<[string, string, string]>([
    ["the root itself", "models", "OK"],
    ["a directory in it", "models/a", "OK"],
    ["one that does not exist yet", "models/later/deep", "OK"],
    ["a way out and in again", "secret/../models/a", "OK"],
    ["another name of the root", "alias/a", "OK"],
    ["a sibling", "secret", refused],
    ["a sibling whose name begins alike", "models-other", refused],
    ["dots that lead out", "models/../secret", refused],
    ["a link that leads out", "models/link", refused],
    ["something missing behind such a link", "models/link/later", refused],
    ["the parent", ".", refused],
  ])("%s", async (_, path, outcome) => {
    expect(await check(roots, `${base}/${path}`)).toBe(outcome);
  });

  test("a link as root, / as root, and no root at all", async () => {
    expect(await check([join(base, "alias")], join(base, "models", "a"))).toBe("OK");
    expect(await check(["/"], join(base, "secret"))).toBe("OK");
    expect(await check([], join(base, "secret"))).toBe("OK");
  });

  test("one path outside refuses the whole request", async () => {
    const models = ["models/a", "secret"].map((path) => ({ name: "m", basePath: join(base, path) }));
    expect(checkModelRoots(diskStorage, roots, models)).rejects.toThrow("not under any of --model_roots");
  });
});
