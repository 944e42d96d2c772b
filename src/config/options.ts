import {
  parseApiKey,
  parseBoolean,
  parseBytes,
  parseChoice,
  parseDescriptor,
  parseHost,
  parseHostName,
  parseInteger,
  parseNumber,
  parseOrigin,
  parseText,
} from "./parse.ts";

/** One setting: its flag is --NAME, its environment variable SCALELLM_NAME, its key in a file name or na_me. */
export interface Option<T> {
  readonly name: string;
  readonly value: T;
  /** What a value looks like, for --help. Absent for switches. */
  readonly hint?: string;
  readonly help: string;
  readonly group: string;
  /** May be given several times (flags) or as a list (files); commas separate in the environment. */
  readonly list?: true;
  /** Where keys come from: a child process gets them from its supervisor instead. */
  readonly secret?: true;
  /** Decides who may use the server, or what is kept from others: set but empty, in any layer, is an error. */
  readonly security?: true;
  parse(text: string): T extends readonly (infer U)[] ? U : T;
}

type Scalar<T> = T extends readonly (infer U)[] ? U : T;

function option<T>(
  group: string,
  name: string,
  value: T,
  hint: string | undefined,
  help: string,
  parse: (text: string) => Scalar<T>,
  extra: { list?: true; secret?: true; security?: true } = {},
): Option<T> {
  return {
    group,
    name,
    value,
    help,
    parse: parse as Option<T>["parse"],
    ...(hint === undefined ? {} : { hint }),
    ...extra,
  };
}

const text = (value: string) => value;
const integer = (low: number, high: number) => (value: string) => parseInteger(value, low, high);
const choice =
  <const C extends string>(...choices: C[]) =>
  (value: string) =>
    parseChoice(value, choices) as C;

const MODEL = "Model";
const SERVER = "Server";
const ENGINE = "Engine";
const LOG = "Logging";

