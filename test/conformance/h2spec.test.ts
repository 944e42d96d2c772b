import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { createGrpcServer } from "../../src/http/grpc/grpc-server.ts";
import { createFixture } from "../http/connect-fixture.ts";
import { TestServer } from "../http/test-server.ts";
import { goTool } from "./go-tools.ts";

const h2spec = goTool("h2spec");

/** What of h2spec --strict our two ports do not do, and why. */
const DEVIATIONS = {
  http: {
    "http2/3.5: Sends invalid connection preface":
      "The port speaks HTTP/1.1, too: what does not begin as HTTP/2 does is refused as HTTP/1.1, with a 400.",
    "http2/6.9.1: Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream":
      "The GET is answered, and its stream closed, before the second of them is read.",
  },
  grpc: {
    "http2/6.9.2: Sends a SETTINGS frame for window size to be negative":
      "Bun's session does not lower the windows of open streams; no client in use lowers its setting on the way.",
  },
};

/** A run may lose a race against a connection that is closed under it: what fails in each of these is a failure. */
const RUNS = 3;

/** The test cases that fail on a port, or are not run. */
async function failures(port: number): Promise<string[]> {
  let failed: Set<string> | undefined;
  for (let run = 0; run < RUNS && failed?.size !== 0; run++) {
    const found = await runOnce(port);
    failed = failed === undefined ? found : new Set([...failed].filter((name) => found.has(name)));
  }
  return [...failed!].sort();
}

async function runOnce(port: number): Promise<Set<string>> {
  const folder = await mkdtemp(`${tmpdir()}/h2spec-`);
  try {
    const report = `${folder}/report.xml`;
    const command = [h2spec.path, "--strict", "--timeout", "2", "--port", String(port), "--junit-report", report];
    await Bun.spawn(command, { stdout: "ignore", stderr: "inherit" }).exited;
    const xml = await Bun.file(report).text();
    const cases = [...xml.matchAll(/<testcase package="([^"]*)" classname="([^"]*)"[^>]*>(.*?)<\/testcase>/gs)];
    if (cases.length < 140) throw new Error(`h2spec reported ${cases.length} test cases`);
    return new Set(cases.filter(([, , , result]) => result !== "").map(([, section, name]) => `${section}: ${name}`));
  } finally {
    await rm(folder, { recursive: true });
  }
}

const TIMEOUT_MS = 60_000;

test.skipIf(h2spec.missing)(
  "h2spec --strict on the HTTP port",
  async () => {
    await using server = new TestServer();
    expect(await failures(server.server.port)).toEqual(Object.keys(DEVIATIONS.http).sort());
  },
  TIMEOUT_MS,
);

test.skipIf(h2spec.missing)(
  "h2spec --strict on the gRPC port",
  async () => {
    const server = await createGrpcServer(createFixture().deps, { hostname: "127.0.0.1", port: 0 });
    try {
      expect(await failures(server.port)).toEqual(Object.keys(DEVIATIONS.grpc));
    } finally {
      await server.close(false);
    }
  },
  TIMEOUT_MS,
);
