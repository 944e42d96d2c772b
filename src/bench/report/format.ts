/** A latency for people: three significant digits, in the unit that reads best. */
export function formatMs(ms: number | undefined): string {
  if (ms === undefined || !Number.isFinite(ms)) return "-";
  if (ms < 1) return `${Math.round(ms * 1000)} us`;
  if (ms < 1000) return `${threeDigits(ms)} ms`;
  return `${threeDigits(ms / 1000)} s`;
}

/** Three significant digits, never in exponents. */
export function threeDigits(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return "-";
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toString();
  if (size >= 10) return value.toFixed(1);
  return value.toFixed(2);
}

/** `1.94x`: above 1 is better than the baseline. */
export function formatSpeedup(factor: number): string {
  return Number.isFinite(factor) ? `${factor.toFixed(2)}x` : "-";
}

export function formatPercent(share: number): string {
  return `${threeDigits(share * 100)}%`;
}