/** The settings of `serve`, and of every command that runs a model in-process. */
export const OPTIONS = {
  model: option<string>(
    MODEL,
    "model",
    "",
    "FILE|FOLDER|ORG/NAME[:FILE]",
    "GGUF file, Hugging Face folder or hub id; default: the bundled model",
    text,
  ),
  servedModelName: option<string>(
    MODEL,
    "served-model-name",
    "",
    "NAME",
    "the name clients use; default: the model's own",
    text,
  ),
  dtype: option<"auto" | "float32" | "bfloat16" | "int8">(
    MODEL,
    "dtype",
    "auto",
    "auto|float32|bfloat16|int8",
    "format of the weights in memory; auto keeps the checkpoint's",
    choice("auto", "float32", "bfloat16", "int8"),
  ),
  maxModelLen: option<number>(
    MODEL,
    "max-model-len",
    0,
    "TOKENS",
    "longest context; default: the checkpoint's",
    integer(0, 2 ** 24),
  ),
  revision: option<string>(MODEL, "revision", "main", "REV", "branch, tag or commit of a hub id", text),

  host: option<string>(
    SERVER,
    "host",
    "127.0.0.1",
    "ADDRESS",
    "address to listen on; 0.0.0.0 for every interface",
    parseHost,
    { security: true },
  ),
  port: option<number>(
    SERVER,
    "port",
    8000,
    "PORT",
    "HTTP: OpenAI API, Connect and gRPC-Web; 0 lets the system choose",
    integer(0, 65535),
  ),
  grpc: option<boolean>(SERVER, "grpc", true, undefined, "serve native gRPC", parseBoolean),
  grpcPort: option<number>(
    SERVER,
    "grpc-port",
    50051,
    "PORT",
    "native gRPC, with health and reflection; 0 lets the system choose",
    integer(0, 65535),
  ),
  apiKey: option<readonly string[]>(
    SERVER,
    "api-key",
    [],
    "KEY",
    "require one of these keys on everything but /health and /ready; flags show in ps, files do not",
    parseApiKey,
    { list: true, secret: true, security: true },
  ),
  apiKeyFile: option<string>(
    SERVER,
    "api-key-file",
    "",
    "FILE",
    "more such keys, one a line; lines that begin with # are comments",
    parseText,
    { secret: true, security: true },
  ),
  apiKeyFd: option<string>(
    SERVER,
    "api-key-fd",
    "",
    "N",
    "the same from an open file descriptor; 0 is standard input",
    parseDescriptor,
    { secret: true, security: true },
  ),
  allowedHost: option<readonly string[]>(
    SERVER,
    "allowed-host",
    [],
    "NAME",
    "a name clients reach a server without keys by, beside addresses and localhost; * for any",
    parseHostName,
    { list: true, security: true },
  ),
  corsOrigin: option<readonly string[]>(
    SERVER,
    "cors-origin",
    [],
    "ORIGIN",
    "allow web pages of this origin (such as https://app.example); * for all",
    parseOrigin,
    { list: true, security: true },
  ),
  requestTimeout: option<number>(
    SERVER,
    "request-timeout",
    0,
    "SECONDS",
    "longest time for a request, from its arrival to its last token; 0: no limit",
    integer(0, 86400),
  ),
  drainTimeout: option<number>(
    SERVER,
    "drain-timeout",
    30,
    "SECONDS",
    "how long a stopping server lets its streams finish",
    integer(0, 86400),
  ),
  supervise: option<boolean>(
    SERVER,
    "supervise",
    true,
    undefined,
    "run the server in a child process and restart it when it dies",
    parseBoolean,
  ),
  runtimeDir: option<string>(
    SERVER,
    "runtime-dir",
    "",
    "FOLDER",
    "where to put the kernel library if the temporary folder is read-only or noexec",
    text,
  ),

  threads: option<number>(
    ENGINE,
    "threads",
    0,
    "N",
    "compute threads; default: one a core, within a CPU quota",
    integer(0, 1024),
  ),
  kvCacheMemory: option<number>(
    ENGINE,
    "kv-cache-memory",
    0,
    "SIZE",
    "memory for the KV cache, such as 2GiB, which is taken as it fills; default: from what is free within all limits",
    parseBytes,
  ),
  kvIdleTimeout: option<number>(
    ENGINE,
    "kv-idle-timeout",
    300,
    "SECONDS",
    "give memory of the KV cache back that nobody used for this long, cached prefixes included; 0: never",
    integer(0, 86400),
  ),
  kvCacheDtype: option<"auto" | "float32" | "float16" | "bfloat16" | "int8">(
    ENGINE,
    "kv-cache-dtype",
    "auto",
    "auto|float32|float16|bfloat16|int8",
    "format of the KV cache; auto: float32 with --dtype float32, else bfloat16 or float16, whichever is faster here",
    choice("auto", "float32", "float16", "bfloat16", "int8"),
  ),
  blockSize: option<number>(ENGINE, "block-size", 16, "TOKENS", "tokens a KV block: a power of two", integer(8, 256)),
  maxNumSeqs: option<number>(ENGINE, "max-num-seqs", 64, "N", "most sequences in one step", integer(1, 1024)),
  maxNumBatchedTokens: option<number>(
    ENGINE,
    "max-num-batched-tokens",
    512,
    "N",
    "most tokens in one step",
    integer(16, 65536),
  ),
  maxQueue: option<number>(
    ENGINE,
    "max-queue",
    1024,
    "N",
    "most requests that wait; beyond it clients get 429",
    integer(1, 1_000_000),
  ),
  itlTargetMs: option<number>(
    ENGINE,
    "itl-target-ms",
    100,
    "MS",
    "keep the gap between a running stream's tokens under this while prompts arrive; 0: off",
    (value) => parseNumber(value, 0, 60_000),
  ),
  prefixCaching: option<boolean>(
    ENGINE,
    "prefix-caching",
    true,
    undefined,
    "reuse the KV blocks of shared prompt prefixes",
    parseBoolean,
  ),
  sharePrefixCache: option<boolean>(
    ENGINE,
    "share-prefix-cache",
    false,
    undefined,
    "let tenants share cached prefixes; a cached count can then tell one what another asked",
    parseBoolean,
    { security: true },
  ),
  asyncScheduling: option<boolean>(
    ENGINE,
    "async-scheduling",
    true,
    undefined,
    "prepare a step while the one before it computes",
    parseBoolean,
  ),
  speculativeTokens: option<number>(
    ENGINE,
    "speculative-tokens",
    0,
    "N",
    "draft up to N tokens by prompt lookup; 0: off",
    integer(0, 16),
  ),
  isa: option<"auto" | "portable" | "avx2" | "avx512" | "amx" | "neon">(
    ENGINE,
    "isa",
    "auto",
    "auto|portable|avx2|avx512|amx|neon",
    "instruction set of the CPU kernels",
    choice("auto", "portable", "avx2", "avx512", "amx", "neon"),
  ),

  logLevel: option<"debug" | "info" | "warn" | "error">(
    LOG,
    "log-level",
    "info",
    "debug|info|warn|error",
    "least severe line to print",
    choice("debug", "info", "warn", "error"),
  ),
  logFormat: option<"pretty" | "json">(
    LOG,
    "log-format",
    "pretty",
    "pretty|json",
    "log lines for people or for machines",
    choice("pretty", "json"),
  ),
} as const;

export type Settings = {
  readonly [K in keyof typeof OPTIONS]: (typeof OPTIONS)[K] extends Option<infer T> ? T : never;
};
export type SettingName = keyof typeof OPTIONS;
