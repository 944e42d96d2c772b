/**
 * What a tenant may still use in the current round of deficit round robin (Shreedhar and Varghese, 1995), counted in
 * tokens computed for it, prefill and decode alike. One account serves all of a tenant's queues, so a tenant gains nothing
 * by mixing long and short prompts.
 */
export interface TenantAccount {
  readonly tenant: string;
  /** Separates its prefix-cache chains from those of other tenants. */
  readonly salt: number;
  /** Tokens; served while positive. */
  deficit: number;
  /** Sequences that exist under this account. */
  numSequences: number;
}

/** Accounts of the tenants that have sequences here; an account closes with its last one. */
export class TenantAccounts {
  readonly #open = new Map<string, TenantAccount>();
  /** Tenants are configured keys, not client input, so this stays small; a salt must never be reused for another. */
  readonly #salts = new Map<string, number>();
  readonly #shareCache: boolean;

  constructor(shareCache: boolean) {
    this.#shareCache = shareCache;
  }

  get size(): number {
    return this.#open.size;
  }

  open(tenant: string): TenantAccount {
    let account = this.#open.get(tenant);
    if (!account) {
      account = { tenant, salt: this.#saltOf(tenant), deficit: 0, numSequences: 0 };
      this.#open.set(tenant, account);
    }
    return account;
  }

  /** A sequence of the account ended. */
  leave(account: TenantAccount): void {
    if (--account.numSequences === 0) this.#open.delete(account.tenant);
  }

  #saltOf(tenant: string): number {
    if (this.#shareCache) return 0;
    let salt = this.#salts.get(tenant);
    if (salt === undefined) this.#salts.set(tenant, (salt = this.#salts.size));
    return salt;
  }
}
