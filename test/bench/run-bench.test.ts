import { afterEach, describe, expect, test } from "bun:test";
import {
  MOCK_OVERHEAD_TOKENS,
  type MockFault,
  type MockScript,
  type MockServer,
  startMockServer,
} from "../../bench/mock-server.ts";
import { pointsOf, type RunResults } from "../../src/bench/results.ts";
import { type BenchPlan, runBench } from "../../src/bench/run-bench.ts";
import { describeLoad, type Load } from "../../src/bench/types.ts";
import { syntheticWorkload } from "../../src/bench/workload/synthetic.ts";
import { traceWorkload } from "../../src/bench/workload/trace.ts";
import { systemClock } from "../../src/core/clock.ts";

const servers: MockServer[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.stop();
});

function mock(script: MockScript = {}): MockServer {
  const server = startMockServer(script);
  servers.push(server);
  return server;
}

const quiet = { onPrepare() {}, onProgress() {}, onSliceEnd() {} };
const WORKLOAD = {
  input: { kind: "fixed", tokens: 24 },
  output: { kind: "uniform", min: 3, max: 9 },
  sharedPrefixTokens: 0,
  prefixGroups: 1,
  turns: 1,
  seed: 1,
} as const;

function planFor(urls: readonly string[], loads: readonly Load[], fields: Partial<BenchPlan> = {}): BenchPlan {
  return {
    endpoints: urls.map((url, i) => ({ label: "abc"[i]!, baseUrl: new URL(`${url}/v1`), model: undefined })),
    api: "chat",
    headers: {},
    cells: loads.map((load, index) => ({ index, load, ...describeLoad(load) })),
    workload: syntheticWorkload(WORKLOAD),
    sessionsOf: () => 12,
    durationMs: Number.POSITIVE_INFINITY,
    warmup: 0,
    rounds: 1,
    timeoutMs: 20_000,
    slo: undefined,
    seed: 1,
    exactLength: true,
    inProcess: false,
    client: "test",
    startedAt: "",
    ...fields,
  };
}

const CLOSED: Load = { kind: "closed", concurrency: 3 };
const run = (plan: BenchPlan, signal = new AbortController().signal): Promise<RunResults> =>
  runBench(plan, quiet, systemClock, signal);

describe("a closed loop", () => {
  test("measures what the server counts", async () => {
    const server = mock();
    const results = await run(planFor([server.url], [CLOSED], { warmup: 2 }));
    const [point] = pointsOf(results);
    const { figures, records } = point!;
    expect(figures).toMatchObject({ status: "ok", finished: 12, failed: 0, exactLength: 12, tokensPerEvent: 1 });
    // Prompts are exact by calibration with /tokenize.
    expect(results.info.endpoints[0]).toMatchObject({ model: "mock", lengthsFrom: "tokenize" });
    expect(figures.promptTokens).toMatchObject({ min: 24, max: 24 });
    for (const record of records) {
      expect(record.chunkMs).toHaveLength(record.outputTokens);
      expect(record.outputTokens).toBe(record.maxTokens);
      expect(record.scheduledMs).toBe(record.sentMs);
    }
    expect(new Set(records.map((record) => record.session)).size).toBe(12);
    // Asked for exact lengths, with a key of vLLM's and of ours.
    const last = server.requests.at(-1)!;
    expect(last).toMatchObject({
      model: "mock",
      stream: true,
      ignore_eos: true,
      // The model's own defaults must not change what is measured.
      temperature: 0,
      repetition_penalty: 1,
      stream_options: { include_usage: true },
    });
    expect(last.min_tokens).toBe(last.max_tokens);
  });

  test("never has more requests running than asked, and keeps its connections", async () => {
    let running = 0;
    let most = 0;
    const ports = new Set<number>();
    const events = 'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      async fetch(request, self) {
        const path = new URL(request.url).pathname;
        if (path === "/v1/models") return Response.json({ data: [{ id: "m" }] });
        if (path !== "/v1/chat/completions") return new Response(null, { status: 404 });
        // The control calls come through fetch, by other connections.
        if (request.headers.get("user-agent") === "scalellm-bench") ports.add(self.requestIP(request)!.port);
        most = Math.max(most, ++running);
        await Bun.sleep(2);
        running--;
        return new Response(events, { headers: { "content-type": "text/event-stream" } });
      },
    });
    try {
      const results = await run(planFor([`http://127.0.0.1:${server.port}`], [CLOSED]));
      expect(pointsOf(results)[0]!.figures.finished).toBe(12);
      expect(most).toBe(3);
      expect(ports.size).toBe(3);
    } finally {
      server.stop(true);
    }
  });

  test("interleaves endpoints and asks them the same", async () => {
    const [a, b] = [mock(), mock()];
    const results = await run(planFor([a.url, b.url], [CLOSED, { kind: "closed", concurrency: 1 }], { rounds: 2 }));
    expect(results.slices.map((slice) => `${slice.endpoint}${slice.cell}`)).toEqual([
      "a0",
      "b0",
      "b0",
      "a0",
      "a1",
      "b1",
      "b1",
      "a1",
    ]);
    const asked = (server: MockServer) =>
      server.requests
        .filter((body) => body.stream)
        .map((body) => JSON.stringify(body.messages))
        .sort();
    expect(asked(a)).toEqual(asked(b));
    expect(pointsOf(results).map(({ figures }) => figures.finished)).toEqual([12, 12, 12, 12]);
  });
});

