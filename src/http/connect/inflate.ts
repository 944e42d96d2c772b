import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import type { Compression } from "@connectrpc/connect/protocol";
import { compressionGzip } from "@connectrpc/connect-node";
import { ServeError } from "../../core/errors.ts";
import { toConnectError } from "./connect-errors.ts";

const unzip = promisify(gunzip);

/**
 * Unpacks gzip, on a thread of the pool. Throws ServeError: payload_too_large as soon as there are more than `maxBytes`,
 * invalid_argument for what is no gzip.
 */
export async function inflate(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  // gRPC marks an empty message as compressed and sends nothing.
  if (bytes.length === 0) return new Uint8Array(0);
  try {
    return (await unzip(bytes, { maxOutputLength: maxBytes })) as Uint8Array<ArrayBuffer>;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
      const message = `The compressed request body unpacks to more than ${maxBytes} bytes.`;
      throw new ServeError("payload_too_large", message);
    }
    throw new ServeError("invalid_argument", "The request body is not valid gzip.", { reason: "invalid_gzip" });
  }
}

/** Connect's gzip for responses, and for what it unpacks itself: the message in the URL of a GET. */
export function urlGzip(maxBytes: number): Compression {
  return {
    name: compressionGzip.name,
    compress: (bytes) => compressionGzip.compress(bytes),
    async decompress(bytes) {
      try {
        return await inflate(bytes, maxBytes);
      } catch (error) {
        throw toConnectError(error);
      }
    },
  };
}
