/** Writes the binary's parts as CycloneDX 1.6 JSON: `bun src/licenses/sbom.ts FILE`. Equal inputs give equal bytes. */
import { createHash } from "node:crypto";
import { createReadStream, readFileSync, writeFileSync } from "node:fs";
import { bundledFiles, bundledPackages } from "./bundled-packages.ts";
import { bunParts, bunVersion, gccRuntime, kitokenCrates, type NativePart } from "./native-parts.ts";

interface Component {
  type: "application" | "library" | "machine-learning-model";
  "bom-ref": string;
  name: string;
  group?: string;
  version?: string;
  purl?: string;
  licenses: Array<{ license: { id: string } | { name: string } } | { expression: string }>;
  hashes?: Array<{ alg: "SHA-256"; content: string }>;
  externalReferences?: Array<{ type: "website"; url: string }>;
  components?: Component[];
}

const MODEL = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
const SPDX_ID = /^[A-Za-z0-9.-]+$/;
const SPDX_EXPRESSION = /^[A-Za-z0-9.-]+( (AND|OR|WITH) [A-Za-z0-9.-]+)+$/;

function licensesOf(license: string): Component["licenses"] {
  if (SPDX_EXPRESSION.test(license)) return [{ expression: license }];
  return [{ license: SPDX_ID.test(license) ? { id: license } : { name: license } }];
}

function native({ name, version, license, url }: NativePart, within: string): Component {
  return {
    type: "library",
    "bom-ref": `${within}/${name}${version === undefined ? "" : `@${version}`}`,
    name,
    ...(version === undefined ? {} : { version }),
    licenses: licensesOf(license),
    ...(url === undefined ? {} : { externalReferences: [{ type: "website", url }] }),
  };
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

const { name, version, license } = JSON.parse(readFileSync("package.json", "utf8"));
const product: Component = {
  type: "application",
  "bom-ref": `pkg:generic/${name}@${version}`,
  name,
  version,
  purl: `pkg:generic/${name}@${version}`,
  licenses: licensesOf(license),
};
const bunRef = `pkg:npm/bun@${bunVersion()}`;
const components: Component[] = [
  {
    type: "application",
    "bom-ref": bunRef,
    name: "bun",
    version: bunVersion(),
    purl: bunRef,
    licenses: licensesOf("MIT"),
    components: bunParts().map((part) => native(part, bunRef)),
  },
  ...bundledPackages(await bundledFiles()).map((bundled): Component => {
    const [scope, base] = bundled.name.startsWith("@") ? bundled.name.split("/") : [undefined, bundled.name];
    const purl = `pkg:npm/${bundled.name.replace("@", "%40")}@${bundled.version}`;
    return {
      type: "library",
      "bom-ref": purl,
      ...(scope === undefined ? {} : { group: scope }),
      name: base!,
      version: bundled.version,
      purl,
      licenses: licensesOf(bundled.license),
      ...(bundled.name === "kitoken" ? { components: kitokenCrates().map((crate) => native(crate, purl)) } : {}),
    };
  }),
  ...gccRuntime().map((part) => native(part, "gcc")),
  {
    type: "machine-learning-model",
    "bom-ref": "model/SmolLM2-135M-Instruct",
    name: "SmolLM2-135M-Instruct",
    licenses: licensesOf("Apache-2.0"),
    hashes: [{ alg: "SHA-256", content: await sha256(MODEL) }],
  },
];
const content = {
  metadata: { component: product },
  components,
  dependencies: [{ ref: product["bom-ref"], dependsOn: components.map((component) => component["bom-ref"]) }],
};
const digest = createHash("sha256").update(JSON.stringify(content)).digest("hex");
// A UUID of version 8: its bits are our own.
const uuid = `${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-8${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
const bom = {
  $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
  bomFormat: "CycloneDX",
  specVersion: "1.6",
  serialNumber: `urn:uuid:${uuid}`,
  version: 1,
  ...content,
};
writeFileSync(process.argv[2]!, `${JSON.stringify(bom, undefined, 2)}\n`);
