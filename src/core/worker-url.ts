/** In a compiled binary every module lives in the virtual folder of the first entry point. */
const COMPILED = import.meta.dir.startsWith("/$bunfs/") || import.meta.dir.startsWith("B:\\~BUN");

/**
 * Where `new Worker()` finds a module, given by its path under src/. From source that is its own place. A compiled binary
 * holds one bundle, so a URL relative to the importing module would miss: Workers are further entry points of the build
 * (see the Makefile), kept by their path relative to src/main.ts.
 */
export function workerUrl(pathUnderSrc: string): string {
  return new URL(COMPILED ? `./${pathUnderSrc}` : `../${pathUnderSrc}`, import.meta.url).href;
}
