/** Maps values of a domain to 0..1 along an axis, and says where ticks belong. */
export interface Scale {
  at(value: number): number;
  ticks: readonly number[];
}

/** From 0, or from `low`, to a round number at or above `high`. */
export function linearScale(low: number, high: number, wanted = 5): Scale {
  const span = Math.max(high - low, 1e-9);
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  const end = low + Math.ceil(span / step - 1e-9) * step;
  const ticks: number[] = [];
  for (let i = 0; low + i * step <= end + step * 1e-6; i++) ticks.push(low + i * step);
  return { at: (value) => (value - low) / (end - low), ticks };
}

/** Decades with their 2s and 5s where there are few; for values above 0. */
export function logScale(low: number, high: number): Scale {
  const from = Math.log10(low);
  const to = Math.max(Math.log10(high), from + 0.1);
  const factors = to - from > 3 ? [1] : to - from > 1.5 ? [1, 3] : [1, 2, 5];
  const ticks: number[] = [];
  for (let decade = Math.floor(from); decade <= Math.ceil(to); decade++)
    for (const factor of factors) {
      const tick = factor * 10 ** decade;
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
    }
  return { at: (value) => (Math.log10(Math.max(value, low)) - from) / (to - from), ticks };
}

/** Given positions at equal ratios, such as concurrencies 1, 2, 4 ...; a tick at each. */
export function categoryScale(values: readonly number[]): Scale {
  const low = Math.min(...values);
  const high = Math.max(...values);
  if (low <= 0 || high === low) return { at: () => 0.5, ticks: values };
  const span = Math.log2(high / low);
  return { at: (value) => Math.log2(value / low) / span, ticks: values };
}

/** Percentiles by their distance to 100, so that the tail has as much room as the body: 0, 50, 90, 99, 99.9. */
export function percentileScale(): Scale {
  const last = 99.9;
  const stretch = (percent: number): number => -Math.log10(1 - Math.min(percent, last) / 100);
  return { at: (percent) => stretch(percent) / stretch(last), ticks: [0, 50, 75, 90, 95, 99, last] };
}
