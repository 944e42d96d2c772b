import { createInterface, type Interface, type Key } from "node:readline";
import type { Writable } from "node:stream";
import { gatedOutput } from "./gated-output.ts";

/** Terminals put pasted text between two marks when asked to, which tells its line breaks from the Enter key. */
const PASTE_MODE_ON = "\x1b[?2004h";
const PASTE_MODE_OFF = "\x1b[?2004l";

export interface ChatInputOptions {
  readonly input: NodeJS.ReadStream;
  readonly output: NodeJS.WriteStream;
  readonly prompt: string;
  /** Ctrl-C; `dropped`: it cleared what was typed. Return false to end the input. */
  onInterrupt(dropped: boolean): boolean;
}

/**
 * The messages of a person or of a pipe. At a terminal, pasted lines are one message, and so are lines of which all but
 * the last end with a backslash; in a pipe each line is one. What is typed between a message and the next prompt is shown
 * then, not in the midst of an answer. Ends with its input.
 */
export class ChatInput implements AsyncIterable<string> {
  readonly #screen: Writable;
  readonly #lines: Interface;
  readonly #options: ChatInputOptions;
  readonly #terminal: boolean;
  readonly #messages: string[] = [];
  /** Lines of a message that goes on. */
  #pending: string[] = [];
  #pasting = false;
  /** It is the person's turn: typing is shown. */
  #prompting = false;
  #ended = false;
  #wake: () => void = () => {};

  constructor(options: ChatInputOptions) {
    const { input, output } = options;
    this.#options = options;
    this.#terminal = input.isTTY === true && output.isTTY === true;
    this.#screen = gatedOutput(output, () => this.#prompting);
    this.#lines = createInterface({
      input,
      ...(this.#terminal ? { output: this.#screen } : {}),
      terminal: this.#terminal,
      prompt: options.prompt,
    });
    this.#lines.on("line", (line) => this.#onLine(line));
    this.#lines.on("close", () => this.#end());
    if (!this.#terminal) return;
    input.on("keypress", (_text: string | undefined, key: Key | undefined) => {
      if (key?.name === "paste-start") this.#pasting = true;
      if (key?.name === "paste-end") this.#pasting = false;
    });
    this.#lines.on("SIGINT", () => this.#onInterrupt());
    output.write(PASTE_MODE_ON);
  }

  /** Shows that it is the person's turn; says nothing in a pipe. */
  prompt(): void {
    if (!this.#terminal || this.#ended) return;
    const { output, prompt } = this.#options;
    const [waiting] = this.#messages;
    if (waiting !== undefined) return void output.write(`${prompt}${waiting}\n`);
    this.#prompting = true;
    // The cursor stays behind what was typed.
    this.#lines.prompt(true);
  }

  close(): void {
    this.#lines.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) yield message;
      else if (this.#ended) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #onLine(line: string): void {
    const goesOn = this.#terminal && !this.#pasting && line.endsWith("\\");
    this.#pending.push(goesOn ? line.slice(0, -1) : line);
    if (this.#pasting || goesOn) return;
    this.#messages.push(this.#pending.join("\n"));
    this.#pending = [];
    this.#prompting = false;
    this.#wake();
  }

  #onInterrupt(): void {
    const hasLine = this.#lines.line !== "";
    const dropped = hasLine || this.#pending.length > 0;
    this.#pending = [];
    this.#pasting = false;
    // To the end of the line, and all of it away; each key redraws the line.
    for (const name of hasLine ? ["e", "u"] : []) this.#lines.write(null as never, { ctrl: true, name });
    if (!this.#options.onInterrupt(dropped)) this.close();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#screen.destroy();
    if (this.#terminal) this.#options.output.write(PASTE_MODE_OFF);
    this.#wake();
  }
}
