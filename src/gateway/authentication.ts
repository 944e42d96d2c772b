import { createHash, timingSafeEqual } from "node:crypto";
import { ServeError } from "../core/errors.ts";

/** Who asks. */
export interface Identity {
  /** Whose quota and prefix cache a request uses: stable for a key, "" without authentication. */
  readonly tenant: string;
}

const ANONYMOUS: Identity = Object.freeze({ tenant: "" });

/** Checks API keys. Without any key everyone may pass. */
export class Authentication {
  private readonly known: ReadonlyArray<{ digest: Buffer; identity: Identity }>;

  constructor(keys: readonly string[]) {
    this.known = [...new Set(keys)].map((key) => ({
      digest: sha256(key),
      // Another hash than the one compared with: a tenant's name appears in logs and metrics.
      identity: Object.freeze({ tenant: sha256(`tenant:${key}`).toString("hex", 0, 8) }),
    }));
  }

  get required(): boolean {
    return this.known.length > 0;
  }

  /** Reads `authorization: Bearer KEY` or `x-api-key: KEY`. Throws ServeError unauthenticated. */
  authenticate(headers: Headers): Identity {
    if (!this.required) return ANONYMOUS;
    const presented = presentedKey(headers);
    if (presented === undefined) {
      throw new ServeError(
        "unauthenticated",
        "You didn't provide an API key. Send it in the header 'Authorization: Bearer KEY'.",
        { reason: "missing_api_key" },
      );
    }
    const digest = sha256(presented);
    let found: Identity | undefined;
    // Digests have one length and every key is compared, so that time tells nothing about a key or which one matched.
    for (const { digest: expected, identity } of this.known) if (timingSafeEqual(digest, expected)) found = identity;
    if (found === undefined) {
      throw new ServeError("unauthenticated", "The API key is not valid.", { reason: "invalid_api_key" });
    }
    return found;
  }
}

function presentedKey(headers: Headers): string | undefined {
  const authorization = headers.get("authorization");
  const bearer = authorization === null ? undefined : /^bearer +(\S+) *$/i.exec(authorization)?.[1];
  return bearer ?? headers.get("x-api-key") ?? undefined;
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
