import { afterAll, expect, test } from "bun:test";
import { Authentication } from "../../src/gateway/authentication.ts";
import { createConnectHandler } from "../../src/http/connect/create-connect-handler.ts";
import { createHttpServer } from "../../src/http/server.ts";
import { ServerMetrics } from "../../src/metrics/server-metrics.ts";
import { createFixture } from "./connect-fixture.ts";
import { RawClient } from "./raw-client.ts";

const { deps } = createFixture({ bodyDeadlineMs: 100 });
const open = { ...deps, authentication: new Authentication([]) };
const server = createHttpServer({
  ...open,
  listen: { host: "127.0.0.1", port: 0 },
  metrics: new ServerMetrics(deps.clock),
  version: "test",
  corsOrigins: [],
  connectHandler: createConnectHandler(open),
});
afterAll(() => server.stop({ graceful: false }));

const SERVICE = "/scalellm.v1.InferenceService";
const CASES: ReadonlyArray<readonly [string, string, boolean]> = [
  ["/v1/chat/completions", "application/json", true],
  ["/tokenize", "application/json", true],
  [`${SERVICE}/Complete`, "application/json", true],
  [`${SERVICE}/Complete`, "application/proto", true],
  [`${SERVICE}/Tokenize`, "application/json", true],
  // Their status is in the stream, behind a head that has gone.
  [`${SERVICE}/Generate`, "application/connect+json", false],
  [`${SERVICE}/Generate`, "application/grpc-web+proto", false],
  [`${SERVICE}/Complete`, "application/grpc-web+proto", false],
];

test("a body that never arrives is told so, and its connection is closed", async () => {
  const framings = [{ "content-length": 100 }, { "transfer-encoding": "chunked" }];
  const answer = async ([path, type, hasStatus]: (typeof CASES)[number], framing: Record<string, string | number>) => {
    const client = await RawClient.connect(server.url);
    const piece = type.endsWith("json") && hasStatus ? '{"a"' : "\0\0\0\0";
    const body = "content-length" in framing ? piece : `4\r\n${piece}\r\n`;
    client.request("POST", path, { "content-type": type, "connect-protocol-version": "1", ...framing }, body);
    await client.untilClosed();
    return decodeURIComponent(client.received);
  };
  // Side by side: a stream's connection ends by Bun's timer, which counts in steps of four seconds.
  await Promise.all(
    CASES.flatMap((one) =>
      framings.map(async (framing) => {
        const text = await answer(one, framing);
        expect([one, text]).toEqual([one, expect.stringContaining("The request body did not arrive within 100 ms.")]);
        if (one[2]) expect(text).toStartWith("HTTP/1.1 408 ");
        if (one[1].endsWith("json")) expect(text).toContain("body_timeout");
      }),
    ),
  );
}, 60_000);
