/** Milliseconds of gRPC's units that can be longer than any timer. */
const LONG_UNITS: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1000 };

/**
 * The same headers, with timeouts of at most `maxMs`: Connect would refuse a longer one, which is legal. A malformed one is
 * left for it to refuse.
 */
export function withCappedTimeout(headers: Headers, maxMs: number): Headers {
  const connect = headers.get("connect-timeout-ms");
  const grpc = headers.get("grpc-timeout");
  if (connect === null && grpc === null) return headers;
  const result = new Headers(headers);
  if (/^\d{1,10}$/.test(connect ?? "") && Number(connect) > maxMs) result.set("connect-timeout-ms", String(maxMs));
  const [, digits, unit] = /^(\d{1,8})([HMS])$/.exec(grpc ?? "") ?? [];
  if (unit !== undefined && Number(digits) * LONG_UNITS[unit]! > maxMs) {
    result.set("grpc-timeout", `${Math.floor(maxMs / 1000)}S`);
  }
  return result;
}
