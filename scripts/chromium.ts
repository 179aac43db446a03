/** 頁の試験に使うブラウザー。無く、apt で入れられもしなければ undefined。 */
export async function findChromium(): Promise<string | undefined> {
  const find = (): string | undefined =>
    ["chromium", "chromium-browser", "google-chrome"]
      .map((name) => Bun.which(name))
      .find((path) => path !== null) ?? undefined;
  const found = find();
  if (found !== undefined || Bun.which("apt-get") === null || process.getuid?.() !== 0) return found;
  for (const args of [
    ["update", "-qq"],
    ["install", "-y", "-qq", "--no-install-recommends", "chromium"],
  ]) {
    const step = Bun.spawn(["apt-get", ...args], {
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
      stdio: ["ignore", "ignore", "inherit"],
    });
    if ((await step.exited) !== 0) return undefined;
  }
  return find();
}
