import { Code, ConnectError } from "@connectrpc/connect";
import type { Limits } from "../../config/limits.ts";
import { bodyTooLarge } from "../body-limit.ts";
import { JsonScanner, rpcJsonBounds } from "../json-bounds.ts";
import { toConnectError } from "./connect-errors.ts";

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Reads the bytes of a JSON message, decompressed ones too, before they are parsed: Connect's serialisation takes its text
 * decoder from the JSON options, the one place that every protocol's messages pass. Throws ConnectError invalid_argument
 * for what is beyond rpcJsonBounds or is no UTF-8, resource_exhausted beyond maxRpcJsonBytes.
 */
export function jsonDecoder(limits: Limits): Pick<TextDecoder, "decode"> {
  const bounds = rpcJsonBounds(limits);
  return {
    decode(bytes) {
      try {
        if (bytes!.byteLength > limits.maxRpcJsonBytes) throw bodyTooLarge(limits.maxRpcJsonBytes);
        new JsonScanner(bounds).push(bytes as Uint8Array);
      } catch (error) {
        throw toConnectError(error);
      }
      try {
        return UTF8.decode(bytes);
      } catch {
        throw new ConnectError("The request's JSON is not valid UTF-8.", Code.InvalidArgument);
      }
    },
  };
}
