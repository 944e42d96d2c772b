import { CliError } from "./command.ts";

export interface ClientMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

export interface ChatEndpoint {
  /** Base URL without /v1. */
  readonly url: string;
  readonly apiKey: string | undefined;
  readonly model: string;
}

function headers(apiKey: string | undefined): Record<string, string> {
  return { "content-type": "application/json", ...(apiKey ? { authorization: `Bearer ${apiKey}` } : {}) };
}

async function check(response: Response, url: string): Promise<Response> {
  if (response.ok) return response;
  const body = (await response.json().catch(() => undefined)) as { error?: { message?: string } } | undefined;
  throw new CliError(`${url} answered ${response.status}: ${body?.error?.message ?? response.statusText}`);
}

/** Finds the model to talk to: the named one, or the only one the server lists. */
export async function connectChat(
  url: string,
  apiKey: string | undefined,
  model: string | undefined,
): Promise<ChatEndpoint> {
  const base = url.replace(/\/+$/, "").replace(/\/v1$/, "");
  const response = await fetch(`${base}/v1/models`, { headers: headers(apiKey) }).catch((error: Error) => {
    throw new CliError(`cannot reach ${base}: ${error.message}`);
  });
  const listed = ((await (await check(response, base)).json()) as { data: { id: string }[] }).data.map(
    (item) => item.id,
  );
  const chosen = model ?? listed[0];
  if (!chosen) throw new CliError(`${base} serves no model`);
  if (!listed.includes(chosen))
    throw new CliError(`${base} does not serve '${chosen}'; it serves ${listed.join(", ")}`);
  return { url: base, apiKey, model: chosen };
}

/** Streams an answer as text deltas. Throws CliError with the server's message; ends early when `signal` aborts. */
export async function* streamChat(
  endpoint: ChatEndpoint,
  messages: readonly ClientMessage[],
  options: Record<string, unknown>,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const response = await fetch(`${endpoint.url}/v1/chat/completions`, {
    method: "POST",
    headers: headers(endpoint.apiKey),
    body: JSON.stringify({ model: endpoint.model, messages, stream: true, ...options }),
    signal,
  });
  await check(response, endpoint.url);
  let rest = "";
  const decoder = new TextDecoder();
  for await (const bytes of response.body!) {
    rest += decoder.decode(bytes, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      const chunk = JSON.parse(line.slice(6)) as {
        error?: { message: string };
        choices?: { delta: { content?: string | null } }[];
      };
      if (chunk.error) throw new CliError(chunk.error.message);
      const text = chunk.choices?.[0]?.delta.content;
      if (text) yield text;
    }
  }
}
