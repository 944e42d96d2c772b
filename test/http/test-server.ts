import OpenAI from "openai";
import { LIMITS, type Limits } from "../../src/config/limits.ts";
import { systemClock } from "../../src/core/clock.ts";
import { Authentication } from "../../src/gateway/authentication.ts";
import { BrowserGuard } from "../../src/gateway/browser-guard.ts";
import { FailedAttempts } from "../../src/gateway/failed-attempts.ts";
import { Gateway, type ServedModel } from "../../src/gateway/gateway.ts";
import { DescriptorBound, processDescriptors } from "../../src/http/descriptor-bound.ts";
import type { HttpDeps } from "../../src/http/http-deps.ts";
import { Lifecycle } from "../../src/http/lifecycle.ts";
import { createHttpServer, type HttpServer } from "../../src/http/server.ts";
import { TurnBudget } from "../../src/http/turn-budget.ts";
import type { LogFields, Logger } from "../../src/metrics/logger.ts";
import { RefusalLog } from "../../src/metrics/refusal-log.ts";
import { ServerMetrics } from "../../src/metrics/server-metrics.ts";
import { FakeReplica } from "./fake-replica.ts";
import { FakeTextService } from "./fake-text-service.ts";

export const MODEL = "org/fake";
export const FINGERPRINT = "fp_0123456789";

export interface TestServerOptions {
  keys?: string[];
  corsOrigins?: string[];
  /** Beside addresses and localhost. */
  allowedHosts?: string[];
  limits?: Partial<Limits>;
  connectHandler?: HttpDeps["connectHandler"];
  grpcPort?: number;
  maxModelLen?: number;
  port?: number;
  /** The address to listen on; 127.0.0.1 where absent. */
  host?: string;
  /** Without a model yet. */
  loading?: boolean;
}

export interface LogLine extends LogFields {
  level: string;
  message: string;
}

/** A real server on a port of the system's choice, over a fake replica. `await using` stops it. */
export class TestServer implements AsyncDisposable {
  readonly replica = new FakeReplica();
  readonly text = new FakeTextService();
  readonly lifecycle = new Lifecycle();
  readonly log: LogLine[] = [];
  readonly server: HttpServer;

  constructor(options: TestServerOptions = {}) {
    const metrics = new ServerMetrics(systemClock);
    const gateway = new Gateway(metrics);
    const model: ServedModel = {
      name: MODEL,
      createdS: 1_700_000_000,
      maxModelLen: options.maxModelLen ?? 256,
      vocabSize: 258,
      text: this.text,
      systemFingerprint: FINGERPRINT,
      generationDefaults: { temperature: 0.7 },
    };
    if (!options.loading) gateway.add(model, this.replica);
    const limits = { ...LIMITS, ...options.limits };
    const host = options.host ?? "127.0.0.1";
    const authentication = new Authentication(options.keys ?? []);
    const corsOrigins = options.corsOrigins ?? [];
    const logger = this.logger();
    this.server = createHttpServer({
      listen: { host, port: options.port ?? 0 },
      gateway,
      authentication,
      failedAttempts: new FailedAttempts(systemClock, limits),
      browserGuard: new BrowserGuard({
        listenHost: host,
        authenticated: authentication.required,
        // What RawClient says.
        allowedHosts: options.allowedHosts ?? ["test"],
        corsOrigins,
      }),
      metrics,
      clock: systemClock,
      version: "1.2.3",
      limits,
      corsOrigins,
      lifecycle: this.lifecycle,
      turns: new TurnBudget(systemClock, limits),
      logger,
      refusals: new RefusalLog(logger, systemClock, limits.refusalLinesPerSecond),
      descriptors: new DescriptorBound(processDescriptors(), limits),
      connectHandler: options.connectHandler,
      grpcPort: () => options.grpcPort,
    });
  }

  get url(): string {
    return this.server.url;
  }

  openai(apiKey = "none"): OpenAI {
    return new OpenAI({ baseURL: `${this.url}/v1`, apiKey, maxRetries: 0 });
  }

  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return fetch(this.url + path, { method: "POST", body: text, headers });
  }

  /** Posts a chat of one message with more fields. */
  chat(fields: object = {}): Promise<Response> {
    return this.post("/v1/chat/completions", { model: MODEL, messages: [{ role: "user", content: "Hi" }], ...fields });
  }

  complete(fields: object = {}): Promise<Response> {
    return this.post("/v1/completions", { model: MODEL, prompt: "Hi", ...fields });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop({ graceful: false });
  }

  private logger(): Logger {
    const at =
      (level: string) =>
      (message: string, fields: LogFields = {}) =>
        void this.log.push({ level, message, ...fields });
    return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  }
}

/** The data of every event of a whole SSE body, parsed but for [DONE]. */
// biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came.
export async function events(response: Response): Promise<any[]> {
  const text = await response.text();
  return text
    .split("\n\n")
    .filter((event) => event.startsWith("data: "))
    .map((event) => (event === "data: [DONE]" ? "[DONE]" : JSON.parse(event.slice("data: ".length))));
}

/** The error of a refused request, after checking its status. */
export async function errorOf(response: Response, status: number): Promise<Record<string, string | null>> {
  const body = (await response.json()) as { error: Record<string, string | null> };
  if (response.status !== status) throw new Error(`status ${response.status}: ${JSON.stringify(body)}`);
  return body.error;
}
