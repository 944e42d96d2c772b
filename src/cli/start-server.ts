import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { locateLibrary } from "../backend/library.ts";
import type { Restart } from "../config/environment.ts";
import { LIMITS } from "../config/limits.ts";
import type { Settings } from "../config/options.ts";
import { systemClock } from "../core/clock.ts";
import { failureReason } from "../core/failure-reason.ts";
import type { SamplingParams } from "../core/sampling-params.ts";
import type { BackendConfig } from "../engine/backend-config.ts";
import type { EngineOptions } from "../engine/engine-options.ts";
import { Authentication } from "../gateway/authentication.ts";
import { isLoopback, urlHost } from "../gateway/authority.ts";
import { BrowserGuard } from "../gateway/browser-guard.ts";
import { FailedAttempts } from "../gateway/failed-attempts.ts";
import { Gateway } from "../gateway/gateway.ts";
import { createConnectHandler } from "../http/connect/create-connect-handler.ts";
import { DescriptorBound, processDescriptors } from "../http/descriptor-bound.ts";
import { createGrpcServer, type GrpcServer } from "../http/grpc/grpc-server.ts";
import { Lifecycle } from "../http/lifecycle.ts";
import { createHttpServer, type HttpServer } from "../http/server.ts";
import { TurnBudget } from "../http/turn-budget.ts";
import { createLogger, type Logger } from "../metrics/logger.ts";
import { RefusalLog } from "../metrics/refusal-log.ts";
import { ServerMetrics } from "../metrics/server-metrics.ts";
import type { OpenedModel } from "../model/spec.ts";
import { LocalReplica } from "../replica/local.ts";
import type { TextService } from "../text/text-service.ts";
import { createTextService } from "../text/worker-text-service.ts";
import { CliError } from "./command.ts";
import { resolveModel } from "./resolve-model.ts";
import { systemFingerprint } from "./system-fingerprint.ts";
import { VERSION } from "./version.ts";

/** A model that answers, for the banner. */
export interface ReadyModel {
  readonly name: string;
  readonly architecture: string;
  readonly quantization: string;
  readonly hasChatTemplate: boolean;
  /** What holds for a request that names none. */
  readonly sampling: Readonly<Partial<SamplingParams>>;
  readonly replica: LocalReplica;
}

export interface RunningServer {
  readonly url: string;
  /** host:port of native gRPC. */
  readonly grpcAddress: string | undefined;
  /** Where it listens: real ports, 0 for gRPC that is off. */
  readonly address: { readonly host: string; readonly port: number; readonly grpcPort: number };
  readonly logger: Logger;
  /** Counts and logs an error that nothing caught. */
  fault(error: unknown): void;
  /** Requests that run now. */
  readonly inFlight: number;
  /** Resolves when the model answers; rejects when it cannot be loaded. */
  readonly ready: Promise<ReadyModel>;
  /** Graceful: running requests end first. May be called again, not graceful, while the first call waits. */
  stop(graceful: boolean): Promise<void>;
}

/** The seams of a loaded model's way through the server. */
export interface ServerParts {
  readonly authentication: Authentication;
  readonly text: TextService;
  readonly replica: LocalReplica;
  readonly libraryPath: string;
}

export interface ServerHooks {
  /** For tests: another device than the settings'. */
  readonly backend?: BackendConfig;
  /** Called before the model takes its first request; `profile` measures there. */
  onParts?: (parts: ServerParts) => void;
  /** The replica met a fault that only a new process cures. */
  onFatal?: (error: Error) => void;
  /** Of a server that died: this one takes its ports, which a stand-in may still share. */
  restart?: Restart | undefined;
}

/**
 * Composes a server from its settings: HTTP and gRPC listen first, so that /health and /ready answer while the model
 * loads. Throws CliError when an address cannot be bound.
 */
