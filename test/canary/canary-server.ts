import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { LIMITS } from "../../src/config/limits.ts";
import { systemClock } from "../../src/core/clock.ts";
import { workerUrl } from "../../src/core/worker-url.ts";
import { Authentication } from "../../src/gateway/authentication.ts";
import { Gateway } from "../../src/gateway/gateway.ts";
import { InferenceService } from "../../src/gen/scalellm/v1/inference_pb.ts";
import { createConnectHandler } from "../../src/http/connect/create-connect-handler.ts";
import { createGrpcServer } from "../../src/http/grpc/grpc-server.ts";
import { createHttpServer } from "../../src/http/server.ts";
import { ServerMetrics } from "../../src/metrics/server-metrics.ts";
import type { LocalReplica } from "../../src/replica/local.ts";
import type { TextService } from "../../src/text/text-service.ts";
import { createTextService } from "../../src/text/worker-text-service.ts";
import { createFixture } from "../http/connect-fixture.ts";
import { startReplica } from "../replica/fixture.ts";
import { bundledSource } from "../text/sources.ts";

export const CANARY_MODEL = "canary";
const MAX_MODEL_LEN = 2048;

/** Where a fault can be thrown, once, after it was armed. */
export const SEAMS = [
  "new text Worker",
  "post to the text Worker",
  "text Worker dies",
  "tokenizer of short texts",
  "detokenizer",
  "bytes of a token",
  "replica refuses to begin",
  "replica fails while it begins",
  "post to the engine",
  "message of the engine",
  "metrics",
] as const;
export type Seam = (typeof SEAMS)[number];

const TEMPLATE = [
  "{% set ns = namespace(x='ab') %}",
  "{% if raise is defined %}{{ raise_exception(raise) }}{% endif %}",
  "{% if grow is defined %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{% endif %}",
  "{% if spin is defined %}{% set r = range(3000) %}{% for i in r %}{% for j in r %}{% for k in r %}{% endfor %}{% endfor %}{% endfor %}{% endif %}",
  "{% if wrong is defined %}{{ messages + 1 }}{% endif %}",
  "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}",
].join("");

/** A whole server (HTTP, Connect, gRPC, real text service, real replica over a fake device) with faults at its seams. */
export class CanaryServer implements AsyncDisposable {
  armed: Seam | undefined;
  readonly grpc: Client<typeof InferenceService>;

  private constructor(
    readonly url: string,
    grpcPort: number,
    readonly replica: LocalReplica,
    readonly text: TextService,
    readonly inFlight: () => number,
    private readonly stop: () => Promise<unknown>,
  ) {
    this.grpc = createClient(InferenceService, createGrpcTransport({ baseUrl: `http://127.0.0.1:${grpcPort}` }));
  }

  static async start(): Promise<CanaryServer> {
    let server: CanaryServer | undefined;
    const strike = (seam: Seam) => {
      if (server?.armed !== seam) return;
      server.armed = undefined;
      throw new Error(`fault: ${seam}`);
    };
    const createWorker = () => {
      strike("new text Worker");
      const worker = new Worker(workerUrl("text/tokenizer-worker.ts"));
      const post = worker.postMessage.bind(worker) as (message: unknown) => void;
      worker.postMessage = (message: unknown) => {
        strike("post to the text Worker");
        post(message);
        // So that another has to be created.
        if (server?.armed === "new text Worker") worker.terminate();
        if (server?.armed === "text Worker dies") {
          server.armed = undefined;
          worker.terminate();
        }
      };
      return worker;
    };
    const source = { ...bundledSource(), chatTemplate: TEMPLATE };
    const text = await createTextService(source, {
      maxModelLen: MAX_MODEL_LEN,
      createWorker,
      limits: { laneRestartMs: 20 },
    });
    const { tokenizer } = text;
    before(tokenizer, "encode", () => strike("tokenizer of short texts"));
    before(tokenizer, "tokenText", () => strike("detokenizer"));
    before(tokenizer, "tokenBytes", () => strike("bytes of a token"));

    const clock = {
      ...systemClock,
      nowMs() {
        if (server?.armed === "message of the engine" && new Error().stack!.includes("onStep")) {
          strike("message of the engine");
        }
        return systemClock.nowMs();
      },
    };
    const replica = await startReplica({
      fake: { vocabSize: tokenizer.vocabSize, maxModelLen: MAX_MODEL_LEN, numBlocks: 1024 },
      replica: { tokenizer, clock },
    });
    before(replica, "generate", () => strike("replica refuses to begin"));
    const generate = replica.generate.bind(replica);
    replica.generate = (request, signal) => {
      const events = generate(request, signal);
      return {
        [Symbol.asyncIterator]() {
          strike("replica fails while it begins");
          return events[Symbol.asyncIterator]();
        },
      };
    };
    const { postMessage } = MessagePort.prototype;
    MessagePort.prototype.postMessage = function (this: MessagePort, ...args: unknown[]) {
      if ((args[0] as { type?: string } | undefined)?.type === "add") strike("post to the engine");
      return postMessage.apply(this, args as Parameters<typeof postMessage>);
    } as typeof postMessage;

    const { deps } = createFixture({}, { keyless: true });
    const metrics = new ServerMetrics(systemClock);
    before(metrics, "observe", () => strike("metrics"));
    const gateway = new Gateway(metrics);
    const model = { name: CANARY_MODEL, createdS: 0, maxModelLen: MAX_MODEL_LEN, vocabSize: tokenizer.vocabSize };
    gateway.add({ ...model, text, systemFingerprint: "fp_0", generationDefaults: {} }, replica);
    const rpc = { ...deps, gateway, limits: LIMITS };
    const http = createHttpServer({
      ...rpc,
      listen: { host: "127.0.0.1", port: 0 },
      authentication: new Authentication([]),
      metrics,
      version: "test",
      corsOrigins: [],
      connectHandler: createConnectHandler(rpc),
    });
    const grpc = await createGrpcServer(rpc, { hostname: "127.0.0.1", port: 0 });
    const stop = async () => {
      MessagePort.prototype.postMessage = postMessage;
      await Promise.all([http.stop({ graceful: false }), grpc.close(false)]);
      await replica.close();
      await text.close();
    };
    server = new CanaryServer(http.url, grpc.port, replica, text, () => deps.lifecycle.inFlight, stop);
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Calls `hook` before a method of an object. */
function before<T extends object>(object: T, name: keyof T, hook: () => void): void {
  const method = object[name] as (...args: unknown[]) => unknown;
  Object.defineProperty(object, name, {
    value: (...args: unknown[]) => {
      hook();
      return method.apply(object, args);
    },
    writable: true,
    configurable: true,
  });
}
