import { bodyTimeout } from "../body-limit.ts";
import { toConnectError } from "./connect-errors.ts";

/**
 * The same bytes; reading fails with DEADLINE_EXCEEDED, reason body_timeout, when they have not all arrived `limitMs` after
 * the first read. `onLate` is called then: the rest is not worth waiting for.
 */
export function bodyWithin(
  body: AsyncIterable<Uint8Array>,
  limitMs: number,
  onLate: () => void = () => {},
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const source = body[Symbol.asyncIterator]();
      const expired = Promise.withResolvers<never>();
      // Without a reader at the moment of expiry there is nobody to tell.
      expired.promise.catch(() => {});
      let timer: ReturnType<typeof setTimeout> | undefined;
      return {
        async next() {
          timer ??= setTimeout(() => {
            onLate();
            expired.reject(toConnectError(bodyTimeout(limitMs)));
          }, limitMs);
          try {
            const result = await Promise.race([source.next(), expired.promise]);
            if (result.done === true) clearTimeout(timer);
            return result;
          } catch (error) {
            clearTimeout(timer);
            throw error;
          }
        },
        async return() {
          clearTimeout(timer);
          await source.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
