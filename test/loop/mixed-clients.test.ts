import { expect, test } from "bun:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { CompleteRequestSchema, TokenizeRequestSchema } from "../../src/gen/scalellm/v1/inference_pb.ts";
import { MeasuredServer } from "./measured-server.ts";

const SEED = Number(process.env.MIXED_SEED || 20_261);
const CLIENTS = 20;
const REQUESTS_EACH = 8;
const CONTEXT = 8192;
/** For a machine that does much else. */
const HANG_MS = 180_000;
const model = "smollm2-135m-instruct";
const RPC = "/scalellm.v1.InferenceService";

type Random = (below: number) => number;

/** Park and Miller's generator; integers below `below`. */
function randomFrom(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

interface Sent {
  path: string;
  type: string;
  body: string | Uint8Array<ArrayBuffer>;
}

/** What waits for a tokenizer lane, is answered in slices or streamed, and small requests that come between. */
function anyRequest(random: Random): Sent {
  const ids = (most: number) => Array.from({ length: 1 + random(most) }, () => 1000 + random(40_000));
  const marks = "a!".repeat(1 + random(60_000));
  const chat = { model, messages: [{ role: "user", content: "Count." }], ignore_eos: true };
  const json = (path: string, body: object) => ({ path, type: "application/json", body: JSON.stringify(body) });
  switch (random(8)) {
    case 0:
      return json("/v1/chat/completions", { ...chat, max_tokens: 1 + random(64) });
    case 1:
      return json("/v1/chat/completions", { ...chat, max_tokens: 1 + random(64), stream: true });
    case 2: {
      const many = { n: 16, logprobs: true, top_logprobs: 20, stream: true };
      return json("/v1/chat/completions", { ...chat, ...many, max_tokens: 100 });
    }
    case 3:
      return json("/v1/completions", { model, prompt: ids(CONTEXT - 8), max_tokens: 1, prompt_logprobs: 20 });
    case 4:
      return json("/detokenize", { model, tokens: ids(CONTEXT - 1) });
    case 5:
      return json(`${RPC}/Tokenize`, { model, text: marks });
    case 6: {
      const request = create(TokenizeRequestSchema, { model, input: { case: "text", value: marks } });
      return { path: `${RPC}/Tokenize`, type: "application/proto", body: toBinary(TokenizeRequestSchema, request) };
    }
    default:
      return { path: `${RPC}/Complete`, type: "application/proto", body: scored(ids(CONTEXT - 8)) };
  }
}

function scored(ids: number[]): Uint8Array<ArrayBuffer> {
  const prompt = { case: "tokenIds", value: { ids } } as const;
  const request = create(CompleteRequestSchema, { model, prompt, sampling: { promptLogprobs: 20, maxTokens: 4 } });
  return toBinary(CompleteRequestSchema, request);
}

test(
  "clients that leave, read slowly or wait: each answer that is waited for comes whole, and nothing is left running",
  async () => {
    await using server = await MeasuredServer.start();
    const statuses: string[] = [];
    let numLeft = 0;

    /** Reads an answer, slowly where `pauseMs` says so; undefined for one that it does not wait for. */
    const send = async (random: Random): Promise<string | undefined> => {
      const { path, type, body } = anyRequest(random);
      const leaves = random(3) === 0;
      const pauseMs = random(4) === 0 ? 20 : 0;
      if (path === `${RPC}/Complete` && random(2) === 0) return server.grpc("Complete", body as Uint8Array);
      const leaving = new AbortController();
      if (leaves) setTimeout(() => leaving.abort(), random(400));
      try {
        const headers = { "content-type": type };
        const response = await fetch(server.url + path, { method: "POST", headers, body, signal: leaving.signal });
        for await (const _ of response.body!) if (pauseMs > 0) await Bun.sleep(pauseMs);
        return String(response.status);
      } catch (error) {
        if (!leaves) throw error;
        return undefined;
      }
    };
    const client = async (number: number) => {
      const random = randomFrom(SEED + number);
      for (let i = 0; i < REQUESTS_EACH; i++) {
        const status = await send(random);
        if (status === undefined) numLeft++;
        else statuses.push(status);
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, (_, number) => client(number)));
    // gRPC's status of success, and HTTP's.
    expect(new Set(statuses)).toEqual(new Set(["0", "200"]));
    expect(numLeft).toBeGreaterThan(CLIENTS / 2);

    const isIdle = async () => {
      const metrics = await (await fetch(`${server.url}/metrics`)).text();
      return ["running", "waiting"].every((what) => new RegExp(`num_requests_${what}\\{[^}]*\\} 0\\n`).test(metrics));
    };
    while (!(await isIdle())) await Bun.sleep(20);
    expect(await server.rest("/v1/completions", { model, prompt: "a", max_tokens: 2 })).toBe("200");
    expect((await fetch(`${server.url}/ready`)).status).toBe(200);
  },
  HANG_MS,
);
