import { expect, test } from "bun:test";
import { PeerSide } from "../../bench/cpu/peer-side.ts";
import { startPeers } from "../../bench/cpu/peers.ts";
import { ScaleLlmSide, WARM_STEPS } from "../../bench/cpu/scalellm-side.ts";
import { summariseRounds } from "../../bench/cpu/summarise-rounds.ts";
import type { Backend, BackendInfo, BackendProfile } from "../../src/backend/backend.ts";
import { openStep } from "../../src/backend/step-layout.ts";
import { systemClock } from "../../src/core/clock.ts";

/** Reads each step back by the header's own offsets, and follows what every sequence has in its KV. */
class CheckingBackend implements Backend {
  readonly info: BackendInfo = {
    name: "fake",
    device: "none",
    vocabSize: 10_000,
    maxModelLen: 64,
    blockSize: 8,
    numBlocks: 32,
    maxNumSeqs: 4,
    maxBatchedTokens: 16,
    maxLogitRows: 4,
    kvBlockBytes: 1,
    weightBytes: 1,
    workspaceBytes: 1,
    numThreads: 1,
    slidingWindow: 0,
  };
  /** KV slot to [sequence, position], by the tables the steps give. */
  readonly written = new Map<number, string>();
  readonly shapes: string[] = [];
  private readonly contexts = new Map<number, number>();
  private tokens = 0;

  setSlot(slot: number): void {
    this.contexts.set(slot, 0);
  }

  submit(step: Int32Array): number {
    const { numTokens, numSeqs, cuSeqlens: cu, rowTargets, rowTops, rowDrafts, ...at } = openStep(step);
    expect([at.numRows, cu[0], cu.at(-1), at.numCopies]).toEqual([numSeqs, 0, numTokens, 0]);
    for (const column of [rowTargets, rowTops, rowDrafts]) expect(column.every((value) => value === -1)).toBe(true);
    for (let s = 0; s < numSeqs; s++) {
      const slot = at.rowSlots[s]!;
      expect(at.rowTokens[s]).toBe(cu[s + 1]! - 1);
      for (let t = cu[s]!; t < cu[s + 1]!; t++) {
        const position = at.positions[t]!;
        expect(position).toBe(this.contexts.get(slot)! + t - cu[s]!);
        const block = at.blockTables[s * at.tableStride + Math.floor(position / 8)]!;
        expect(at.slotMapping[t]).toBe(block * 8 + (position % 8));
        expect(at.slotMapping[t]).toBeLessThan(this.info.numBlocks * 8);
        const owner = this.written.get(at.slotMapping[t]!);
        expect(owner ?? `${slot}@${position}`).toBe(`${slot}@${position}`);
        this.written.set(at.slotMapping[t]!, `${slot}@${position}`);
        expect(at.inputIds[t] === -1 - slot || (at.inputIds[t]! >= 1000 && at.inputIds[t]! < this.info.vocabSize)).toBe(
          true,
        );
      }
      this.contexts.set(slot, this.contexts.get(slot)! + cu[s + 1]! - cu[s]!);
      expect(at.contextLens[s]).toBe(this.contexts.get(slot)!);
    }
    this.tokens += numTokens;
    this.shapes.push(`${numSeqs}x${numTokens}`);
    return 1;
  }

  wait(_ticket: number, result: Int32Array): void {
    result.fill(5);
  }

  reset(): void {}
  release(): void {}

  touch(_numBlocks: number, from: number): number {
    return from;
  }

  close(): void {}

  stepMs(): number {
    return 0;
  }

  profile(): BackendProfile {
    const stages = { qkv: { ns: 0, bytes: this.tokens * 10, ops: this.tokens * 3 } };
    return { steps: 0, tokens: 0, stepNs: 0, idleNs: 0, stages };
  }
}

test("decode: each stream's prompt alone, then steps of all streams", async () => {
  const backend = new CheckingBackend();
  const side = new ScaleLlmSide(backend, systemClock);
  const measured = await side.measure({ kind: "decode", streams: 3, promptTokens: 10, tokens: 2 });
  expect(measured.tokens).toBe(6);
  expect(backend.shapes).toEqual([...Array(3).fill("1x10"), ...Array(2 + WARM_STEPS).fill("3x3")]);
  expect(backend.written.size).toBe(3 * (10 + 2 + WARM_STEPS));
});

