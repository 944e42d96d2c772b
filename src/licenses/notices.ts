/** Writes the third-party notices of the binary: `bun src/licenses/notices.ts`. Needs no network. */
import { readFileSync, writeFileSync } from "node:fs";
import { bundledFiles, bundledPackages, NOTICES } from "./bundled-packages.ts";
import { bunStatement, bunVersion, gccRuntime, kitokenCrates, type NativePart } from "./native-parts.ts";

const RULE = "=".repeat(100);
const TEXTS = {
  "Apache License 2.0": "LICENSE",
  "MIT License": "src/licenses/texts/MIT.txt",
  "GNU Library General Public License 2.0": "src/licenses/texts/LGPL-2.0.txt",
  "GNU Lesser General Public License 2.1": "src/licenses/texts/LGPL-2.1.txt",
  "GNU General Public License 3.0": "src/licenses/texts/GPL-3.0.txt",
  "GCC Runtime Library Exception 3.1": "src/licenses/texts/GCC-exception-3.1.txt",
};

const section = (title: string, text: string) => `${RULE}\n${title}\n${RULE}\n\n${text.trim()}\n`;
const line = ({ name, version = "", license }: NativePart) => `  ${`${name} ${version}`.padEnd(34)} ${license}`;
const file = (path: string) => readFileSync(path, "utf8");

const packages = bundledPackages(await bundledFiles());
const runtime = gccRuntime();
const crates = kitokenCrates();

writeFileSync(
  NOTICES,
  [
    `ScaleLLM is licensed under the Apache License 2.0. Its binary holds the following works of others. Texts of the common
licenses are at the end.

Runtime
${line({ name: "Bun", version: bunVersion(), license: "MIT, with parts under other licenses (below)" })}
${runtime.map(line).join("\n")}

Packages
${packages.map(line).join("\n")}

Rust crates in kitoken
${crates.map(line).join("\n")}

Model
${line({ name: "SmolLM2-135M-Instruct", license: "Apache-2.0" })}
`,
    section(`Bun ${bunVersion()}`, bunStatement()),
    section(
      runtime.map(({ name, version }) => `${name} ${version ?? ""}`.trim()).join(", "),
      "Copyright (C) Free Software Foundation, Inc. Licensed under the GNU General Public License, version 3 or later, with\n" +
        "the GCC Runtime Library Exception 3.1, which permits to convey the binary under terms of its own.",
    ),
    ...packages.map(({ name, version, license, notice }) => section(`${name} ${version} (${license})`, notice)),
    section(
      "Rust crates in kitoken",
      "Copyright their authors, who are named at https://crates.io/crates/NAME. Each is used under the MIT License.",
    ),
    section("SmolLM2-135M-Instruct", file("models/README.md")),
    ...Object.entries(TEXTS).map(([title, path]) => section(title, file(path))),
  ].join("\n"),
);
