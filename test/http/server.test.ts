import { expect, test } from "bun:test";
import http2 from "node:http2";
import { systemClock } from "../../src/core/clock.ts";
import { createConnectHandler } from "../../src/http/connect/create-connect-handler.ts";
import { API_KEY, createFixture, MODEL as SCRIPTED } from "./connect-fixture.ts";
import { RawClient } from "./raw-client.ts";
import { errorOf, events, MODEL, TestServer } from "./test-server.ts";

test("probes: live always, ready only while every model can answer", async () => {
  await using server = new TestServer();
  expect(await (await fetch(`${server.url}/health`)).json()).toEqual({ status: "ok" });
  expect((await fetch(`${server.url}/ready`)).status).toBe(200);
  server.replica.ready = false;
  const response = await fetch(`${server.url}/ready`);
  expect(response.headers.get("retry-after")).toBe("1");
  expect((await errorOf(response, 503)).code).toBe("not_ready");
  server.replica.ready = true;
  server.text.ready = false;
  expect((await errorOf(await fetch(`${server.url}/ready`), 503)).code).toBe("not_ready");
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
  server.text.ready = true;
  expect((await fetch(`${server.url}/ready`)).status).toBe(200);
  server.replica.ready = false;
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
});

test("while the model loads, requests are told to come back", async () => {
  await using server = new TestServer({ loading: true });
  expect((await fetch(`${server.url}/ready`)).status).toBe(503);
  expect(await (await fetch(`${server.url}/v1/models`)).json()).toEqual({ object: "list", data: [] });
  for (const response of [
    await server.chat(),
    await server.complete(),
    await server.post("/tokenize", { model: "a" }),
  ]) {
    expect(response.headers.get("retry-after")).toBe("2");
    expect((await errorOf(response, 503)).code).toBe("model_loading");
  }
});

test("version", async () => {
  await using server = new TestServer();
  expect(await (await fetch(`${server.url}/version`)).json()).toEqual({ version: "1.2.3" });
});

test("models: a list, and one by its name with or without an escaped slash", async () => {
  await using server = new TestServer();
  const named = { id: MODEL, object: "model", created: 1_700_000_000, owned_by: "scalellm" };
  const model = { ...named, max_model_len: 256, default_sampling: { temperature: 0.7 } };
  expect(await (await fetch(`${server.url}/v1/models`)).json()).toEqual({ object: "list", data: [model] });
  for (const path of [MODEL, encodeURIComponent(MODEL)]) {
    expect(await (await fetch(`${server.url}/v1/models/${path}`)).json()).toEqual(model);
  }
  const error = await errorOf(await fetch(`${server.url}/v1/models/other%`), 404);
  expect(error).toEqual({
    message: `The model 'other%' does not exist. Served here: ${MODEL}.`,
    type: "invalid_request_error",
    param: "model",
    code: "model_not_found",
  });
});

test("an unknown path is 404 and a wrong method 405, as API errors", async () => {
  await using server = new TestServer();
  expect((await errorOf(await fetch(`${server.url}/v2/x`), 404)).code).toBe("unknown_path");
  const response = await fetch(`${server.url}/v1/chat/completions`);
  expect(response.headers.get("allow")).toBe("POST");
  expect((await errorOf(response, 405)).code).toBe("method_not_allowed");
  expect((await fetch(`${server.url}/v1/models/${MODEL}`, { method: "DELETE" })).status).toBe(405);
});

test("a request id is taken over where it is printable and short, else made", async () => {
  await using server = new TestServer();
  const idFor = async (id: string) =>
    (await fetch(`${server.url}/health`, { headers: { "x-request-id": id } })).headers.get("x-request-id");
  expect(await idFor("trace-7")).toBe("trace-7");
  expect(await idFor("with space")).toMatch(/^req-[0-9a-f]{32}$/);
  expect(await idFor("x".repeat(129))).toMatch(/^req-[0-9a-f]{32}$/);
  expect(server.log[0]).toMatchObject({ message: "request", requestId: "trace-7", route: "/health", status: 200 });
});