test("a decode pauses around its parts, and neither pauses nor the first steps of parts are timed", async () => {
  const backend = new CheckingBackend();
  let nowMs = 0;
  const side = new ScaleLlmSide(backend, { ...systemClock, nowMs: () => nowMs });
  const steps: number[] = [];
  const pause = () => {
    nowMs += 1000;
    steps.push(backend.shapes.length);
  };
  const measured = await side.measure({ kind: "decode", streams: 1, promptTokens: 10, tokens: 8 }, pause);
  expect(steps).toEqual([1, 4, 7, 10, 13]);
  expect(measured.seconds).toBe(0);
});

test("prefill: one prompt in steps as large as allowed", async () => {
  const backend = new CheckingBackend();
  const side = new ScaleLlmSide(backend, systemClock);
  await side.measure({ kind: "prefill", tokens: 40 });
  expect(backend.shapes).toEqual(["1x16", "1x16", "1x8"]);
});

test("the work of a decode leaves out its prompts", async () => {
  const side = new ScaleLlmSide(new CheckingBackend(), systemClock);
  const request = { kind: "decode", streams: 3, promptTokens: 10, tokens: 2 } as const;
  expect(await side.workOf(request)).toEqual({ bytes: 60, ops: 18 });
  expect(await side.workOf({ kind: "prefill", tokens: 20 })).toEqual({ bytes: 200, ops: 60 });
});

test("a peer's worker is asked line by line, and its failures are errors", async () => {
  const script = `
    const say = (x) => process.stdout.write(JSON.stringify(x) + "\\n");
    say({ ready: true, engine: "echo 1" });
    let text = "";
    for await (const chunk of process.stdin) {
      const lines = (text + chunk).split("\\n");
      text = lines.pop();
      for (const line of lines) {
        const request = JSON.parse(line);
        say(request.tokens === 0 ? { error: "nothing to do" } : { tokens: request.tokens, seconds: 1 });
      }
    }`;
  const peer = await PeerSide.start([process.execPath, "-e", script]);
  expect(peer.name).toBe("echo 1");
  expect(await peer.measure({ kind: "prefill", tokens: 7 })).toMatchObject({ tokens: 7, seconds: 1 });
  await expect(peer.measure({ kind: "prefill", tokens: 0 })).rejects.toThrow("nothing to do");
  expect(await peer.measure({ kind: "prefill", tokens: 8 })).toMatchObject({ tokens: 8 });
  await peer.close();
  await expect(PeerSide.start([process.execPath, "-e", "0"])).rejects.toThrow("ended");
});

test("a peer that is not installed or does not start is left out with a word; an unknown one is an error", async () => {
  const said: string[] = [];
  const peers = await startPeers(["openvino", "llama.cpp"], "/nowhere.gguf", 1, (message) => said.push(message));
  expect(peers).toEqual([]);
  expect(said.map((message) => message.split(":")[0])).toEqual(["openvino is left out", "llama.cpp is left out"]);
  await expect(startPeers(["ollama"], "x", 1, () => {})).rejects.toThrow(
    "--peers: ollama is none of llama.cpp, openvino",
  );
}, 60_000);

test("rounds are summarised by medians; ratios are taken within a round", () => {
  // A slow moment between two fast ones: as much takes 3 times 1/1000 s.
  const limits = [2000, 500, 2000].map((rate) => ({ readBytesPerS: rate, int8MacsPerS: 4 * rate, f32MacsPerS: 1 }));
  const measured = (tokensPerS: number, seconds: number) => ({ tokens: 10, seconds, cpuSeconds: 0.1, tokensPerS });
  const rounds = [
    { ours: measured(100, 1), peers: [measured(50, 1), measured(10, 1)], limits },
    { ours: measured(10, 2), peers: [measured(20, 1), measured(200, 1)], limits },
    { ours: measured(60, 4), peers: [measured(50, 1), measured(60, 1)], limits },
  ];
  const summary = summariseRounds(rounds, { bytes: 1000, ops: 2000 });
  expect(summary.ours).toEqual({ median: 60, min: 10, max: 100 });
  expect(summary.peers[0]!.ratio).toEqual({ median: 1.2, min: 0.5, max: 2 });
  expect(summary.peers[1]!.ratio).toEqual({ median: 1, min: 0.05, max: 10 });
  expect(summary.strongest).toBe(1);
  expect(summariseRounds([{ ...rounds[0]!, peers: [] }], { bytes: 1, ops: 1 }).strongest).toBe(-1);
  expect(summary.readShare).toEqual({ median: 0.5, min: 0.25, max: 1 });
  expect(summary.computeShare).toEqual({ median: 0.25, min: 0.125, max: 0.5 });
  expect(summary.oursCpuMs.median).toBeCloseTo(10);
});
