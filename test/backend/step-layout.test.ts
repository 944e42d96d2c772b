import { expect, test } from "bun:test";
import { ABI_VERSION } from "../../src/backend/abi.ts";
import { NativeLibrary } from "../../src/backend/ffi.ts";
import { locateLibrary } from "../../src/backend/library.ts";
import {
  createStep,
  openStep,
  STEP,
  STEP_RETURN_LOGITS,
  StepLayout,
  StepResult,
} from "../../src/backend/step-layout.ts";

const COUNTS = { numTokens: 11, numSeqs: 3, numRows: 5, tableStride: 4, numCopies: 2 };
const MAX_TOP = 7;
const header = await Bun.file("kernels/include/scalellm.h").text();

/** Names and lengths of the array parts that a comment of the header lists between two of its phrases, in order. */
function documented(from: string, to: string): [name: string, words: number][] {
  const text = header.slice(header.indexOf(from), header.indexOf(to));
  const { numTokens: T, numSeqs: S, numRows: R, tableStride: B, numCopies: C } = COUNTS;
  const lengths: Record<string, number> = {
    "[T]": T,
    "[S + 1]": S + 1,
    "[S]": S,
    "[S * B]": S * B,
    "[R]": R,
    "[2 * C]": 2 * C,
    "[R][M]": R * MAX_TOP,
  };
  return [...text.matchAll(/^\/\/ {3}(\w+) +(\[.*?\](?:\[M\])?)(?:, (\w+) (\[R\]\[M\]))?/gm)].flatMap((match) => {
    const [, name, length, second, secondLength] = match;
    const parts: [string, number][] = [[name!, lengths[length!]!]];
    if (second !== undefined) parts.push([second, lengths[secondLength!]!]);
    return parts;
  });
}

const camelCase = (name: string) => name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

test("a step's sections lie where the header says", () => {
  const { numTokens, numSeqs, numRows, tableStride, numCopies } = COUNTS;
  const layout = new StepLayout().layOut(numTokens, numSeqs, numRows, tableStride, numCopies);
  const sections = documented("A step is one int32 array", "Rows of one slot");
  expect(sections).toHaveLength(12);
  let at: number = STEP.headerWords;
  for (const [name, words] of sections) {
    expect([name, layout[camelCase(name) as "positions"]]).toEqual([name, at]);
    at += words;
  }
  expect(layout.numWords).toBe(at);
});

test("a result's parts lie where the header says", () => {
  const result = new StepResult(COUNTS.numRows, MAX_TOP);
  const parts = documented("The result is one int32 array", "SL_API int64_t sl_engine_submit");
  expect(parts.map(([name]) => name)).toEqual(["token_ids", "ranks", "logprobs", "top_ids", "top_logprobs"]);
  let at = 0;
  for (const [name, words] of parts) {
    if (name !== "token_ids") expect([name, result[camelCase(name) as "ranks"]]).toEqual([name, at]);
    at += words;
  }
  expect(result.words).toHaveLength(at);
});

test("what is written through a step's views is read back from its words", () => {
  const step = createStep(COUNTS, STEP_RETURN_LOGITS);
  const names = documented("A step is one int32 array", "Rows of one slot").map(([name]) => camelCase(name));
  names.forEach((name, i) => void step[name as "positions"].fill(100 + i));
  const opened = openStep(step.words.slice());
  expect(opened).toMatchObject({ ...COUNTS, flags: STEP_RETURN_LOGITS });
  names.forEach((name, i) => {
    const section = opened[name as "positions"];
    expect(section.length).toBeGreaterThan(0);
    expect(section.every((value) => value === 100 + i)).toBe(true);
  });
  expect(step.words.subarray(STEP.headerWords).includes(0)).toBe(false);
});

test("a step of another ABI version or length is refused", () => {
  const { words } = createStep(COUNTS);
  const changed = (word: number, value: number) => {
    const copy = words.slice();
    copy[word] = value;
    return () => openStep(copy);
  };
  expect(changed(STEP.version, ABI_VERSION + 1)).toThrow("version");
  expect(changed(STEP.numWords, words.length - 1)).toThrow("num_words");
  expect(changed(STEP.numRows, 6)).toThrow("num_words");
  expect(() => openStep(words.subarray(0, words.length - 1))).toThrow("num_words");
  expect(() => openStep(new Int32Array(0))).toThrow("version");
});

test("a result is reused: larger, smaller, without rows", () => {
  const result = new StepResult(2, 1);
  for (const [rows, top] of [
    [50, 20],
    [1, -1],
    [0, -1],
    [3, 0],
  ] as const) {
    expect(result.layOut(rows, top)).toHaveLength(rows * (3 + 2 * Math.max(0, top)));
    expect(result.words.buffer.byteLength).toBeGreaterThan(0);
  }
});

test("a library of another ABI version is refused when it is opened, with both versions", async () => {
  const path = await locateLibrary();
  expect(() => new NativeLibrary(path)).not.toThrow();
  expect(() => new NativeLibrary(path, ABI_VERSION + 1)).toThrow(
    `it has version ${ABI_VERSION} of the interface, this program needs ${ABI_VERSION + 1}`,
  );
});
