/** A name to serve a model under: lower case, with dashes for what would need quoting in a URL or a shell. */
export function servedName(name: string): string {
  const slug = name
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[-.]+|[-.]+$/g, "");
  return slug === "" ? "model" : slug;
}