test("the access log tells of the model and tokens, and of errors; internal causes stay inside", async () => {
  await using server = new TestServer();
  await (await server.chat()).text();
  expect(server.log.at(-1)).toMatchObject({
    level: "info",
    method: "POST",
    route: "/v1/chat/completions",
    status: 200,
    model: MODEL,
    promptTokens: 19,
    outputTokens: 13,
  });
  server.replica.script = () => ({ pieces: [], failAt: { step: -1, error: new Error("secret") } });
  const error = await errorOf(await server.chat(), 500);
  expect(error).toMatchObject({ message: "The server met an internal error.", type: "server_error" });
  expect(server.log.at(-1)).toMatchObject({ level: "error", status: 500 });
  expect(String(server.log.at(-1)!.cause)).toContain("secret");
});

test("metrics: requests by route and code, latencies, and the replica's own numbers", async () => {
  await using server = new TestServer();
  server.replica.script = () => ({ pieces: ["a", "b", "c"], cachedTokens: 4 });
  await (await server.chat({ stream: true, n: 2 })).text();
  await (await server.chat({ n: 0 })).text();
  await fetch(`${server.url}/no/such/${"path".repeat(9)}`);
  const response = await fetch(`${server.url}/metrics`);
  expect(response.headers.get("content-type")).toContain("text/plain; version=0.0.4");
  const lines = (await response.text()).split("\n");
  for (const line of [
    'scalellm:http_requests_total{route="/v1/chat/completions",code="200"} 1',
    'scalellm:http_requests_total{route="/v1/chat/completions",code="400"} 1',
    'scalellm:http_requests_total{route="unmatched",code="404"} 1',
    `scalellm:request_success_total{model_name="${MODEL}",finished_reason="stop"} 2`,
    `scalellm:time_to_first_token_seconds_count{model_name="${MODEL}"} 1`,
    `scalellm:inter_token_latency_seconds_count{model_name="${MODEL}"} 4`,
    `scalellm:request_queue_time_seconds_sum{model_name="${MODEL}"} 0.5`,
    `scalellm:e2e_request_latency_seconds_count{model_name="${MODEL}"} 2`,
    `scalellm:request_prompt_tokens_sum{model_name="${MODEL}"} 19`,
    `scalellm:request_generation_tokens_sum{model_name="${MODEL}"} 6`,
    `scalellm:num_requests_running{model_name="${MODEL}"} 0`,
    `scalellm:num_requests_waiting{model_name="${MODEL}"} 3`,
    `scalellm:kv_cache_usage_perc{model_name="${MODEL}"} 0.25`,
    `scalellm:num_preemptions_total{model_name="${MODEL}"} 2`,
    `scalellm:prompt_tokens_cached_total{model_name="${MODEL}"} 40`,
    `scalellm:engine_steps_total{model_name="${MODEL}"} 9`,
    `scalellm:engine_step_seconds_total{model_name="${MODEL}"} 0.09`,
    `scalellm:engine_step_gap_seconds_total{model_name="${MODEL}"} 1.5`,
    `scalellm:spec_decode_num_draft_tokens_total{model_name="${MODEL}"} 8`,
    `scalellm:spec_decode_num_accepted_tokens_total{model_name="${MODEL}"} 5`,
  ]) {
    expect(lines).toContain(line);
  }
});

test("a second server cannot take the port", async () => {
  await using server = new TestServer();
  const other = new TestServer();
  await other.server.stop({ graceful: false });
  expect(() => new TestServer({ port: server.server.port })).toThrow();
});

test("HTTP/2 without TLS on the same port: a stream, and a cancelled one that frees its slot", async () => {
  await using server = new TestServer();
  const session = http2.connect(server.url);
  const body = { model: MODEL, messages: [{ role: "user", content: "Hi" }], stream: true };
  const open = () => {
    const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions" });
    stream.end(JSON.stringify(body));
    return stream;
  };
  const whole = open();
  let text = "";
  whole.on("data", (data) => {
    text += data;
  });
  await new Promise((resolve) => whole.once("end", resolve));
  expect((await events(new Response(text))).at(-1)).toBe("[DONE]");

  server.replica.script = () => ({
    pieces: ["a", "never"],
    before: (step) => (step === 1 ? new Promise(() => {}) : undefined),
  });
  const cut = open();
  cut.on("error", () => {});
  cut.once("data", () => cut.close(http2.constants.NGHTTP2_CANCEL));
  await server.replica.until(() => server.replica.aborted === 1 && server.replica.running === 0);
  session.destroy();
});

