import { NativeBackend, type NativeEngineHandle } from "../../src/backend/native-backend.ts";
import { StepResult } from "../../src/backend/step-layout.ts";
import { GREEDY, packStep } from "../kernels/step.ts";

declare const self: Worker;

/** Attaches to an engine of another thread and answers with a greedy continuation. */
self.onmessage = ({ data }: MessageEvent<{ handle: NativeEngineHandle; prompt: number[]; count: number }>) => {
  const { handle, prompt, count } = data;
  const backend = new NativeBackend(handle);
  backend.reset();
  backend.setSlot(0, GREEDY);
  const tokens: number[] = [];
  const result = new StepResult(1).words;
  while (tokens.length < count) {
    const ids = tokens.length === 0 ? prompt : [-1];
    const start = tokens.length === 0 ? 0 : prompt.length + tokens.length - 1;
    const rows = [{ token: ids.length - 1, slot: 0 }];
    backend.wait(
      backend.submit(packStep([{ ids, start, blocks: [4, 5], rows }], { blockSize: handle.info.blockSize })),
      result,
    );
    tokens.push(result[0]!);
  }
  self.postMessage(tokens);
};
