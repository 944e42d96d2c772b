/** Files imported with { type: "file" } are paths. */
declare module "*.gguf" {
  const path: string;
  export default path;
}
