import { expect, test } from "bun:test";
import type { SamplingParams } from "../../src/core/sampling-params.ts";
import type { ServedModel } from "../../src/gateway/gateway.ts";
import { prepareRequest } from "../../src/http/prepare-request.ts";
import { FakeTextService } from "./fake-text-service.ts";

const RECOMMENDED = { temperature: 0.2, topP: 0.9, repetitionPenalty: 1.1 };

/** What a request with these fields is sampled with, as far as a model may have its say. */
function sampled(named: Partial<SamplingParams>, generationDefaults: Partial<SamplingParams> = {}) {
  const model: ServedModel = {
    name: "m",
    createdS: 0,
    maxModelLen: 64,
    vocabSize: 100,
    text: new FakeTextService(),
    systemFingerprint: "fp_0",
    generationDefaults,
    recommendedSampling: RECOMMENDED,
  };
  const draft = {
    id: "1",
    tenant: "",
    promptTokenIds: Int32Array.of(1),
    promptText: undefined,
    n: undefined,
    sampling: named,
    priority: undefined,
    deadlineMs: undefined,
  };
  const { temperature, topP, topK, repetitionPenalty } = prepareRequest(draft, model).sampling;
  return { temperature, topP, topK, repetitionPenalty };
}

test("a request that names nothing is sampled as the model needs it", () => {
  expect(sampled({})).toEqual({ ...RECOMMENDED, topK: 0 });
  expect(sampled({ topP: 0.5, maxTokens: 3 })).toEqual({ ...RECOMMENDED, topP: 0.5, topK: 0 });
});

test.each([0, 0.7, 1])("temperature %d is taken as it is sent, with nothing of ours beside it", (temperature) => {
  expect(sampled({ temperature })).toEqual({ temperature, topP: 1, topK: 0, repetitionPenalty: 1 });
});

test("the checkpoint's own defaults hold field by field, over what is recommended", () => {
  const own = { temperature: 0.6, topK: 20 };
  expect(sampled({}, own)).toEqual({ ...RECOMMENDED, ...own });
  expect(sampled({ temperature: 1 }, own)).toEqual({ temperature: 1, topP: 1, topK: 20, repetitionPenalty: 1 });
});
