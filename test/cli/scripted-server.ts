/** What a server answers to one chat completion: tokens to stream, or a refusal. */
export type Scripted =
  | { readonly tokens: readonly string[]; readonly promptTokens: number; readonly pauseMs?: number }
  | { readonly status: number; readonly error: { readonly message: string; readonly code?: string } }
  /** The connection breaks after the tokens. */
  | { readonly tokens: readonly string[]; readonly cut: true };

export interface ChatRequest {
  readonly messages: readonly { role: string; content: string }[];
  readonly [field: string]: unknown;
}

/** An OpenAI-compatible server that answers chats by a script. Stop it. */
export function scriptedServer(answer: (request: ChatRequest, index: number) => Scripted, maxModelLen?: number) {
  const requests: ChatRequest[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      if (new URL(request.url).pathname === "/v1/models")
        return Response.json({ data: [{ id: "scripted", max_model_len: maxModelLen }] });
      const body = (await request.json()) as ChatRequest;
      requests.push(body);
      const scripted = answer(body, requests.length - 1);
      if ("status" in scripted) return Response.json({ error: scripted.error }, { status: scripted.status });
      return new Response(stream(scripted), { headers: { "content-type": "text/event-stream" } });
    },
  });
  return { url: server.url.origin, requests, stop: () => server.stop(true) };
}

function stream(scripted: Exclude<Scripted, { status: number }>): ReadableStream<string> {
  const event = (data: unknown) => `data: ${JSON.stringify(data)}\n\n`;
  return new ReadableStream({
    async start(controller) {
      for (const content of scripted.tokens) {
        controller.enqueue(event({ choices: [{ delta: { content } }] }));
        if ("pauseMs" in scripted) await Bun.sleep(scripted.pauseMs ?? 0);
      }
      if ("cut" in scripted) {
        await Bun.sleep(20); // after the tokens have left
        controller.error(new Error("cut"));
        return;
      }
      const usage = { prompt_tokens: scripted.promptTokens, completion_tokens: scripted.tokens.length };
      controller.enqueue(event({ choices: [{ delta: {}, finish_reason: "stop" }] }));
      controller.enqueue(event({ choices: [], usage }));
      controller.enqueue("data: [DONE]\n\n");
      controller.close();
    },
  });
}
