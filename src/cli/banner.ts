import { wantsColor } from "../config/environment.ts";
import type { Settings } from "../config/options.ts";
import { samplingField } from "../core/sampling-fields.ts";
import type { SamplingParams } from "../core/sampling-params.ts";
import { formatBytes, formatCount } from "./format.ts";
import type { ReadyModel, RunningServer } from "./start-server.ts";
import { VERSION } from "./version.ts";

/** What `serve` prints once: everything a person needs to use the server and to see that it is the right one. */
export function banner(settings: Settings, server: RunningServer, model: ReadyModel, startMs: number): string {
  const bold = (text: string) => (wantsColor(process.stdout) ? `\x1b[1m${text}\x1b[0m` : text);
  const { replica } = model;
  const { info } = replica.engine;
  const kvTokens = info.numBlocks * info.blockSize;
  const sampling = Object.entries(model.sampling)
    .map(([field, value]) => `${samplingField(field as keyof SamplingParams).name} ${value}`)
    .join(", ");
  const rows: Array<readonly [string, string]> = [
    [
      "model",
      `${model.name} (${model.architecture}, ${model.quantization}, ${formatBytes(info.weightBytes)} of weights)`,
    ],
    ["backend", `${info.name}, ${info.device}, ${info.numThreads} ${info.numThreads === 1 ? "thread" : "threads"}`],
    ["context", `${formatCount(info.maxModelLen)} tokens`],
    [
      "KV cache",
      `${formatCount(kvTokens)} tokens in blocks of ${info.blockSize}, up to ${formatBytes(info.numBlocks * info.kvBlockBytes)} of memory`,
    ],
    ...(sampling === "" ? [] : [["sampling", `${sampling}, where a request names none`] as const]),
    ["sequences", `up to ${settings.maxNumSeqs} at once, ${settings.maxQueue} waiting`],
    ["HTTP", `${server.url}/v1  (OpenAI API, Connect, gRPC-Web)`],
    ...(server.grpcAddress ? [["gRPC", server.grpcAddress] as const] : []),
    ["access", settings.apiKey.length > 0 ? "with an API key" : "open to everyone who reaches the port"],
    ["ready in", `${(startMs / 1000).toFixed(2)} s`],
  ];
  const key = settings.apiKey.length > 0 ? " -H 'authorization: Bearer YOUR_KEY'" : "";
  const { path, prompt } = model.hasChatTemplate
    ? { path: "chat/completions", prompt: { messages: [{ role: "user", content: "Why is the sky blue?" }] } }
    : { path: "completions", prompt: { prompt: "The sky is blue because" } };
  // A small model may never come to an end by itself.
  const body = JSON.stringify({ model: model.name, ...prompt, max_tokens: 128, stream: true });
  return `${bold(`ScaleLLM ${VERSION}`)}
${rows.map(([name, value]) => `  ${name.padEnd(10)}${value}`).join("\n")}

Try it:
  curl -N ${server.url}/v1/${path} -H 'content-type: application/json'${key} \\
    -d '${body}'

`;
}
