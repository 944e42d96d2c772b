import type { Endpoint } from "../bench/types.ts";
import type { Settings } from "../config/options.ts";
import type { ServerHooks } from "./start-server.ts";

/** A server of this process alone: a free loopback port behind a random key. */
export interface PrivateServer {
  endpoint: Endpoint;
  apiKey: string;
  /** Tokens of the model's context. */
  maxModelLen: number;
  stop(): Promise<void>;
}

/**
 * Starts a server with the settings' model and waits until it answers. Throws CliError when it can't be loaded; nothing
 * is left running then, so that the command can end.
 */
export async function startPrivateServer(settings: Settings, hooks: ServerHooks = {}): Promise<PrivateServer> {
  // Loaded here: measuring a URL needs no engine.
  const { startServer } = await import("./start-server.ts");
  const apiKey = crypto.randomUUID();
  const own = { host: "127.0.0.1", port: 0, grpc: false, apiKey: [apiKey], corsOrigin: [], logLevel: "warn" } as const;
  const server = await startServer({ ...settings, ...own }, hooks);
  try {
    const { name, replica } = await server.ready;
    return {
      endpoint: { label: name, baseUrl: new URL("/v1", server.url), model: name },
      apiKey,
      maxModelLen: replica.engine.info.maxModelLen,
      stop: () => server.stop(false),
    };
  } catch (error) {
    await server.stop(false);
    throw error;
  }
}