describe("an open loop", () => {
  test("counts from the arrival, however late the request is sent", async () => {
    const server = mock();
    const results = await run(planFor([server.url], [{ kind: "constant", ratePerS: 400 }]));
    const { records, figures } = pointsOf(results)[0]!;
    expect(figures.finished).toBe(12);
    const due = records.map((record) => record.scheduledMs).sort((x, y) => x - y);
    for (let i = 1; i < due.length; i++) expect(due[i]! - due[i - 1]!).toBeCloseTo(2.5, 6);
    for (const record of records) expect(record.sentMs).toBeGreaterThanOrEqual(record.scheduledMs);
    const first = records[0]!;
    const own = Math.max(...records.map((record) => record.endMs! - record.scheduledMs));
    expect(figures.e2eMs?.max).toBe(own);
    expect(figures.sendLagMs?.count).toBe(12);
    expect(first.chunkMs[0]! - first.scheduledMs).toBeGreaterThan(first.chunkMs[0]! - first.sentMs - 1e-9);
  });

  test("does not wait for slow replies", async () => {
    // Every request hangs until the client gives up: a closed loop of one would send a single one at a time.
    const server = mock({ fault: (body) => (isMeasured(body) ? { kind: "hang" } : undefined) });
    const plan = planFor([server.url], [{ kind: "poisson", ratePerS: 500 }], { timeoutMs: 1000 });
    const { records, figures } = pointsOf(await run(plan))[0]!;
    expect(records).toHaveLength(12);
    // All were sent before the first had timed out.
    expect(Math.max(...records.map((record) => record.sentMs))).toBeLessThan(records[0]!.sentMs + 1000);
    expect(figures).toMatchObject({ status: "timeout", finished: 0, errors: { timeout: 12 } });
  });

  test("plays a trace at its times and with its lengths", async () => {
    const server = mock();
    const entries = [0, 10, 30].map((timestampMs) => ({ timestampMs, inputTokens: 30, outputTokens: 4, hashIds: [] }));
    const fields = { workload: traceWorkload(entries, 1), sessionsOf: () => 3 };
    const { records, figures } = pointsOf(await run(planFor([server.url], [{ kind: "trace", speed: 2 }], fields)))[0]!;
    const start = Math.min(...records.map((record) => record.scheduledMs));
    const due = records.map((record) => record.scheduledMs - start).sort((a, b) => a - b);
    for (const [i, ms] of [0, 5, 15].entries()) expect(due[i]!).toBeCloseTo(ms, 6);
    expect(figures).toMatchObject({ finished: 3, exactLength: 3 });
    expect(figures.promptTokens).toMatchObject({ min: 30, max: 30 });
  });
});

