import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type ClientHttp2Session, connect } from "node:http2";
import { gzipSync } from "node:zlib";
import { Code } from "@connectrpc/connect";
import { createConnectHandler } from "../../src/http/connect/create-connect-handler.ts";
import { createGrpcServer, type GrpcServer } from "../../src/http/grpc/grpc-server.ts";
import { API_KEY, createFixture, MODEL } from "./connect-fixture.ts";

const SERVICE = "scalellm.v1.InferenceService";
const KEY = { authorization: `Bearer ${API_KEY}` };
const INVALID = Code.InvalidArgument;

/** CompleteRequest and GenerateRequest, alike: model, then text "hi". */
const GOOD = Buffer.concat([Buffer.from([0x0a, MODEL.length]), Buffer.from(MODEL), Buffer.from("\x12\x02hi")]);
const GZIP = gzipSync(GOOD);

function changed(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.length + at]! ^= 1;
  return copy;
}

interface Fault {
  body: Buffer;
  gzip?: boolean;
  json?: boolean;
}

const FAULTS: Record<string, Fault> = {
  "a number without its end": { body: Buffer.from([0x20, 0xff]) },
  "a number of 11 bytes": { body: Buffer.from([0x20, ...Array(10).fill(0xff), 1]) },
  "a field of another type": { body: Buffer.from([0x0d, 1, 2, 3, 4]) },
  "a text that is no UTF-8": { body: Buffer.from([0x0a, 2, 0xc3, 0x28]) },
  "a prompt that is no UTF-8": { body: Buffer.concat([GOOD, Buffer.from([0x12, 2, 0xff, 0xfe])]) },
  "a message cut short": { body: GOOD.subarray(0, -1) },
  "a length beyond the end": { body: Buffer.from([0x0a, 0x7f, 1]) },
  "a field without a number": { body: Buffer.from([0x02, 0]) },
  "a group's end alone": { body: Buffer.from([0xfc, 0x07]) },
  "a group without end": { body: Buffer.from([0xfb, 0x07]) },
  "no gzip": { body: Buffer.from("hello"), gzip: true },
  "gzip cut short": { body: GZIP.subarray(0, -6), gzip: true },
  "gzip with a wrong checksum": { body: changed(GZIP, -6), gzip: true },
  "gzip of no message": { body: gzipSync(Buffer.from([0x0a, 2, 0xc3, 0x28])), gzip: true },
  "no JSON": { body: Buffer.from("{"), json: true },
  "JSON that is no UTF-8": { body: Buffer.from('{"\xff":1}', "latin1"), json: true },
  "JSON of other types": { body: Buffer.from('{"model":7}'), json: true },
};

let grpc: GrpcServer;
let http: ReturnType<typeof Bun.serve>;
let session: ClientHttp2Session;
let url: string;

beforeAll(async () => {
  const { deps } = createFixture();
  grpc = await createGrpcServer(deps, { hostname: "127.0.0.1", port: 0 });
  session = connect(`http://127.0.0.1:${grpc.port}`);
  const handler = createConnectHandler(deps);
  http = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: (request) => handler(request)! });
  url = `http://127.0.0.1:${http.port}/${SERVICE}`;
});

afterAll(async () => {
  session.destroy();
  await Promise.all([grpc.close(false), http.stop(true)]);
});

function envelope({ body, gzip }: Fault): Buffer {
  const prefix = Buffer.from([gzip ? 1 : 0, 0, 0, 0, 0]);
  prefix.writeUInt32BE(body.length, 1);
  return Buffer.concat([prefix, body]);
}

