import { expect, test } from "bun:test";
import { StageRecorder } from "../../src/cli/stage-recorder.ts";
import type { ServerParts } from "../../src/cli/start-server.ts";
import type { GenerateEvent, GenerateRequest } from "../../src/core/generate.ts";
import { Authentication } from "../../src/gateway/authentication.ts";
import { TurnQueue } from "../../src/http/turn-queue.ts";
import { StopStrings } from "../../src/text/stop-strings.ts";
import { TextAssembler } from "../../src/text/text-assembler.ts";
import type { EncodedChat } from "../../src/text/text-service.ts";
import { byteTokenizer } from "../http/fake-text-service.ts";

/** A clock that only the test moves. */
class ManualClock {
  ms = 1000;
  nowMs = (): number => this.ms;
  epochS = (): number => 0;
}

const clock = new ManualClock();

/** An engine whose profile counts a step, with 2 ms of it in qkv, for every 5 ms that passed. */
class StubReplica {
  profiling: boolean[] = [];
  readonly events = new Map<string, AsyncIterable<GenerateEvent>>();
  generate(request: { id: string }): AsyncIterable<GenerateEvent> {
    return this.events.get(request.id)!;
  }
  async profile(enable: boolean) {
    this.profiling.push(enable);
    const steps = (clock.ms - 1000) / 5;
    const stages = { qkv: { ns: steps * 2e6, bytes: 8, ops: 9 } };
    return { steps, tokens: steps, stepNs: steps * 5e6, idleNs: 0, stages };
  }
  stats() {
    return { engine: { gapMs: 1, scheduleMs: 2, packMs: 0.5, commitMs: 0.25 } };
  }
  messages = { count: 7, ms: 3 };
}

class StubText {
  async encode(): Promise<Int32Array> {
    clock.ms += 3;
    return new Int32Array(1);
  }
  async encodeChat(): Promise<EncodedChat> {
    clock.ms += 4;
    return { text: "", ids: new Int32Array(1), templateMs: 0.5, tokeniseMs: 1.5 };
  }
}

/** Iterating submits the request, and the engine has it before the submitting thread, 1 ms later, goes on. */
function answer(tokens: number): AsyncIterable<GenerateEvent> {
  return {
    [Symbol.asyncIterator]: () => {
      const arrivedMs = clock.ms;
      clock.ms += 1;
      return eventsOf(tokens, arrivedMs);
    },
  };
}

/** Queued for 5 ms, then 10 ms to the first token and 5 ms to each further one. */
async function* eventsOf(tokens: number, arrivedMs: number): AsyncGenerator<GenerateEvent> {
  clock.ms = arrivedMs + 15;
  const firstTokenMs = clock.ms;
  for (let i = 0; i < tokens; i++) {
    if (i > 0) clock.ms += 5;
    yield { type: "text-delta", index: 0, text: "a", tokenIds: [1], logprobs: undefined };
  }
  const timings = { arrivedMs, scheduledMs: arrivedMs + 5, firstTokenMs, finishedMs: clock.ms, preemptions: 0 };
  const usage = { promptTokens: 1, completionTokens: tokens, cachedTokens: 0 };
  yield { type: "end", index: 0, finishReason: "length", stopReason: undefined, usage, timings };
}

function make(): { recorder: StageRecorder; parts: ServerParts; replica: StubReplica } {
  clock.ms = 1000;
  const replica = new StubReplica();
  const stubs = { authentication: new Authentication(["k"]), text: new StubText(), replica, libraryPath: "" };
  const parts = stubs as unknown as ServerParts;
  return { recorder: new StageRecorder(parts, clock), parts, replica };
}

/** What the HTTP layer does with a request: 1 ms to parse before and after the text, 2 ms to format an event. */
async function serve(parts: ServerParts, replica: StubReplica, id: string): Promise<void> {
  parts.authentication.authenticate(new Headers({ authorization: "Bearer k" }));
  clock.ms += 1;
  await parts.text.encodeChat([], {} as never);
  clock.ms += 1;
  replica.events.set(id, answer(3));
  const events = parts.replica.generate({ id } as GenerateRequest, new AbortController().signal);
  for await (const event of events) if (event.type === "text-delta") clock.ms += 2;
}

