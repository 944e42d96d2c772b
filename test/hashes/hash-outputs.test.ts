import { expect, test } from "bun:test";
import { locateLibrary } from "../../src/backend/library.ts";
import { openModel } from "../../src/model/open-model.ts";
import { type HashOptions, hashOutputs } from "./hash-outputs.ts";

const { plan } = openModel("test/fixtures/goldens/tiny-llama");
const options: HashOptions = {
  libraryPath: await locateLibrary(),
  isa: "auto",
  formats: [{ weights: "float32", kv: "float32" }],
  logitTokens: 20,
  numRequests: 3,
  numEngines: 2,
};
const expected = hashOutputs(plan, options);

test("the same outputs have the same hash, on every run", () => {
  expect(hashOutputs(plan, options)).toBe(expected);
});

test("other outputs have another hash: of logits alone, of requests alone", () => {
  const changed = { ...plan, spec: { ...plan.spec, rmsNormEps: 1.001 * plan.spec.rmsNormEps } };
  expect(hashOutputs(changed, options)).not.toBe(expected);
  const logits = { ...options, numEngines: 0 };
  expect(hashOutputs(changed, logits)).not.toBe(hashOutputs(plan, logits));
  expect(hashOutputs(plan, { ...options, numRequests: 4 })).not.toBe(expected);
});