test("a request timeout counts from the arrival; without one nothing ends a request", async () => {
  for (const [requestTimeoutMs, leftMs] of [
    [0, undefined],
    [60_000, 60_000],
  ] as const) {
    await using server = new TestServer({ limits: { requestTimeoutMs } });
    await (await server.chat()).text();
    await (await server.complete({ stream: true })).text();
    for (const { deadlineMs } of server.replica.requests) {
      const left =
        deadlineMs === undefined ? undefined : Math.ceil((deadlineMs - systemClock.nowMs()) / 10_000) * 10_000;
      expect(left).toBe(leftMs);
    }
    expect(server.replica.requests).toHaveLength(2);
  }
});

test("a Connect handler gets its paths, checks keys itself, and others stay ours", async () => {
  const connectHandler = (request: Request) =>
    request.url.endsWith("/Known") ? request.text().then((text) => new Response(`rpc ${text}`)) : undefined;
  await using server = new TestServer({ connectHandler, keys: ["k"] });
  const call = (method: string) => server.post(`/scalellm.v1.InferenceService/${method}`, "body");
  const known = await call("Known");
  expect(await known.text()).toBe("rpc body");
  expect(known.headers.get("x-request-id")).toMatch(/^req-/);
  expect((await errorOf(await call("Unknown"), 404)).code).toBe("unknown_path");
  expect((await server.post("/scalellm.v2.X/Known", "body")).status).toBe(401);
  expect(server.log.filter((line) => line.route === "/scalellm.v1.*").length).toBe(2);
});

test("a call has one line in the access log: its own, or its HTTP request's where no call came of it", async () => {
  const { deps, logged } = createFixture();
  await using server = new TestServer({ connectHandler: createConnectHandler(deps) });
  const lines = async (method: string, body: string, headers: Record<string, string> = {}) => {
    const first = [logged.length, server.log.length];
    const response = await server.post(`/scalellm.v1.InferenceService/${method}`, body, {
      "content-type": "application/json",
      authorization: `Bearer ${API_KEY}`,
      ...headers,
    });
    await response.text();
    const requestId = response.headers.get("x-request-id");
    while (logged.length + server.log.length === first[0]! + first[1]!) await Bun.sleep(1);
    // Time for a second line, which there must not be.
    await Bun.sleep(20);
    const all = [...logged.slice(first[0]), ...server.log.slice(first[1])];
    return all.map((line) => [line.message, line.code ?? line.status, line.requestId === requestId]);
  };
  const stream = { "content-type": "application/connect+json" };
  const request = JSON.stringify({ model: SCRIPTED, text: "hi", sampling: { max_tokens: 2 } });
  const frame = `\0\0\0\0${String.fromCharCode(request.length)}${request}`;
  expect(await lines("ListModels", "{}")).toEqual([["rpc", "ok", true]]);
  expect(await lines("Complete", '{"model":"no"}')).toEqual([["rpc", "not_found", true]]);
  expect(await lines("ListModels", "{}", { authorization: "no" })).toEqual([["rpc", "unauthenticated", true]]);
  expect(await lines("Generate", frame, stream)).toEqual([["rpc", "ok", true]]);
  expect(await lines("ListModels", "{")).toEqual([["request", 400, true]]);
  expect(await lines("ListModels", "{}", { "content-type": "text/plain" })).toEqual([["request", 415, true]]);
  expect(await lines("Generate", "no frame", stream)).toEqual([["request", 200, true]]);
});

test("a refused call with a body too large to read past costs its connection", async () => {
  const { deps } = createFixture();
  await using server = new TestServer({ connectHandler: createConnectHandler(deps) });
  const client = await RawClient.connect(server.url);
  const headers = { "content-type": "application/json", "content-length": 2 ** 31 };
  client.request("POST", "/scalellm.v1.InferenceService/ListModels", headers);
  await client.until("401 Unauthorized");
  await client.untilClosed();
});