/** A request of the measurement, not a probe: those have other prompts or do not stream. */
function isMeasured(body: Readonly<Record<string, unknown>>): boolean {
  return body.stream === true && JSON.stringify(body.messages ?? body.prompt).includes("Words: ");
}

describe("what goes wrong", () => {
  /** The measured requests fail in turn as told; undefined succeeds. */
  function failing(faults: ReadonlyArray<MockFault | undefined>): MockServer {
    let next = 0;
    return mock({ fault: (body) => (isMeasured(body) ? faults[next++ % faults.length] : undefined) });
  }

  test("each kind of failure is told apart", async () => {
    // The good one comes first: a load whose first requests all fail is given up.
    const server = failing([
      undefined,
      { kind: "status", status: 429, message: "slow down" },
      { kind: "status", status: 500, message: "broken" },
      { kind: "cut", afterEvents: 0 },
      { kind: "cut", afterEvents: 2 },
      { kind: "error-event", afterEvents: 1 },
    ]);
    const { figures, records } = pointsOf(await run(planFor([server.url], [CLOSED])))[0]!;
    expect(figures).toMatchObject({
      status: "ok",
      finished: 2,
      failed: 10,
      errors: { "http-429": 2, "http-500": 2, cut: 4, "stream-error": 2 },
    });
    const details = new Set(records.flatMap((record) => record.error?.detail ?? []));
    expect(details).toContain("slow down");
    expect(details).toContain("mock failure");
  });

  test("a load at which nothing finishes ends early, and the next is tried", async () => {
    const server = failing([{ kind: "status", status: 503, message: "full" }]);
    const plan = planFor([server.url], [{ kind: "closed", concurrency: 1 }, CLOSED], { sessionsOf: () => 1000 });
    const results = await run(plan);
    const points = pointsOf(results);
    expect(points.map(({ figures }) => figures.status)).toEqual(["error", "error"]);
    expect(results.slices.every((slice) => slice.gaveUp)).toBe(true);
    expect(results.records.length).toBeLessThan(30);
  });

  test("a server that stops listening is refused connections", async () => {
    const server = startMockServer();
    const plan = planFor([server.url], [{ kind: "closed", concurrency: 1 }]);
    // Sessions are counted when the measurement begins: by then the server has answered the probes.
    const sessionsOf = (): number => {
      server.stop();
      return 6;
    };
    const results = await run({ ...plan, sessionsOf });
    expect(pointsOf(results)[0]!.figures.errors).toMatchObject({ connect: 5 });
  });

  test("a server whose model is still being loaded is waited for", async () => {
    const said: string[] = [];
    const plan = planFor([mock({ loadingAsks: 1 }).url], [CLOSED]);
    const observer = { ...quiet, onPrepare: (message: string) => void said.push(message) };
    const results = await runBench(plan, observer, systemClock, new AbortController().signal);
    expect(pointsOf(results)[0]!.figures.finished).toBe(12);
    expect(said.filter((message) => message.includes("waiting"))).toHaveLength(1);
  });

  test("one that lists no model is given up when the run is", async () => {
    const abort = new AbortController();
    const plan = planFor([mock({ loadingAsks: 100 }).url], [CLOSED]);
    setTimeout(() => abort.abort(), 100);
    expect(run(plan, abort.signal)).rejects.toThrow("lists no model");
  });

  test("an endpoint that is not there is an error that names it", async () => {
    const server = startMockServer();
    server.stop();
    expect(run(planFor([server.url], [CLOSED]))).rejects.toThrow(/a: cannot reach http/);
  });

  test("Ctrl-C keeps what has finished and counts the cut requests nowhere", async () => {
    const abort = new AbortController();
    let finished = 0;
    const server = mock({
      fault: (body) => {
        if (!isMeasured(body) || ++finished <= 6) return undefined;
        setTimeout(() => abort.abort(), 20);
        return { kind: "hang" };
      },
    });
    const results = await run(planFor([server.url], [CLOSED, CLOSED]), abort.signal);
    const points = pointsOf(results);
    expect(points).toHaveLength(1);
    expect(points[0]!.figures).toMatchObject({ status: "ok", finished: 6, failed: 0 });
    expect(points[0]!.figures.cancelled).toBeGreaterThan(0);
  });
});