export async function startServer(settings: Settings, hooks: ServerHooks = {}): Promise<RunningServer> {
  const clock = systemClock;
  const logger = createLogger({ level: settings.logLevel, format: settings.logFormat, clock });
  const metrics = new ServerMetrics(clock);
  metrics.describeBuild({ version: VERSION, bun: Bun.version, platform: process.platform, arch: process.arch });
  const gateway = new Gateway(metrics, hooks.restart?.retryAfterS);
  const authentication = new Authentication(settings.apiKey);
  const lifecycle = new Lifecycle();
  const limits = { ...LIMITS, requestTimeoutMs: settings.requestTimeout * 1000 };
  const listenHost = await addressOf(settings.host);
  const descriptors = new DescriptorBound(processDescriptors(), limits);
  const rpc = {
    gateway,
    authentication,
    failedAttempts: new FailedAttempts(clock, {
      ...limits,
      maxHeldRefusals: Math.min(limits.maxHeldRefusals, descriptors.mostConnections / 4),
    }),
    browserGuard: new BrowserGuard({
      listenHost,
      authenticated: authentication.required,
      allowedHosts: [...settings.allowedHost, settings.host.toLowerCase()],
      corsOrigins: settings.corsOrigin,
    }),
    clock,
    limits,
    lifecycle,
    logger,
    turns: new TurnBudget(clock, limits),
    refusals: new RefusalLog(logger, clock, limits.refusalLinesPerSecond),
    descriptors,
  };
  if (!isLoopback(listenHost) && !authentication.required) {
    logger.warn("listening beyond this machine without an API key: anyone who reaches the port can use the model", {
      host: settings.host,
    });
  }
  const port = hooks.restart?.port ?? settings.port;
  let grpc: GrpcServer | undefined;
  const http = listen(settings, () =>
    createHttpServer({
      listen: { host: settings.host, port, reusePort: hooks.restart !== undefined },
      ...rpc,
      metrics,
      version: VERSION,
      corsOrigins: settings.corsOrigin,
      grpcPort: () => grpc?.port,
      connectHandler: createConnectHandler(rpc),
    }),
  );
  try {
    if (settings.grpc) {
      const port = hooks.restart?.grpcPort ?? settings.grpcPort;
      grpc = await createGrpcServer(rpc, { hostname: settings.host, port, httpPort: http.port });
    }
  } catch (error) {
    await http.stop({ graceful: false });
    throw bindError(error, settings.host, settings.grpcPort, "--grpc-port", "--no-grpc");
  }
  const loading = loadModel(settings, gateway, authentication, logger, hooks).catch((error: Error) => {
    throw error instanceof CliError ? error : new CliError(`cannot load the model: ${error.message}`);
  });
  // The caller awaits it; a rejection before that must not end the process.
  loading.catch(() => {});
  return {
    url: http.url,
    grpcAddress: grpc && `${urlHost(settings.host)}:${grpc.port}`,
    address: { host: settings.host, port: http.port, grpcPort: grpc?.port ?? 0 },
    logger,
    fault(error) {
      metrics.countFault();
      logger.error("an error that nothing caught", { error });
    },
    get inFlight() {
      return lifecycle.inFlight;
    },
    ready: loading,
    async stop(graceful) {
      await Promise.all([http.stop({ graceful }), grpc?.close(graceful)]);
      await Promise.all(gateway.replicas().map((replica) => replica.close()));
      await Promise.all(gateway.models().map((model) => model.text.close()));
    },
  };
}

