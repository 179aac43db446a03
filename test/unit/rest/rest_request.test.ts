import { describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { Endings, RestRequest } from "../../../src/rest/rest_request.ts";
import type { Route } from "../../../src/rest/routes.ts";

const route: Route = { readsBody: true, answer: () => "" };

/** 終わっていない要求の数を、手で決める待ち受け。 */
function listening() {
  let pending = 0;
  const endings = new Endings(() => pending);
  return {
    arrive(request: Partial<Request> & object): RestRequest {
      pending++;
      return new RestRequest(route, request as Request, endings, endings.begin());
    },
    end(): void {
      pending--;
    },
  };
}

function watched(aborted: boolean) {
  let looks = 0;
  const request = {
    get signal() {
      looks++;
      return { aborted } as AbortSignal;
    },
  };
  return { request, looks: () => looks };
}

describe("isGone", () => {
  test("while no request has ended, nobody has gone, and the signal is not looked at", () => {
    const { arrive } = listening();
    const { request, looks } = watched(true);
    const first = arrive(request);
    arrive({});
    expect(first.isGone).toBe(false);
    expect(looks()).toBe(0);
  });

  test.each([true, false])("when one has ended, the signal says whether it was this one: %p", (aborted) => {
    const { arrive, end } = listening();
    arrive({});
    const { request, looks } = watched(aborted);
    const second = arrive(request);
    end();
    expect(second.isGone).toBe(aborted);
    expect(looks()).toBe(1);
  });

  test("an answer that is still on its way hides nobody", () => {
    const { arrive, end } = listening();
    // 読むのが遅い客。答えても、しばらく終わらない。
    arrive({});
    const gone = arrive(watched(true).request);
    end();
    arrive({});
    expect(gone.isGone).toBe(true);
  });

  test("endings from before do not count", () => {
    const { arrive, end } = listening();
    arrive({});
    end();
    const { request, looks } = watched(true);
    expect(arrive(request).isGone).toBe(false);
    expect(looks()).toBe(0);
  });
});

describe("body", () => {
  const sent = (bytes: Uint8Array, encoding: string | null): string => {
    const request = listening().arrive({
      headers: new Headers(encoding ? { "content-encoding": encoding } : {}),
    });
    request.sent = bytes;
    return Buffer.from(request.body).toString();
  };
  test.each([
    ["plain", Buffer.from("{}"), null, "{}"],
    ["gzip", gzipSync("{}"), "x-gzip", "{}"],
    ["what only claims to be gzip is empty", Buffer.from("{}"), "gzip", ""],
  ])("%s", (_, bytes, encoding, body) => {
    expect(sent(bytes, encoding)).toBe(body);
  });
});