/** What each protocol answers: its code, as a number. */
const protocols: Record<string, (fault: Fault, method: string) => Promise<number>> = {
  grpc: (fault, method) =>
    new Promise((resolve, reject) => {
      const type = `application/grpc+${fault.json ? "json" : "proto"}`;
      const encoding = fault.gzip ? { "grpc-encoding": "gzip" } : {};
      const head = { ":method": "POST", ":path": `/${SERVICE}/${method}`, "content-type": type, te: "trailers" };
      const stream = session.request({ ...head, ...KEY, ...encoding });
      const note = (headers: Record<string, unknown>): void => {
        if (headers["grpc-status"] !== undefined) resolve(Number(headers["grpc-status"]));
      };
      stream.on("response", note).on("trailers", note).on("error", reject).resume().end(envelope(fault));
    }),

  "gRPC-Web": async (fault, method) => {
    const type = `application/grpc-web+${fault.json ? "json" : "proto"}`;
    const headers = { ...KEY, "content-type": type, ...(fault.gzip ? { "grpc-encoding": "gzip" } : {}) };
    const response = await fetch(`${url}/${method}`, {
      method: "POST",
      headers,
      body: new Uint8Array(envelope(fault)),
    });
    return Number(/grpc-status: ?(\d+)/.exec(await response.text())?.[1] ?? response.headers.get("grpc-status"));
  },

  Connect: async (fault, method) => {
    const codec = fault.json ? "json" : "proto";
    const isStream = method === "Generate";
    const encoding = isStream ? "connect-content-encoding" : "content-encoding";
    const headers = {
      ...KEY,
      "content-type": isStream ? `application/connect+${codec}` : `application/${codec}`,
      ...(fault.gzip ? { [encoding]: "gzip" } : {}),
    };
    const body = new Uint8Array(isStream ? envelope(fault) : fault.body);
    const text = await (await fetch(`${url}/${method}`, { method: "POST", headers, body })).text();
    return /"code":"invalid_argument"/.test(text) ? INVALID : Number.NaN;
  },
};

describe("what cannot be read is the client's fault", () => {
  for (const [protocol, codeOf] of Object.entries(protocols)) {
    for (const [name, fault] of Object.entries(FAULTS)) {
      test(`${protocol}: ${name}`, async () => {
        expect(await codeOf(fault, "Complete")).toBe(INVALID);
        expect(await codeOf(fault, "Generate")).toBe(INVALID);
      });
    }
  }

  test("Connect's GET: no base64, no gzip, no message", async () => {
    const encoded = (body: Buffer): string => `encoding=proto&base64=1&message=${body.toString("base64url")}`;
    const queries = [
      "encoding=proto&base64=1&message=%25%25%25",
      "encoding=json&base64=1&message=A",
      "encoding=json&message={",
      encoded(Buffer.from([0x08, 0xff])),
      encoded(Buffer.from([0x0a, 2, 0xc3, 0x28])),
      `${encoded(Buffer.from("hello"))}&compression=gzip`,
      `${encoded(GZIP.subarray(0, -6))}&compression=gzip`,
    ];
    for (const query of queries) {
      const response = await fetch(`${url}/Tokenize?connect=v1&${query}`, { headers: KEY });
      const { code } = (await response.json()) as { code: string };
      expect([query, response.status, code]).toEqual([query, 400, "invalid_argument"]);
    }
  });
});

test("a content type may be written in any case", async () => {
  const json = Buffer.from(JSON.stringify({ model: MODEL, text: "hi" }));
  for (const [type, body] of [
    ["APPLICATION/JSON", json],
    ["Application/Proto", GOOD],
    ["application/grpc-web+JSON", envelope({ body: json })],
    ["APPLICATION/GRPC-WEB", envelope({ body: GOOD })],
    ["Application/Grpc-Web+Proto", envelope({ body: GOOD })],
  ] as const) {
    const headers = { ...KEY, "content-type": type };
    const response = await fetch(`${url}/Complete`, { method: "POST", headers, body: new Uint8Array(body) });
    const text = await response.text();
    expect([type, response.status, text]).toEqual([type, 200, expect.not.stringMatching(/grpc-status: [^0]/)]);
  }
  for (const [type, body] of [
    ["APPLICATION/GRPC", GOOD],
    ["application/grpc+JSON", json],
  ] as const) {
    const head = { ":method": "POST", ":path": `/${SERVICE}/Generate`, "content-type": type, te: "trailers", ...KEY };
    const stream = session.request(head).resume();
    stream.end(envelope({ body }));
    const trailers = await new Promise<Record<string, unknown>>((resolve) => stream.on("trailers", resolve));
    expect([type, trailers["grpc-status"]]).toEqual([type, "0"]);
  }
});
