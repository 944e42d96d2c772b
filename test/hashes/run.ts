import { createHash } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { ISAS, type Isa, STATUS } from "../../src/backend/abi.ts";
import { BackendError } from "../../src/backend/backend.ts";
import { locateLibrary } from "../../src/backend/library.ts";
import { openModel } from "../../src/model/open-model.ts";
import { type Formats, hashOutputs } from "./hash-outputs.ts";

/**
 * bun test/hashes/run.ts
 * Prints a hash of all outputs of every golden checkpoint and of the bundled model, for each instruction set that this
 * machine has. A change that is not meant to change results leaves every line as it was.
 */
const ROOT = join(import.meta.dir, "../..");
const GOLDENS = join(ROOT, "test/fixtures/goldens");
const BUNDLED = join(ROOT, "models/SmolLM2-135M-Instruct.Q4_1.gguf");
const FORMATS: readonly Formats[] = [
  { weights: "auto", kv: "auto" },
  { weights: "float32", kv: "float32" },
  { weights: "int8", kv: "int8" },
  { weights: "bfloat16", kv: "bfloat16" },
  { weights: "auto", kv: "float16" },
];

const libraryPath = await locateLibrary();
const names = readdirSync(GOLDENS).filter((name) => statSync(join(GOLDENS, name)).isDirectory());
const models = [
  ...names.sort().map((name) => ({
    name,
    plan: openModel(join(GOLDENS, name)).plan,
    sizes: () => ({ formats: FORMATS, logitTokens: 90, numRequests: 22, numEngines: 5 }),
  })),
  {
    name: "bundled",
    plan: openModel(BUNDLED).plan,
    // Portable kernels compute about ten tokens a second.
    sizes: (isa: Isa) => {
      const [logitTokens, numRequests, numEngines] = isa === "portable" ? [24, 2, 1] : [40, 11, 5];
      return { formats: FORMATS.slice(0, 1), logitTokens, numRequests, numEngines };
    },
  },
];

function print(isa: string, name: string, text: string): void {
  console.log(`${isa.padEnd(9)} ${name.padEnd(24)} ${text}`);
}

for (const isa of ISAS.slice(1)) {
  const all = createHash("sha256");
  try {
    for (const { name, plan, sizes } of models) {
      const digest = hashOutputs(plan, { libraryPath, isa, ...sizes(isa) });
      all.update(digest);
      print(isa, name, digest.slice(0, 16));
    }
    print(isa, "all", all.digest("hex").slice(0, 16));
  } catch (error) {
    if (!(error instanceof BackendError) || error.status !== STATUS.unsupported) throw error;
    print(isa, "not run", error.message);
  }
}
