import { expect, test } from "bun:test";
import { createPageSite } from "../../src/page_site.ts";

const facts = { version: "1.2.3", grpcPort: 8500, grpcTls: false };

test("createPageSite() writes the facts into the page", () => {
  const text = "{{version}} {{grpc_port}} {{grpc_tls}} {{version}}";
  expect(createPageSite([{ name: "index.html", text }], facts).get("/")?.body).toBe("1.2.3 8500 false 1.2.3");
});

test("createPageSite() refuses a kind of file it cannot name", () => {
  expect(() => createPageSite([{ name: "a.wasm", text: "" }], facts)).toThrow("unknown kind: a.wasm");
});
