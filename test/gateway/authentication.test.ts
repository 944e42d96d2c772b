import { expect, test } from "bun:test";
import { ServeError } from "../../src/core/errors.ts";
import { Authentication } from "../../src/gateway/authentication.ts";

const refusal = (authentication: Authentication, headers: Record<string, string>) => {
  try {
    authentication.authenticate(new Headers(headers));
  } catch (error) {
    if (error instanceof ServeError) return [error.code, error.reason];
  }
  return undefined;
};

test("without keys everyone is the tenant without a name", () => {
  const authentication = new Authentication([]);
  expect(authentication.required).toBe(false);
  expect(authentication.authenticate(new Headers({ authorization: "Bearer anything" }))).toEqual({ tenant: "" });
});

test("a key has the same tenant in every process, and it does not show the key", () => {
  const tenantOf = (keys: string[], key: string) =>
    new Authentication(keys).authenticate(new Headers({ "x-api-key": key })).tenant;
  expect(tenantOf(["a", "b"], "b")).toBe(tenantOf(["b"], "b"));
  expect(tenantOf(["a", "b"], "a")).not.toBe(tenantOf(["a", "b"], "b"));
  expect(tenantOf(["secret"], "secret")).toMatch(/^[0-9a-f]{16}$/);
  expect(tenantOf(["secret"], "secret")).not.toBe(
    new Bun.CryptoHasher("sha256").update("secret").digest("hex").slice(0, 16),
  );
});

test("no key and a wrong key are told apart; a key must match whole", () => {
  const authentication = new Authentication(["secret"]);
  expect(authentication.required).toBe(true);
  expect(refusal(authentication, {})).toEqual(["unauthenticated", "missing_api_key"]);
  expect(refusal(authentication, { authorization: "Basic secret" })).toEqual(["unauthenticated", "missing_api_key"]);
  expect(refusal(authentication, { authorization: "Bearer " })).toEqual(["unauthenticated", "missing_api_key"]);
  for (const key of ["secre", "secret2", "SECRET", ""]) {
    expect(refusal(authentication, { "x-api-key": key })).toEqual(["unauthenticated", "invalid_api_key"]);
  }
  expect(refusal(authentication, { authorization: "BEARER  secret " })).toBeUndefined();
});
