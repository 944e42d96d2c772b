import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import { KeepAlive } from "../../src/http/keep-alive.ts";

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

test("beats within each period of silence, and not while there is output", () => {
  let beats = 0;
  const keepAlive = new KeepAlive(1000, () => beats++);
  jest.advanceTimersByTime(1000);
  expect(beats).toBe(1);
  jest.advanceTimersByTime(3000);
  expect(beats).toBe(4);
  for (let i = 0; i < 10; i++) {
    keepAlive.touch();
    jest.advanceTimersByTime(400);
  }
  expect(beats).toBe(4);
  jest.advanceTimersByTime(1000);
  expect(beats).toBe(5);
  keepAlive.stop();
  jest.advanceTimersByTime(5000);
  expect(beats).toBe(5);
});
