/** A file import's value is its path. */
declare module "*.so" {
  const path: string;
  export default path;
}