describe("other servers", () => {
  test("usage calibrates where there is no /tokenize", async () => {
    const server = mock({ tokenize: false });
    const results = await run(planFor([server.url], [CLOSED]));
    expect(results.info.endpoints[0]!.lengthsFrom).toBe("usage");
    expect(pointsOf(results)[0]!.figures.promptTokens).toMatchObject({ min: 24, max: 24 });
  });

  test("events count where there is no usage in streams", async () => {
    const server = mock({ usage: false });
    const { records, figures } = pointsOf(await run(planFor([server.url], [CLOSED])))[0]!;
    expect(figures).toMatchObject({ finished: 12, exactLength: 12, promptTokens: undefined });
    expect(records.every((record) => record.outputTokensFrom === "events")).toBe(true);
  });

  test("a server that refuses ignore_eos is asked without it", async () => {
    const server = mock({
      fault: (body) =>
        "ignore_eos" in body ? { kind: "status", status: 400, message: "unknown field ignore_eos" } : undefined,
    });
    const results = await run(planFor([server.url], [CLOSED]));
    expect(results.info.endpoints[0]!.dialect).toMatchObject({ exactLength: false, usage: true });
    expect(pointsOf(results)[0]!.figures.finished).toBe(12);
  });

  test("a server that knows OpenAI's fields alone is asked with those alone", async () => {
    const server = mock({
      fault: (body) =>
        "ignore_eos" in body || "repetition_penalty" in body
          ? { kind: "status", status: 400, message: "unknown field" }
          : undefined,
    });
    const results = await run(planFor([server.url], [CLOSED]));
    expect(results.info.endpoints[0]!.dialect).toMatchObject({ plainSampling: false, maxTokensField: "max_tokens" });
    expect(pointsOf(results)[0]!.figures.finished).toBe(12);
  });

  test("several tokens an event leave TPOT right", async () => {
    const server = mock({ tokensPerEvent: 3 });
    const workload = syntheticWorkload({ ...WORKLOAD, output: { kind: "fixed", tokens: 12 } });
    const { figures, records } = pointsOf(await run(planFor([server.url], [CLOSED], { workload })))[0]!;
    expect(figures.tokensPerEvent).toBe(3);
    expect(figures.exactLength).toBe(12);
    expect(records.every((record) => record.chunkMs.length === 4)).toBe(true);
  });

  test("completions, headers and a shared prefix", async () => {
    const server = mock();
    const workload = syntheticWorkload({ ...WORKLOAD, sharedPrefixTokens: 16 });
    const results = await run(planFor([server.url], [CLOSED], { workload, api: "completions" }));
    expect(pointsOf(results)[0]!.figures.promptTokens).toMatchObject({ min: 40, max: 40 });
    const prompts = server.requests.filter(isMeasured).map((body) => String(body.prompt));
    expect(new Set(prompts.map((prompt) => prompt.split(" ").slice(0, 17).join(" "))).size).toBe(1);
    expect(new Set(prompts).size).toBe(12);
  });

  test("a conversation carries its replies", async () => {
    const server = mock();
    const workload = syntheticWorkload({ ...WORKLOAD, turns: 3 });
    const results = await run(planFor([server.url], [CLOSED], { workload, sessionsOf: () => 4 }));
    const { records } = pointsOf(results)[0]!;
    expect(records).toHaveLength(12);
    const third = server.requests.find((body) => Array.isArray(body.messages) && body.messages.length === 5)!;
    const messages = third.messages as Array<{ role: string; content: string }>;
    expect(messages.map(({ role }) => role)).toEqual(["user", "assistant", "user", "assistant", "user"]);
    expect(messages[1]!.content).toMatch(/^( word){3,9}$/);
    const ofFirst = records.filter((record) => record.session === 0);
    expect(ofFirst.map((record) => record.turn)).toEqual([0, 1, 2]);
    expect(ofFirst[1]!.promptTokens).toBe(24 + ofFirst[0]!.outputTokens + (24 - MOCK_OVERHEAD_TOKENS));
  });
});