/** What the replica and the HTTP layer do with every token: 1 ms to detokenise, 3 ms to write. */
function detokeniseAndWrite(): void {
  const assembler = new TextAssembler(byteTokenizer, {
    stop: new StopStrings([]),
    includeStopStrInOutput: false,
    skipSpecialTokens: true,
  });
  let pushed = 0;
  assembler.push({
    length: 1,
    get 0() {
      clock.ms += 1;
      return 65 + pushed++;
    },
  });
  const turns = new TurnQueue();
  turns.add(() => {
    clock.ms += 3;
  });
  turns.run();
}

test("each stage gets its own time", async () => {
  const { recorder, parts, replica } = make();
  await recorder.enable(1);
  await serve(parts, replica, "r1");
  const snapshot = await recorder.snapshot();
  expect(snapshot.requests).toBe(1);
  expect(snapshot.stageMs).toEqual({
    auth: 0,
    parse: 1,
    template: 0.5,
    tokenise: 1.5,
    "text wait": 2,
    admission: 1,
    queue: 5,
    prefill: 10,
    deliver: 0,
    format: 2,
  });
  expect(snapshot.boundary).toEqual({ arrivedMs: 1000, formattedMs: 1023 });
  expect(snapshot.format).toEqual({ count: 3, ms: 6 });
  expect(snapshot.messages).toEqual({ count: 7, ms: 3 });
  expect(snapshot.engine).toMatchObject({ gapMs: 1, scheduleMs: 2, packMs: 0.5, commitMs: 0.25 });
  expect(snapshot.engine.steps).toBeCloseTo(37 / 5, 9);
  // 6 ms of formatting and 10 of steps lie between the first token and the end.
  expect(snapshot.decode.steps).toBeCloseTo(16 / 5, 9);
  expect(snapshot.decode.kernels.qkv?.ms).toBeCloseTo(6.4, 9);
  expect(recorder.takeSpans().map(({ name }) => name)).toEqual(["template and tokenise", "queue", "prefill", "decode"]);
  expect(recorder.takeSpans()).toEqual([]);
});

test("detokenising and writing are timed wherever they happen, and no longer when timing is off", async () => {
  const { recorder } = make();
  await recorder.enable(1);
  for (let i = 0; i < 2; i++) detokeniseAndWrite();
  await recorder.enable(0);
  detokeniseAndWrite();
  const { detokenise, write } = await recorder.snapshot();
  expect(detokenise).toEqual({ count: 2, ms: 2 });
  expect(write).toEqual({ count: 2, ms: 6 });
});

test("only steps in which every stream decodes count as decode", async () => {
  const { recorder, parts, replica } = make();
  await recorder.enable(2);
  await serve(parts, replica, "r1");
  await serve(parts, replica, "r2");
  expect((await recorder.snapshot()).decode.steps).toBe(0);
});

test("a reader that leaves early closes its window", async () => {
  const { recorder, parts, replica } = make();
  await recorder.enable(1);
  replica.events.set("r1", answer(100));
  const events = parts.replica.generate({ id: "r1" } as GenerateRequest, new AbortController().signal);
  for await (const event of events) if (event.type === "text-delta" && clock.ms > 1050) break;
  const { decode, requests } = await recorder.snapshot();
  expect(requests).toBe(0);
  expect(decode.steps).toBeCloseTo((clock.ms - 1015) / 5, 9);
});

test("off, the server's own methods are back", async () => {
  const { recorder, parts, replica } = make();
  const shared = () => [TextAssembler.prototype.push, TurnQueue.prototype.run];
  const before = shared();
  const own = (): boolean[] =>
    (
      [
        [parts.authentication, "authenticate"],
        [parts.text, "encodeChat"],
        [parts.text, "encode"],
        [parts.replica, "generate"],
      ] as const
    ).map(([part, name]) => Object.hasOwn(part, name));
  expect(own()).toEqual([false, false, false, false]);
  await recorder.enable(4);
  expect(own()).toEqual([true, true, true, true]);
  expect(shared()).not.toEqual(before);
  await recorder.enable(0);
  expect(shared()).toEqual(before);
  expect(own()).toEqual([false, false, false, false]);
  expect(replica.profiling).toEqual([true, false]);
  await serve(parts, replica, "r1");
  expect((await recorder.snapshot()).requests).toBe(0);
});
