import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundledFiles, bundledPackages, NOTICES } from "../src/licenses/bundled-packages.ts";
import { bunParts, bunVersion, gccRuntime, kitokenCrates } from "../src/licenses/native-parts.ts";
import { BINARY } from "./e2e/binary.ts";

test("`scalellm licenses` has the notice of everything that the bundler took in, and of what it does not know of", async () => {
  const { stdout, exitCode } = Bun.spawnSync([BINARY, "licenses"], { stdio: ["ignore", "pipe", "pipe"] });
  const text = stdout.toString();
  expect(exitCode).toBe(0);
  expect(text).toBe(readFileSync(NOTICES, "utf8"));
  const packages = bundledPackages(await bundledFiles());
  expect(packages.length).toBeGreaterThan(20);
  for (const { name, version, license, notice } of packages) {
    expect(text).toContain(`${name} ${version} (${license})`);
    expect(notice.length).toBeGreaterThan(50);
    expect(text).toContain(notice);
  }
  for (const { name, version, license } of [...kitokenCrates(), ...gccRuntime()]) {
    expect(text).toContain(`${name} ${version ?? ""}`.trim());
    expect(text).toContain(license);
  }
  for (const { name } of bunParts()) expect(text).toContain(name);
  for (const words of [
    `Bun ${bunVersion()}`,
    "JavaScriptCore",
    "boringssl",
    "GCC RUNTIME LIBRARY EXCEPTION",
    "GNU LESSER GENERAL PUBLIC LICENSE",
    "GNU LIBRARY GENERAL PUBLIC LICENSE",
    "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION",
    "SmolLM2-135M-Instruct",
  ])
    expect(text).toContain(words);
});

test("every package that the product is declared to need is covered", async () => {
  const { dependencies } = JSON.parse(readFileSync("package.json", "utf8"));
  const covered = new Set(bundledPackages(await bundledFiles()).map(({ name }) => name));
  for (const name of Object.keys(dependencies)) expect(name === "bun" || covered.has(name)).toBe(true);
});

test("a package that says nothing of its license stops the build", () => {
  // One whose package.json names a license, but which has no text of it.
  expect(() => bundledPackages(["node_modules/@connectrpc/connect-web/dist/index.js"])).toThrow("src/licenses/npm/");
});

test("make sbom: CycloneDX 1.6 of all parts, the same bytes each time", () => {
  const folder = mkdtempSync(join(tmpdir(), "scalellm-sbom-"));
  const write = (name: string) => {
    const path = join(folder, name);
    expect(Bun.spawnSync([process.execPath, "src/licenses/sbom.ts", path]).exitCode).toBe(0);
    return readFileSync(path, "utf8");
  };
  const text = write("a.json");
  expect(write("b.json")).toBe(text);
  rmSync(folder, { recursive: true });
  const bom = JSON.parse(text);
  expect(bom).toMatchObject({ bomFormat: "CycloneDX", specVersion: "1.6", version: 1 });
  expect(bom.serialNumber).toMatch(
    /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  expect(bom.metadata.component).toMatchObject({ type: "application", name: "scalellm", version: "0.1.0" });
  // biome-ignore lint/suspicious/noExplicitAny: whatever the file holds.
  const all: any[] = bom.components.flatMap((component: any) => [component, ...(component.components ?? [])]);
  const refs = all.map((component) => component["bom-ref"]);
  expect(new Set(refs).size).toBe(refs.length);
  for (const component of all) {
    expect(["application", "library", "machine-learning-model"]).toContain(component.type);
    expect(component.name).toBeString();
    expect(component.licenses).toHaveLength(1);
    const [{ license, expression }] = component.licenses;
    expect(typeof (license?.id ?? license?.name ?? expression)).toBe("string");
    expect(component.name.includes("/")).toBe(false);
    for (const { url } of component.externalReferences ?? []) expect(URL.canParse(url)).toBe(true);
  }
  expect(refs).toContain(`pkg:npm/bun@${bunVersion()}`);
  expect(refs).toContain("pkg:npm/%40connectrpc/connect@2.2.0");
  const [{ ref, dependsOn }] = bom.dependencies;
  expect(ref).toBe(bom.metadata.component["bom-ref"]);
  for (const dependency of dependsOn) expect(refs).toContain(dependency);
});
