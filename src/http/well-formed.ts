/**
 * Makes every string and key of a parsed JSON value well-formed, in place, and returns the value. A lone surrogate becomes
 * U+FFFD, as when the text is encoded for the tokenizer: what is echoed is then what was read.
 */
export function wellFormed<T>(value: T): T {
  const root = [value];
  const open: object[] = [root];
  const cured = (item: unknown): unknown => {
    if (typeof item === "string") return item.toWellFormed();
    if (typeof item === "object" && item !== null) open.push(item);
    return item;
  };
  for (let holder = open.pop(); holder !== undefined; holder = open.pop()) {
    if (Array.isArray(holder)) {
      for (let i = 0; i < holder.length; i++) if (typeof holder[i] !== "number") holder[i] = cured(holder[i]);
    } else {
      for (const [key, item] of Object.entries(holder)) setField(holder, key, cured(item));
    }
  }
  return root[0]!;
}

function setField(holder: object, key: string, value: unknown): void {
  const name = key.toWellFormed();
  if (name !== key) Reflect.deleteProperty(holder, key);
  // Assigning to "__proto__" would set the prototype.
  if (name === "__proto__") Object.defineProperty(holder, name, { value });
  else (holder as Record<string, unknown>)[name] = value;
}
