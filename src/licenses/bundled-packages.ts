import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** A package of npm of which the binary holds at least one file. */
export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  /** An SPDX expression. */
  readonly license: string;
  /** The package's own notice, or ours in src/licenses/npm where it has none. */
  readonly notice: string;
}

/** Where `scalellm licenses` takes its text from: a part of the binary too, so it has to be there before it is known. */
export const NOTICES = "build/third-party-notices.txt";
const NOTICE_FILE = /^(licen[cs]e|copying|notice)/i;

/** The files of the binary, by paths from the repository's root: what Bun's bundler put together. */
export async function bundledFiles(): Promise<string[]> {
  if (!existsSync(NOTICES)) {
    mkdirSync(dirname(NOTICES), { recursive: true });
    writeFileSync(NOTICES, "");
  }
  const entrypoints = /^ENTRYPOINTS := (.+)$/m.exec(readFileSync("Makefile", "utf8"))![1]!.split(" ");
  const { metafile } = await Bun.build({ entrypoints, target: "bun", metafile: true });
  return Object.keys(metafile!.inputs).sort();
}

/** The packages that `files` come from, by name. Throws where one says nothing of its license. */
export function bundledPackages(files: readonly string[]): BundledPackage[] {
  const folders = new Set(files.flatMap((file) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? []));
  return [...folders].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    if (typeof license !== "string") throw new Error(`${folder}/package.json names no license`);
    return { name, version, license: license.replace(/^\((.*)\)$/, "$1"), notice: noticeOf(name, folder) };
  });
}

function noticeOf(name: string, folder: string): string {
  const own = readdirSync(folder).filter((file) => NOTICE_FILE.test(file));
  const paths =
    own.length > 0 ? own.map((file) => join(folder, file)) : [`src/licenses/npm/${name.replace("/", "+")}.txt`];
  if (!paths.every((path) => existsSync(path))) {
    throw new Error(`${name} has no license file; write its notice to ${paths[0]}`);
  }
  return paths.map((path) => readFileSync(path, "utf8").trim()).join("\n\n");
}
