import { failureReason } from "../core/failure-reason.ts";
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
  /** What errors call it: a server's URL; a model loaded in this process has an address that concerns nobody. */
  readonly label: string;
  /** Tokens of its context, where the server tells. */
  readonly maxModelLen: number | undefined;
}

/** What a stream yields: text as it comes, and its end. */
export type ChatEvent =
  | { readonly type: "text"; readonly text: string }
  | {
      readonly type: "end";
      readonly finishReason: string | undefined;
      /** Undefined from a server that does not tell. */
      readonly usage: { readonly promptTokens: number; readonly completionTokens: number } | undefined;
    };

/** The server refused the request: the context has no room for it. */
export class ContextFullError extends CliError {}

/** Time for a server to say which models it has. */
const CONNECT_TIMEOUT_MS = 10_000;

/** A URL without its /v1, with http:// where no scheme is given. Throws CliError for what is none. */
export function serverUrl(text: string): string {
  const address = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  if (!URL.canParse(address) || !/^https?:$/.test(new URL(address).protocol)) {
    throw new CliError(`--url ${text}: expected the URL of a server, such as http://127.0.0.1:8000`, 2);
  }
  return address.replace(/\/+$/, "").replace(/\/v1$/, "");
}

/** Finds the model to talk to at a URL: the named one, or the first that the server lists. Throws CliError. */
export async function connectChat(
  url: string,
  apiKey: string | undefined,
  model: string | undefined,
): Promise<ChatEndpoint> {
  const base = serverUrl(url);
  const endpoint = { url: base, apiKey, label: base };
  const response = await send(endpoint, "/v1/models", { signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) });
  const listed = listedModels(await response.json().catch(() => undefined));
  if (listed === undefined) throw new CliError(`${base} is no OpenAI-compatible server: /v1/models lists no models`);
  const chosen = model === undefined ? listed[0] : listed.find(({ id }) => id === model);
  if (chosen !== undefined) return { ...endpoint, model: chosen.id, maxModelLen: chosen.max_model_len };
  if (listed.length === 0) throw new CliError(`${base} serves no model`);
  throw new CliError(`${base} does not serve '${model}'; it serves ${listed.map(({ id }) => id).join(", ")}`);
}

/**
 * Streams an answer. Throws ContextFullError, or CliError with the server's message or what happened to the connection;
 * when `signal` aborts, the signal's reason.
 */
export async function* streamChat(
  endpoint: ChatEndpoint,
  messages: readonly ClientMessage[],
  options: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
): AsyncGenerator<ChatEvent> {
  const request = {
    model: endpoint.model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
    ...options,
  };
  const response = await send(endpoint, "/v1/chat/completions", {
    method: "POST",
    body: JSON.stringify(request),
    signal,
  });
  let finishReason: string | undefined;
  let usage: { prompt_tokens: number; completion_tokens: number } | undefined;
  try {
    for await (const chunk of chunksOf(response)) {
      if (chunk.error) throw new CliError(chunk.error.message);
      const [choice] = chunk.choices ?? [];
      usage = chunk.usage ?? usage;
      finishReason = choice?.finish_reason ?? finishReason;
      if (choice?.delta?.content) yield { type: "text", text: choice.delta.content };
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw error instanceof CliError ? error : new CliError(`${endpoint.label} broke off: ${failureReason(error)}`);
  }
  yield {
    type: "end",
    finishReason,
    usage: usage && { promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens },
  };
}

interface Chunk {
  error?: { message: string };
  choices?: { delta?: { content?: string | null }; finish_reason?: string | null }[];
  usage?: { prompt_tokens: number; completion_tokens: number } | null;
}

async function* chunksOf(response: Response): AsyncGenerator<Chunk> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const bytes of response.body!) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      const data = /^data: ?(.*?)\r?$/.exec(line)?.[1];
      if (data !== undefined && data !== "[DONE]") yield JSON.parse(data) as Chunk;
    }
  }
}

async function send(
  endpoint: Pick<ChatEndpoint, "url" | "apiKey" | "label">,
  path: string,
  init: RequestInit & { signal: AbortSignal },
): Promise<Response> {
  const key: Record<string, string> = endpoint.apiKey ? { authorization: `Bearer ${endpoint.apiKey}` } : {};
  const headers = { "content-type": "application/json", ...key };
  let response: Response;
  try {
    response = await fetch(endpoint.url + path, { ...init, headers });
  } catch (error) {
    // A limit on time is one of ours; any other abort is the caller's own doing.
    if (init.signal.aborted && init.signal.reason?.name !== "TimeoutError") throw init.signal.reason;
    throw new CliError(`cannot reach ${endpoint.label}: ${failureReason(error)}`);
  }
  if (response.ok) return response;
  const body = (await response.json().catch(() => undefined)) as
    | { error?: { message?: string; code?: string | null } }
    | undefined;
  const message = body?.error?.message ?? response.statusText;
  if (body?.error?.code === "context_length_exceeded") throw new ContextFullError(message);
  throw new CliError(`${endpoint.label} answered ${response.status}: ${message}`);
}

function listedModels(reply: unknown): { id: string; max_model_len?: number }[] | undefined {
  const data = typeof reply === "object" && reply !== null && "data" in reply ? reply.data : undefined;
  return Array.isArray(data) && data.every((item) => typeof item?.id === "string") ? data : undefined;
}
