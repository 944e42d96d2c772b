/** More edits than this turn one word into another. */
const MAX_EDITS = 2;

/** The known name nearest to a mistyped one, within two edits (and fewer than its own letters); undefined when none is. */
export function nearestName(typed: string, names: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestEdits = MAX_EDITS + 1;
  for (const name of names) {
    const edits = editDistance(typed, name);
    if (edits < bestEdits && edits < name.length) {
      bestEdits = edits;
      best = name;
    }
  }
  return best;
}

/** Levenshtein's distance, with two exchanged neighbours as one edit (Damerau): `sevre` is one from `serve`. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      row[j] = Math.min(row[j - 1]! + 1, last[j]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        row[j] = Math.min(row[j]!, before[j - 2]! + 1);
    }
    [before, last] = [last, row];
  }
  return last[b.length]!;
}
