/** パス → 中身。 */
export class FakeFiles {
  readonly #files: Record<string, Uint8Array>;

  constructor(files: Record<string, Uint8Array | string>) {
    this.#files = Object.fromEntries(
      Object.entries(files).map(([path, body]) => [
        path,
        typeof body === "string" ? new TextEncoder().encode(body) : body,
      ]),
    );
  }

  async exists(path: string): Promise<boolean> {
    return path in this.#files;
  }

  async read(path: string): Promise<Uint8Array> {
    return this.#files[path]!;
  }
}
