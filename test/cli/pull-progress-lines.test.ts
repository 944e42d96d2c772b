import { expect, test } from "bun:test";
import { pullProgressLines } from "../../src/cli/pull-progress-lines.ts";
import type { PullProgress } from "../../src/model/hub/pull.ts";

function file(name: string, state: PullProgress["state"], doneBytes = 0): PullProgress {
  return { file: name, doneBytes, totalBytes: 4_000_000_000, state };
}

test("names are one column wide, in cells", () => {
  const lines = pullProgressLines([file("模型.gguf", "downloading", 1e9), file("config.json", "done")], 100, 10);
  expect(lines.map((line) => Bun.stringWidth(line.slice(0, line.search(/[█░]/))))).toEqual([13, 13]);
  expect(lines[0]).toContain(" 25%  1.00 GB of 4.00 GB  downloading");
  expect(lines[1]).toContain("100%  4.00 GB of 4.00 GB  done");
});

test("no line is wider than the terminal, however narrow; the end of a name is kept", () => {
  const files = [file(`模型/${"long-".repeat(30)}00001-of-00002.safetensors`, "downloading", 1e9), file("a", "listed")];
  for (const columns of [1, 2, 10, 36, 40, 60, 80, 120, 400])
    for (const line of pullProgressLines(files, columns, 10))
      expect(Bun.stringWidth(line)).toBeLessThanOrEqual(columns);
  expect(pullProgressLines(files, 80, 10)[0]).toMatch(/^….*00001-of-00002\.safetensors {2,}25%/);
});

test("of more files than rows, those that are under way", () => {
  const files = [...Array.from({ length: 50 }, (_, i) => file(`${i}`, i < 20 ? "done" : "waiting"))];
  files[40] = file("40", "downloading", 1);
  const lines = pullProgressLines(files, 80, 3);
  expect(lines.map((line) => line.split(" ")[0])).toEqual(["40", "20", "21"]);
});
