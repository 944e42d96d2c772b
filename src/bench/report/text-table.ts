/** A table for the terminal: first column and trailing prose to the left, figures to the right, a rule below the header. */
export function textTable(header: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const widths = header.map((cell, column) => Math.max(cell.length, ...rows.map((row) => (row[column] ?? "").length)));
  // A column without a heading holds names or explanations.
  const isProse = header.map((cell) => cell === "");
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (isProse[column] === true ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join("  ")
      .trimEnd();
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  return [line(header), rule, ...rows.map(line)].join("\n");
}
