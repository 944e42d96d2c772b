import { expect, test } from "bun:test";
import {
  ABI_VERSION,
  CPU_FEATURES,
  ISAS,
  KV_DTYPES,
  SCALE_KINDS,
  STAGES,
  STATUS,
  STRUCTS,
  WEIGHT_FORMATS,
} from "../../src/backend/abi.ts";
import { locateLibrary, openLibrary } from "../../src/backend/library.ts";
import { STEP } from "../../src/backend/step-layout.ts";
import { WEIGHT_DTYPES, WEIGHT_ROLES } from "../../src/model/spec.ts";

interface Description {
  version: number;
  structs: Record<string, { size: number; fields: Record<string, [offset: number, size: number]> }>;
}

const library = openLibrary(await locateLibrary());

test("struct layouts are the library's", () => {
  const described: Description = JSON.parse(library.describeAbi());
  expect(described.version).toBe(ABI_VERSION);
  for (const [name, layout] of Object.entries(STRUCTS)) {
    const fields = Object.fromEntries(
      Object.entries(layout.fields).map(([field, { offset, size }]) => [field, [offset, size] as [number, number]]),
    );
    expect({ [name]: described.structs[name] }).toEqual({ [name]: { size: layout.size, fields } });
  }
});

test("enums are the header's", async () => {
  const header = await Bun.file("kernels/include/scalellm.h").text();
  const values = new Map(
    [...header.matchAll(/\b(SL_[A-Z0-9_]+) = (\d+)\b/g)].map(([, name, value]) => [name!, Number(value)]),
  );
  const check = (prefix: string, names: readonly string[], expected: (index: number) => number = (index) => index) => {
    names.forEach((name, index) => {
      expect([prefix + name, values.get(prefix + name.toUpperCase())]).toEqual([prefix + name, expected(index)]);
    });
  };
  const short: Record<string, string> = { float32: "f32", float16: "f16", bfloat16: "bf16", fp8: "f8_e4m3" };
  for (const [name, value] of Object.entries(STATUS))
    expect(header).toContain(`SL_ERR_${name.toUpperCase()} = ${value},`);
  check("SL_ISA_", ISAS);
  check(
    "SL_KV_",
    KV_DTYPES.map((name) => short[name] ?? name),
  );
  check(
    "SL_WEIGHTS_",
    WEIGHT_FORMATS.map((name) => short[name] ?? name),
  );
  check("SL_SCALE_", SCALE_KINDS);
  check("SL_STAGE_", STAGES);
  expect(values.get("SL_NUM_STAGES")).toBe(STAGES.length);
  check("SL_CPU_", CPU_FEATURES, (index) => 1 << index);
  check("SL_", WEIGHT_DTYPES);
  check("SL_ROLE_", WEIGHT_ROLES);
  for (const [name, value] of Object.entries(STEP)) {
    const cName = `SL_STEP_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
    expect([cName, values.get(cName)]).toEqual([cName, value]);
  }
});
