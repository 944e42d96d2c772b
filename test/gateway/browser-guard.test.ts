import { expect, test } from "bun:test";
import { ServeError } from "../../src/core/errors.ts";
import { parseAuthority } from "../../src/gateway/authority.ts";
import { BrowserGuard, type BrowserGuardOptions } from "../../src/gateway/browser-guard.ts";

const LOOPBACK: BrowserGuardOptions = {
  listenHost: "127.0.0.1",
  authenticated: false,
  allowedHosts: [],
  corsOrigins: [],
};

/** The reason of the refusal; undefined where the request may go on. */
function refusal(options: Partial<BrowserGuardOptions>, headers: Record<string, string>, method = "POST") {
  try {
    new BrowserGuard({ ...LOOPBACK, ...options }).check(new Headers(headers), method);
    return undefined;
  } catch (error) {
    expect((error as ServeError).code).toBe("permission_denied");
    return error instanceof ServeError ? error.reason : error;
  }
}

test("what is an authority, and what is none", () => {
  expect(parseAuthority("LocalHost.:80")).toEqual({ host: "localhost", port: 80 });
  expect(parseAuthority("[::1]:8000")).toEqual({ host: "::1", port: 8000 });
  expect(parseAuthority("[0:0:0::1]")).toEqual({ host: "::1", port: undefined });
  expect(parseAuthority("a_b.c")).toEqual({ host: "a_b.c", port: undefined });
  for (const text of [
    "",
    "a:999999",
    "[::1",
    "%%",
    "a b",
    "a,b",
    "a/b",
    "[g::1]",
    "[127.0.0.1]",
    "::1",
    "a:1:2",
    "é",
  ]) {
    expect(parseAuthority(text)).toBeUndefined();
  }
});

test("on loopback without a key only addresses, localhost and allowed names are hosts", () => {
  for (const host of [
    "127.0.0.1:8000",
    "localhost",
    "LOCALHOST:1",
    "localhost.",
    "app.localhost:3",
    "[::1]:8000",
    "10.0.0.7",
  ])
    expect(refusal({}, { host })).toBeUndefined();
  for (const listenHost of [
    "127.0.0.1",
    "localhost",
    "::1",
    "[::1]",
    "LOCALHOST",
    "127.9.9.9",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
  ])
    for (const host of [
      "evil.example",
      "localhost.evil.example",
      "evillocalhost",
      "127.0.0.1.nip.io",
      "0x7f.1",
      "2130706433x",
    ])
      expect(refusal({ listenHost }, { host })).toBe("host_not_allowed");
  expect(refusal({}, {})).toBeUndefined();
  expect(refusal({ allowedHosts: ["llm.example"] }, { host: "LLM.example:8443" })).toBeUndefined();
  expect(refusal({ allowedHosts: ["llm.example"] }, { host: "x.llm.example" })).toBe("host_not_allowed");
  expect(refusal({ allowedHosts: ["*"] }, { host: "anything" })).toBeUndefined();
});

test("beyond loopback any host may be asked for; with a key everything may", () => {
  expect(refusal({ listenHost: "0.0.0.0" }, { host: "scalellm.docker" })).toBeUndefined();
  const page = { host: "evil.example", origin: "http://evil.example", "sec-fetch-site": "cross-site" };
  expect(refusal({ authenticated: true }, page)).toBeUndefined();
});

test("without a key an Origin must be the server's own or allowed, on every address", () => {
  for (const listenHost of ["127.0.0.1", "0.0.0.0", "::"]) {
    for (const origin of [
      "https://evil.example",
      "null",
      "",
      "file://",
      "http://127.0.0.1:9000",
      "http://127.0.0.1",
      "http://localhost:8000.evil.example",
      "http://evil.example@127.0.0.1:8000",
      "chrome-extension://abc",
      "http://127.0.0.1:8000, http://evil.example",
    ]) {
      expect(refusal({ listenHost }, { host: "127.0.0.1:8000", origin })).toBe("origin_not_allowed");
    }
    for (const [host, origin] of [
      ["127.0.0.1:8000", "http://127.0.0.1:8000"],
      ["localhost:8000", "http://localhost:8000"],
      ["127.0.0.1:8000", "http://localhost:8000"],
      ["[::1]:8000", "http://[::1]:8000"],
      ["[0:0::1]:8000", "http://[::1]:8000"],
      ["192.168.1.5:8000", "http://192.168.1.5:8000"],
      ["localhost", "https://localhost"],
      ["localhost", "http://localhost"],
    ] as const) {
      expect(refusal({ listenHost }, { host, origin })).toBeUndefined();
    }
  }
  // A name that anyone may have pointed here: own only where it is configured, as behind a proxy with TLS.
  const proxied = { host: "llm.example", origin: "https://llm.example" };
  expect(refusal({ listenHost: "0.0.0.0" }, proxied)).toBe("origin_not_allowed");
  expect(refusal({ listenHost: "0.0.0.0", allowedHosts: ["llm.example"] }, proxied)).toBeUndefined();
  const app = { host: "127.0.0.1:8000", origin: "https://app.example" };
  expect(refusal({ corsOrigins: ["https://app.example"] }, app)).toBeUndefined();
  expect(refusal({ corsOrigins: ["*"] }, { ...app, origin: "null" })).toBeUndefined();
});

test("a cross-site request that hides its Origin may read at most", () => {
  const headers = { host: "127.0.0.1:8000", "sec-fetch-site": "cross-site" };
  expect(refusal({}, headers, "POST")).toBe("origin_not_allowed");
  expect(refusal({}, headers, "GET")).toBeUndefined();
  for (const [site, reason] of [
    ["same-origin", undefined],
    ["none", undefined],
    ["same-site", "origin_not_allowed"],
    ["CROSS-SITE", "origin_not_allowed"],
  ] as const)
    expect(refusal({}, { ...headers, "sec-fetch-site": site }, "POST")).toBe(reason);
});
