import { ServeError } from "../core/errors.ts";
import { failureReason } from "../core/failure-reason.ts";
import type { ApiKind, Endpoint } from "./types.ts";

/** Counts the tokens of a prompt as the server sees it: of a chat with one user message, or of a completion's prompt. */
export interface TokenCounter {
  source: "tokenize" | "usage";
  count(prompt: string): Promise<number>;
}

/** What of an exact output length this server accepts; found by asking. */
export interface RequestDialect {
  /** `ignore_eos` and `min_tokens`, as vLLM and llama.cpp have them. */
  exactLength: boolean;
  /** `repetition_penalty: 1`: a model's own default would change its speed and its text, and OpenAI has no such field. */
  plainSampling: boolean;
  /** OpenAI's newer models refuse `max_tokens` in chats. */
  maxTokensField: "max_tokens" | "max_completion_tokens";
  /** `stream_options: {include_usage: true}`. */
  usage: boolean;
}

const DIALECTS: readonly RequestDialect[] = [
  { exactLength: true, plainSampling: true, maxTokensField: "max_tokens", usage: true },
  { exactLength: false, plainSampling: true, maxTokensField: "max_tokens", usage: true },
  { exactLength: false, plainSampling: false, maxTokensField: "max_tokens", usage: true },
  { exactLength: false, plainSampling: false, maxTokensField: "max_completion_tokens", usage: true },
  { exactLength: false, plainSampling: false, maxTokensField: "max_tokens", usage: false },
];
/** A probe may wait for a model to be loaded. */
const CONTROL_TIMEOUT_MS = 120_000;
/** A server that has no model yet is asked again for a minute: it may have been started a moment ago. */
const LOADING_TRIES = 60;
const LOADING_PAUSE_MS = 1000;

/** The calls beside the measured ones: they may be slow, so plain fetch does. Errors are ServeErrors that say what to do. */
export class EndpointApi {
  readonly endpoint: Endpoint;
  readonly kind: ApiKind;
  readonly headers: Readonly<Record<string, string>>;
  model = "";
  dialect: RequestDialect = DIALECTS[0]!;

  constructor(endpoint: Endpoint, kind: ApiKind, headers: Readonly<Record<string, string>>) {
    this.endpoint = endpoint;
    this.kind = kind;
    this.headers = headers;
  }

  get path(): string {
    return this.kind === "chat" ? "chat/completions" : "completions";
  }

  /**
   * Finds the model's name and the dialect; throws when the server can't be reached or refuses every dialect. Calls
   * `onWait` when the server has no model yet, and waits for it until `signal` aborts.
   */
  async probe(exactLength: boolean, onWait: () => void, signal: AbortSignal): Promise<void> {
    this.model = this.endpoint.model ?? (await this.#firstModel(onWait, signal));
    let refusal = "";
    for (const dialect of DIALECTS) {
      if (dialect.exactLength && !exactLength) continue;
      this.dialect = dialect;
      const response = await this.#post(this.#url(this.path), this.body("Hello", 2));
      const reply = await response.text();
      if (response.ok) return;
      refusal = `${response.status} ${reply.slice(0, 300)}`;
      if (response.status !== 400 && response.status !== 422) break;
    }
    throw new ServeError("unavailable", `${this.endpoint.label}: the server refused a short request: ${refusal}`);
  }

  /** A request body in this server's dialect. */
  body(prompt: string | readonly { role: string; content: string }[], maxTokens: number): Record<string, unknown> {
    const { exactLength, plainSampling, maxTokensField, usage } = this.dialect;
    const input =
      this.kind === "completions"
        ? { prompt }
        : { messages: typeof prompt === "string" ? [{ role: "user", content: prompt }] : prompt };
    return {
      model: this.model,
      ...input,
      stream: true,
      temperature: 0,
      ...(plainSampling ? { repetition_penalty: 1 } : {}),
      [this.kind === "chat" ? maxTokensField : "max_tokens"]: maxTokens,
      ...(exactLength ? { ignore_eos: true, min_tokens: maxTokens } : {}),
      ...(usage ? { stream_options: { include_usage: true } } : {}),
    };
  }

  /** By `/tokenize` (vLLM's and ours) when it agrees with usage, else by the usage of one-token requests. */
  async tokenCounter(): Promise<TokenCounter | undefined> {
    const probe = "Words: one two three";
    const byUsage = await this.#countByUsage(probe);
    const byTokenize = await this.#countByTokenize(probe);
    if (byTokenize !== undefined && (byUsage === undefined || byUsage === byTokenize))
      return { source: "tokenize", count: async (prompt) => (await this.#countByTokenize(prompt)) ?? Number.NaN };
    if (byUsage === undefined) return undefined;
    return { source: "usage", count: async (prompt) => (await this.#countByUsage(prompt)) ?? Number.NaN };
  }

  async #countByUsage(prompt: string): Promise<number | undefined> {
    const { stream_options: _, ...body } = this.body(prompt, 1);
    const response = await this.#post(this.#url(this.path), { ...body, stream: false });
    return numberAt(await jsonOf(response), "usage", "prompt_tokens");
  }

  async #countByTokenize(prompt: string): Promise<number | undefined> {
    const input = this.kind === "completions" ? { prompt } : { messages: [{ role: "user", content: prompt }] };
    try {
      const response = await this.#post(new URL("/tokenize", this.endpoint.baseUrl), { model: this.model, ...input });
      return numberAt(await jsonOf(response), "count");
    } catch {
      // A gateway without this path may answer anything; usage counts then.
      return undefined;
    }
  }

  async #firstModel(onWait: () => void, signal: AbortSignal): Promise<string> {
    for (let tries = 1; ; tries++) {
      const response = await this.#send(this.#url("models"), { headers: this.headers });
      const reply = await jsonOf(response);
      const data = typeof reply === "object" && reply !== null && "data" in reply ? reply.data : undefined;
      const id = Array.isArray(data) ? data[0]?.id : undefined;
      if (typeof id === "string") return id;
      const mayBeLoading = response.status === 503 || (Array.isArray(data) && data.length === 0);
      if (!mayBeLoading || tries === LOADING_TRIES || signal.aborted)
        throw new ServeError(
          "unavailable",
          `${this.endpoint.label}: GET /v1/models (${response.status}) lists no model; name one with URL#MODEL.`,
        );
      onWait();
      await new Promise((resolve) => setTimeout(resolve, LOADING_PAUSE_MS));
    }
  }

  #url(path: string): URL {
    return new URL(`${this.endpoint.baseUrl.pathname.replace(/\/$/, "")}/${path}`, this.endpoint.baseUrl);
  }

  #post(url: URL, body: unknown): Promise<Response> {
    const headers = { ...this.headers, "content-type": "application/json" };
    return this.#send(url, { method: "POST", headers, body: JSON.stringify(body) });
  }

  async #send(url: URL, init: RequestInit): Promise<Response> {
    try {
      return await fetch(url, { ...init, signal: AbortSignal.timeout(CONTROL_TIMEOUT_MS) });
    } catch (cause) {
      const why = failureReason(cause);
      throw new ServeError("unavailable", `${this.endpoint.label}: cannot reach ${url.href}: ${why}`, { cause });
    }
  }
}

/** The body of a good reply; undefined for a refusal, and for what is not JSON. */
async function jsonOf(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return response.ok ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}

function numberAt(value: unknown, ...path: string[]): number | undefined {
  let at: unknown = value;
  for (const key of path) at = typeof at === "object" && at !== null ? Reflect.get(at, key) : undefined;
  return typeof at === "number" ? at : undefined;
}