async function loadModel(
  settings: Settings,
  gateway: Gateway,
  authentication: Authentication,
  logger: Logger,
  hooks: ServerHooks,
): Promise<ReadyModel> {
  const [opened, libraryPath] = await Promise.all([
    resolveModel(settings.model, settings.revision),
    locateLibrary({ runtimeDir: settings.runtimeDir || undefined }),
  ]);
  const name = settings.servedModelName || opened.name;
  for (const warning of opened.warnings) logger.warn(warning, { model: name });
  const maxModelLen = settings.maxModelLen || opened.plan.spec.maxPositions;
  // Weights load in the engine Worker while the tokenizer is built here.
  const text = createTextService(opened.text, { maxModelLen });
  text.catch(() => {});
  const replica = await LocalReplica.start({
    name,
    backend: hooks.backend ?? backendConfig(settings, opened, libraryPath),
    engine: engineOptions(settings),
    tokenizer: text.then((service) => service.tokenizer),
    clock: systemClock,
    onNotice: (message) => logger.info(message, { model: name }),
    onFatal: (error) => {
      logger.error("the engine cannot go on", { model: name, error });
      hooks.onFatal?.(error);
    },
  }).catch(async (error: unknown) => {
    // Its Worker may be there already, and would keep the process.
    await text.then(
      (service) => service.close(),
      () => {},
    );
    throw error;
  });
  const textService = await text;
  hooks.onParts?.({ authentication, text: textService, replica, libraryPath });
  gateway.add(
    {
      name,
      createdS: systemClock.epochS(),
      maxModelLen: replica.engine.info.maxModelLen,
      vocabSize: opened.plan.spec.vocabSize,
      text: textService,
      systemFingerprint: systemFingerprint(opened, {
        version: VERSION,
        libraryPath,
        kernels: { isa: replica.engine.info.device, weights: settings.dtype, kv: settings.kvCacheDtype },
      }),
      generationDefaults: opened.generationDefaults,
      recommendedSampling: opened.recommendedSampling,
    },
    replica,
  );
  // What loading left behind (the vocabulary in several forms) is worth one pause before the first request.
  Bun.gc(true);
  const { hasChatTemplate } = textService;
  return {
    name,
    architecture: opened.plan.spec.architecture,
    quantization: opened.quantization,
    hasChatTemplate,
    sampling: { ...opened.recommendedSampling, ...opened.generationDefaults },
    replica,
  };
}

function backendConfig(settings: Settings, opened: OpenedModel, libraryPath: string): BackendConfig {
  return {
    kind: "load",
    load: {
      plan: opened.plan,
      libraryPath,
      weightFormat: settings.dtype,
      isa: settings.isa,
      numThreads: settings.threads,
      kvDtype: settings.kvCacheDtype,
      blockSize: settings.blockSize,
      kvCacheMemoryBytes: settings.kvCacheMemory,
      maxModelLen: settings.maxModelLen,
    },
  };
}

function engineOptions(settings: Settings): EngineOptions {
  return {
    maxNumSeqs: settings.maxNumSeqs,
    maxNumBatchedTokens: settings.maxNumBatchedTokens,
    maxQueue: settings.maxQueue,
    itlTargetMs: settings.itlTargetMs,
    prefixCaching: settings.prefixCaching,
    sharePrefixCache: settings.sharePrefixCache,
    asyncScheduling: settings.asyncScheduling,
    speculativeTokens: settings.speculativeTokens,
    kvIdleTimeoutMs: settings.kvIdleTimeout * 1000,
    // A client that knows the seed could make prompts collide.
    hashSeed: crypto.getRandomValues(new Uint32Array(1))[0]!,
  };
}

/** The address that a name to listen on stands for; the name itself where there is none, which listening will tell. */
async function addressOf(host: string): Promise<string> {
  try {
    return (await lookup(host)).address;
  } catch {
    return host;
  }
}

function listen(settings: Settings, create: () => HttpServer): HttpServer {
  try {
    return create();
  } catch (error) {
    throw bindError(error, settings.host, settings.port, "--port");
  }
}

function bindError(error: unknown, host: string, port: number, ...flags: string[]): CliError {
  const { code } = error as NodeJS.ErrnoException;
  // Ports below 1024 may be the privileged ones; what else can be wrong is the address.
  const isPort = code === "EADDRINUSE" || code === "EACCES";
  const choices = isPort ? flags : ["--host"];
  const address = `${urlHost(host)}:${port}`;
  return new CliError(
    `cannot listen on ${address}: ${bindReason(error, host)}. Choose another with ${choices.join(" or ")}.`,
  );
}

function bindReason(error: unknown, host: string): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "EACCES") return "permission denied; ports below 1024 are for root";
  if (code === "EADDRINUSE" || isIP(host) !== 0) return failureReason(error);
  // What Bun makes of a name that does not resolve differs from time to time.
  return "no such host, or none of this machine's addresses";
}
