import { closeSync, openSync, readSync } from "node:fs";
import { failureReason } from "../core/failure-reason.ts";
import { ConfigError } from "./parse.ts";

/**
 * The text of a file or an open descriptor. Throws ConfigError, behind `where`, for what cannot be read or has more than
 * `maxBytes`: no more is read, since not every file has an end.
 */
export function readText(file: string | number, maxBytes: number, where: string): string {
  const bytes = Buffer.alloc(maxBytes + 1);
  let length = 0;
  let opened: number | undefined;
  try {
    const descriptor = typeof file === "number" ? file : (opened = openSync(file, "r"));
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      read = readSync(descriptor, bytes, length, bytes.length - length, null);
    }
  } catch (error) {
    throw new ConfigError(`${where}: ${failureReason(error)}`);
  } finally {
    if (opened !== undefined) closeSync(opened);
  }
  if (length > maxBytes) throw new ConfigError(`${where}: larger than ${maxBytes} bytes`);
  return bytes.toString("utf8", 0, length);
}
