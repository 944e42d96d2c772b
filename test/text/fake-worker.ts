/** Stands in for the tokenizer Worker; each text says what to do with it. */
import type { OpenMessage, TextRequest, WorkerMessage } from "../../src/text/worker-protocol.ts";

declare const self: Worker;

const post = (message: WorkerMessage) => self.postMessage(message);

self.onmessage = ({ data }: MessageEvent<OpenMessage | TextRequest>) => {
  if (data.type === "open") {
    if (data.maxChars === 0) throw new Error("cannot start");
    post({ type: "ready" });
  } else if (data.type === "encode") {
    const [what] = data.text.trim().split(" ");
    if (what === "crash") throw new Error("crashed as asked");
    if (what === "exit") process.exit(1);
    const encoded = { type: "encoded", templateMs: 0, tokeniseMs: 0 } as const;
    if (what === "worn") post({ ...encoded, ids: Int32Array.of(1), encoderBytes: Number.MAX_SAFE_INTEGER });
    if (what === "answer") post({ ...encoded, ids: Int32Array.of(2), encoderBytes: 0 });
    // "silent": no answer.
  } else if (data.messages[0]!.content === "answer") {
    post({ type: "rendered", text: "answer" });
    post({ type: "encoded", ids: Int32Array.of(3), templateMs: 0, tokeniseMs: 0, encoderBytes: 0 });
  }
};
