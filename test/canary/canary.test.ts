import { expect, test } from "bun:test";
import { CANARY_MODEL, CanaryServer, SEAMS, type Seam } from "./canary-server.ts";
import { type HostileRequest, hostileRequest, seeded } from "./hostile-requests.ts";

/** `make canary` gives others. */
const ROUNDS = Number(process.env.CANARY_ROUNDS || 250);
const SEED = Number(process.env.CANARY_SEED || 20_261);
/** A canary answers in milliseconds; this is for a machine that does much else. */
const HANG_MS = 10_000;
/** The engine is started again after it, and that has a budget of its own. */
const COSTLY: readonly Seam[] = ["message of the engine"];

function within<T>(what: string, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`${what} hangs`)), HANG_MS);
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Whether it was answered, and the answer was whole. */
async function send(server: CanaryServer, request: HostileRequest): Promise<boolean> {
  const leave = new AbortController();
  if (request.abortAfterMs !== undefined) setTimeout(() => leave.abort(), request.abortAfterMs);
  try {
    const { body, headers } = request;
    const response = await fetch(server.url + request.path, { method: "POST", body, headers, signal: leave.signal });
    const text = await response.text();
    return response.ok && !text.includes('"error"');
  } catch {
    // It went away, or was cut off.
    return false;
  }
}

const messages = [{ role: "user", content: "Are you there?" }];
const sampling = { max_tokens: 3, ignore_eos: true };
const CANARIES: ReadonlyArray<(server: CanaryServer) => Promise<string>> = [
  async ({ url }) => {
    const body = JSON.stringify({ model: CANARY_MODEL, messages, ...sampling });
    const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", body });
    return `${response.status} ${await response.text()}`;
  },
  async ({ url }) => {
    const body = JSON.stringify({ model: CANARY_MODEL, messages, stream: true, ...sampling });
    const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", body });
    const text = await response.text();
    return text.includes("[DONE]") ? `200 ${text}` : text;
  },
  async ({ url }) => {
    const body = JSON.stringify({ model: CANARY_MODEL, chat: { messages }, sampling });
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${url}/scalellm.v1.InferenceService/Complete`, { method: "POST", body, headers });
    return `${response.status} ${await response.text()}`;
  },
  async ({ grpc }) => {
    const answer = await grpc.complete({
      model: CANARY_MODEL,
      prompt: { case: "chat", value: { messages } },
      sampling: { maxTokens: 3, ignoreEos: true },
    });
    return answer.usage?.completionTokens === 3 ? "200" : JSON.stringify(answer.usage);
  },
];

async function expectCanary(server: CanaryServer, round: number, after: string): Promise<void> {
  const canary = CANARIES[round % CANARIES.length]!;
  const answer = await within(`the canary after ${after}`, canary(server)).catch((error: unknown) => String(error));
  if (!answer.startsWith("200")) throw new Error(`the canary after ${after} got ${answer}`);
}

async function expectQuiet(server: CanaryServer): Promise<void> {
  await within(
    "what was left behind",
    (async () => {
      while (server.inFlight() > 0 || server.replica.stats().running + server.replica.stats().waiting > 0) {
        await Bun.sleep(5);
      }
    })(),
  );
  expect((await fetch(`${server.url}/ready`)).status).toBe(200);
}

test("whatever a request is, the next chat is answered", async () => {
  await using server = await CanaryServer.start();
  const random = seeded(SEED);
  for (let round = 0; round < ROUNDS; round++) {
    const request = hostileRequest(random);
    const what = `round ${round}: ${request.path} ${String(request.body).slice(0, 200)}`;
    await within(what, send(server, request));
    await expectCanary(server, round, what);
  }
  await expectQuiet(server);
}, 3_600_000);

test("so it is after several at once", async () => {
  await using server = await CanaryServer.start();
  const random = seeded(SEED + 1);
  for (let round = 0; round < ROUNDS / 16; round++) {
    const requests = Array.from({ length: 12 }, () => hostileRequest(random));
    const all = Promise.all(requests.map((request) => send(server, request)));
    await expectCanary(server, round, `the beginning of round ${round}`);
    await within(`round ${round}`, all);
    await expectCanary(server, round + 1, `round ${round}`);
  }
  await expectQuiet(server);
}, 3_600_000);

test("wherever a fault is thrown, that request alone ends with an error", async () => {
  await using server = await CanaryServer.start();
  const random = seeded(4711);
  const long = `${"The harbour master kept two books. ".repeat(40)}`;
  const paths: ReadonlyArray<readonly [string, Record<string, unknown>]> = [
    ["/v1/chat/completions", { messages, logprobs: true, top_logprobs: 2, max_tokens: 4 }],
    ["/v1/chat/completions", { messages, logprobs: true, stream: true, max_tokens: 4 }],
    ["/v1/completions", { prompt: long, logprobs: 2, max_tokens: 4 }],
    ["/v1/completions", { prompt: "Hi", echo: true, logprobs: 1, n: 3, stream: true, max_tokens: 4 }],
    ["/tokenize", { prompt: long }],
    [
      "/scalellm.v1.InferenceService/Complete",
      { text: "Hi", sampling: { logprobs: 2, promptLogprobs: 1, maxTokens: 4 } },
    ],
    ["/scalellm.v1.InferenceService/Complete", { chat: { messages }, sampling: { maxTokens: 4 } }],
  ];
  const struck = new Set<Seam>();
  for (const seam of SEAMS) {
    const rounds = COSTLY.includes(seam) ? paths.slice(0, 2) : paths;
    for (const [round, [path, fields]] of rounds.entries()) {
      server.armed = seam;
      const body = JSON.stringify({ model: CANARY_MODEL, ...fields });
      const headers = { "content-type": "application/json" };
      const what = `${seam}, ${path} ${body.slice(0, 80)}`;
      // Others run beside it.
      const beside = Array.from({ length: random(3) }, () => CANARIES[0]!(server));
      const answered = await within(what, send(server, { path, body, headers, abortAfterMs: undefined }));
      const answers = await within(`what ran beside ${what}`, Promise.all(beside));
      const failures = [answered, ...answers.map((answer) => answer.startsWith("200"))].filter((ok) => !ok).length;
      if (failures > 1) throw new Error(`${failures} requests failed of ${what}`);
      if (server.armed === undefined) struck.add(seam);
      server.armed = undefined;
      await expectCanary(server, round, what);
    }
  }
  expect(SEAMS.filter((seam) => !struck.has(seam))).toEqual([]);
  await expectQuiet(server);
}, 3_600_000);
