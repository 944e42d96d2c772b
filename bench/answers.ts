// How good a model's answers are under different sampling: `make bench-answers`. Asks 50 short prompts with several seeds
// at each setting. A right answer holds the fact asked for; a loop says the same words three times in a row; distinct-3 is
// the share of word triples that an answer has once; an answer that never ends is cut at MAX_TOKENS.
import { parseArgs } from "node:util";
import { startServer } from "../src/cli/start-server.ts";
import { loadSettings } from "../src/config/load-settings.ts";
import { ANSWER_PROMPTS, type AnswerPrompt } from "./answer-prompts.ts";
import { distinctShare, hasLoop } from "./answer-repetition.ts";

const { values: flags } = parseArgs({
  options: {
    model: { type: "string", default: "" },
    seeds: { type: "string", default: "4" },
    /** temperature,top_p,repetition_penalty[,frequency_penalty[,presence_penalty]]; several times. */
    setting: { type: "string", multiple: true },
    show: { type: "boolean", default: false },
  },
});
const MAX_TOKENS = 384;
const IN_FLIGHT = 16;
const SETTINGS = flags.setting ?? [
  "1,1,1",
  "0.7,0.95,1",
  "0,1,1",
  "0.2,0.9,1",
  "0.2,0.9,1.05",
  "0.2,0.9,1.1",
  "0.2,0.9,1.15",
  "0.2,0.9,1.2",
  "0.4,0.9,1.1",
];

interface Answer {
  readonly prompt: AnswerPrompt;
  readonly text: string;
  readonly tokens: number;
  readonly stopped: boolean;
}

const { settings } = loadSettings(["--port", "0", "--no-grpc", "--log-level", "warn", "--model", flags.model]);
const server = await startServer(settings);
const { name: model } = await server.ready;

async function ask(prompt: AnswerPrompt, seed: number, setting: readonly number[]): Promise<Answer> {
  const [temperature, topP, repetitionPenalty, frequencyPenalty = 0, presencePenalty = 0] = setting;
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model,
      messages: [{ role: "user", content: prompt.text }],
      max_tokens: MAX_TOKENS,
      temperature,
      top_p: topP,
      repetition_penalty: repetitionPenalty,
      frequency_penalty: frequencyPenalty,
      presence_penalty: presencePenalty,
      seed,
    }),
  });
  if (!response.ok) throw new Error(await response.text());
  const { choices, usage } = (await response.json()) as {
    choices: { message: { content: string }; finish_reason: string }[];
    usage: { completion_tokens: number };
  };
  const { message, finish_reason } = choices[0]!;
  return { prompt, text: message.content, tokens: usage.completion_tokens, stopped: finish_reason === "stop" };
}

/** All prompts with all seeds, so many at a time. */
async function askAll(setting: readonly number[]): Promise<Answer[]> {
  const asked = ANSWER_PROMPTS.flatMap((prompt) =>
    Array.from({ length: Number(flags.seeds) }, (_, seed) => ({ prompt, seed })),
  );
  const answers: Answer[] = [];
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async () => {
      for (let next = asked.pop(); next !== undefined; next = asked.pop())
        answers.push(await ask(next.prompt, next.seed, setting));
    }),
  );
  return answers;
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const percent = (flags: readonly boolean[]) => `${Math.round(100 * mean(flags.map(Number)))}%`.padStart(4);

console.log(`${model}: ${ANSWER_PROMPTS.length} prompts, ${flags.seeds} seeds, at most ${MAX_TOKENS} tokens`);
console.log("temperature,top_p,repetition_penalty  right  ended  loops  distinct-3  tokens");
for (const setting of SETTINGS) {
  const answers = await askAll(setting.split(",").map(Number));
  const facts = answers.filter(({ prompt }) => prompt.right !== undefined);
  const row = [
    setting.padEnd(36),
    percent(facts.map(({ prompt, text }) => prompt.right!.test(text))).padEnd(5),
    percent(answers.map(({ stopped }) => stopped)).padEnd(5),
    percent(answers.map(({ text }) => hasLoop(text))).padEnd(5),
    mean(answers.map(({ text }) => distinctShare(text)))
      .toFixed(3)
      .padEnd(10),
    mean(answers.map(({ tokens }) => tokens))
      .toFixed(0)
      .padStart(6),
  ];
  console.log(row.join("  "));
  if (flags.show)
    for (const { prompt, text } of answers) console.log(`    ${prompt.text}  ${JSON.stringify(text.slice(0, 300))}`);
}
await server.stop(false);
process.exit(0);
