import type { Measurement, MeasurementRequest, Side } from "./measurement.ts";

/** A peer in a process of its own, which answers one JSON line for each JSON line it is sent. */
export class PeerSide implements Side {
  private constructor(
    readonly name: string,
    private readonly process: Bun.Subprocess<"pipe", "pipe", "inherit">,
    private readonly lines: AsyncIterator<string>,
  ) {}

  /** Starts `command` and waits until it has loaded its model. Rejects when it ends before that. */
  static async start(command: readonly string[]): Promise<PeerSide> {
    const child = Bun.spawn([...command], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
    const lines = linesOf(child.stdout);
    const hello = await next(lines);
    return new PeerSide(String(hello.engine), child, lines);
  }

  async measure(request: MeasurementRequest): Promise<Measurement> {
    this.process.stdin.write(`${JSON.stringify(request)}\n`);
    await this.process.stdin.flush();
    const answer = await next(this.lines);
    return answer as unknown as Measurement;
  }

  async close(): Promise<void> {
    await this.process.stdin.end();
    await this.process.exited;
  }
}

/** The next line's object. Rejects with the worker's own error, or when the worker has ended. */
async function next(lines: AsyncIterator<string>): Promise<Record<string, unknown>> {
  const line = await lines.next();
  if (line.done === true) throw new Error("the peer ended");
  const answer = JSON.parse(line.value) as Record<string, unknown>;
  if (typeof answer.error === "string") throw new Error(`the peer failed: ${answer.error}`);
  return answer;
}

async function* linesOf(bytes: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of bytes) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}
