import type { DescMethod } from "@bufbuild/protobuf";
import { bodyTooLarge, longestContext, maxInflatedBytes, maxRequestBytes } from "../body-limit.ts";
import { ByteQueue } from "./byte-queue.ts";
import { toConnectError } from "./connect-errors.ts";
import { COMPRESSED, framed, PREFIX_BYTES } from "./frames.ts";
import { inflate } from "./inflate.ts";
import { MessageBounds } from "./message-bounds.ts";
import { MessageScan } from "./message-scan.ts";
import type { RpcDeps } from "./rpc-deps.ts";
import { WireFields } from "./wire-fields.ts";

/** What Connect gets to see of a call's request. */
export interface CheckedRequest {
  readonly header: Headers;
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * Stands between the transports and Connect, which would make objects of whatever comes: unpacks what is compressed, holds
 * bodies to the bounds that all APIs share, and refuses a message that holds more than its fields may have. Reading a
 * checked body throws ConnectError, which Connect answers in the call's protocol.
 */
export class RequestBodies {
  private readonly types = new WireFields();
  private bounds: { context: number; of: MessageBounds } | undefined;

  constructor(private readonly deps: Pick<RpcDeps, "gateway" | "limits" | "turns">) {}

  check(method: DescMethod, header: Headers, body: AsyncIterable<Uint8Array>): CheckedRequest {
    const type = (header.get("content-type") ?? "").toLowerCase();
    const isJson = type.includes("json");
    if (/^application\/(grpc|connect\+)/.test(type)) {
      const encoding = header.get(type.startsWith("application/grpc") ? "grpc-encoding" : "connect-content-encoding");
      return { header, body: this.envelopes(method, isJson, encoding, body) };
    }
    const encoding = header.get("content-encoding");
    return {
      // Its body is unpacked here.
      header: encoding === "gzip" ? unpackedHeader(header) : header,
      body: this.whole(method, isJson, encoding, header.get("content-length"), body),
    };
  }

  /** A body that is one message. */
  private async *whole(
    method: DescMethod,
    isJson: boolean,
    encoding: string | null,
    declared: string | null,
    body: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    const maxBytes = maxRequestBytes(this.deps.gateway.models(), this.deps.limits);
    if (declared !== null && Number(declared) > maxBytes) throw toConnectError(bodyTooLarge(maxBytes));
    const received = new ByteQueue();
    for await (const chunk of body) {
      received.push(chunk);
      if (received.length > maxBytes) throw toConnectError(bodyTooLarge(maxBytes));
    }
    const bytes = received.take(received.length);
    yield await this.message(method, isJson, encoding === "gzip", bytes);
  }

  /** Messages with a prefix of five bytes: flags and length. */
  private async *envelopes(
    method: DescMethod,
    isJson: boolean,
    encoding: string | null,
    body: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    const maxBytes = maxRequestBytes(this.deps.gateway.models(), this.deps.limits);
    const received = new ByteQueue();
    let prefix: Uint8Array | undefined;
    for await (const chunk of body) {
      received.push(chunk);
      for (;;) {
        if (prefix === undefined && received.length >= PREFIX_BYTES) prefix = received.take(PREFIX_BYTES);
        if (prefix === undefined) break;
        const length = new DataView(prefix.buffer, prefix.byteOffset).getUint32(1);
        if (length > maxBytes) throw toConnectError(bodyTooLarge(maxBytes));
        if (received.length < length) break;
        const packed = encoding === "gzip" && (prefix[0]! & COMPRESSED) !== 0;
        const message = await this.message(method, isJson, packed, received.take(length));
        yield framed(message, packed ? prefix[0]! & ~COMPRESSED : prefix[0]!);
        prefix = undefined;
      }
    }
    // A message that was begun: Connect says so.
    if (prefix !== undefined) yield prefix;
    if (received.length > 0) yield received.take(received.length);
  }

  /** One message, unpacked and checked, in a turn that has time to read it. */
  private async message(method: DescMethod, isJson: boolean, packed: boolean, bytes: Uint8Array): Promise<Uint8Array> {
    const { gateway, limits, turns } = this.deps;
    const models = gateway.models();
    try {
      const message = packed ? await inflate(bytes, maxInflatedBytes(models, limits)) : bytes;
      if (turns.spent()) await turns.next();
      if (!isJson) new MessageScan(message, this.boundsFor(longestContext(models)), this.types).check(method.input);
      return message;
    } catch (error) {
      throw toConnectError(error);
    }
  }

  private boundsFor(context: number): MessageBounds {
    if (this.bounds?.context !== context) this.bounds = { context, of: new MessageBounds(context, this.deps.limits) };
    return this.bounds.of;
  }
}

/** As if the client had not compressed its message, and would take an answer that is. */
function unpackedHeader(header: Headers): Headers {
  const unpacked = new Headers(header);
  unpacked.delete("content-encoding");
  unpacked.delete("content-length");
  if (!unpacked.has("accept-encoding")) unpacked.set("accept-encoding", "gzip");
  return unpacked;
}
