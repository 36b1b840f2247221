/** An adapter that this package trained and saved is loaded by Python's PEFT, which computes the same logits. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert } from "chai";
import { saveTrained, adapterShape } from "../../lib/models/trained-model.js";
import { fixtureRoots } from "../parity/fixtures.js";
import { addon, adapterBase, loadWithAdapter, packedBatch } from "../parity/runtime.js";
import { readSafetensors } from "../parity/safetensors.js";
import { createOptimizer, gradient, update } from "../parity/steps.js";

const program = join(import.meta.dirname, "peft_roundtrip.py");
const needed = ["torch", "transformers", "peft", "safetensors"];
const root = fixtureRoots({ RKIF_FIXTURES: "" })[0]!.path;
const adapters = ["lora/t5", "lora/t5-gated-rslora"];

/** What is missing for the program to run; null where nothing is. The modules are looked for, not imported: that takes seconds. */
function missingInPython(python: string): string | null {
  const look = `import importlib.util as u; print(*[n for n in ${JSON.stringify(needed)} if u.find_spec(n) is None])`;
  const { status, stdout, error } = spawnSync(python, ["-c", look], { encoding: "utf8", timeout: 20_000 });
  if (error !== undefined || status !== 0) return `${python} does not run`;
  return stdout.trim() === "" ? null : `${python} has no ${stdout.trim().replaceAll(" ", ", ")}`;
}

/** Trains an adapter of the fixtures a few steps, saves it, and writes what the program compares. */
async function writeCase(folder: string, adapter: string): Promise<void> {
  const model = await loadWithAdapter(root, adapter);
  const optimizer = createOptimizer(addon(), model.parameters.length);
  try {
    const given = readSafetensors(join(root, adapter, "expected.safetensors"));
    const batch = packedBatch(given);
    for (let step = 0; step < 3; step++) {
      await gradient(model, batch);
      await update(addon(), model, optimizer, {
        learningRate: 1e-2,
        betas: [0.9, 0.999],
        epsilon: 1e-8,
        weightDecay: 0,
        maxGradNorm: 1,
      });
    }
    const base = adapterBase(root, adapter);
    const trainable = await adapterShape(join(root, adapter));
    await saveTrained({ model, folder: join(root, base), trainable }, join(folder, "adapter"), {
      baseName: base,
    });
    cpSync(join(root, base), join(folder, "base"), { recursive: true });
    const labels = given.get("labels")!;
    const logits = await model.logits(batch);
    const tensor = (name: string, shape: readonly number[], values: ArrayLike<number>) => ({
      name,
      shape: [...shape],
      type: "F32" as const,
      from: Float32Array.from(values),
    });
    await addon().writeSafetensors(join(folder, "case.safetensors"), [
      ...["input_ids", "attention_mask", "labels"].map((name) =>
        tensor(name, given.get(name)!.shape, given.get(name)!.values),
      ),
      tensor("logits", [...labels.shape, logits.length / labels.values.length], logits),
    ]);
  } finally {
    optimizer.m.dispose();
    optimizer.v.dispose();
    model.dispose();
  }
}

describe("PEFT loads adapters written here", function () {
  // Importing torch, transformers and peft takes most of it.
  this.timeout(300_000);
  const python = process.env["RKIF_PYTHON"] ?? "python3";
  const missing = missingInPython(python);
  if (missing !== null) {
    it(`${adapters.join(", ")}: ${missing} (RKIF_PYTHON names another Python)`, function () {
      this.skip();
    });
    return;
  }
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "rkif-peft-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  it(`and computes the same logits: ${adapters.join(", ")}`, async () => {
    const cases = adapters.map((adapter) => join(folder, adapter.replaceAll("/", "-")));
    for (const [i, adapter] of adapters.entries()) await writeCase(cases[i]!, adapter);
    const { status, stdout, stderr } = spawnSync(python, [program, ...cases], {
      encoding: "utf8",
      env: { ...process.env, HF_HUB_OFFLINE: "1" },
    });
    assert.strictEqual(status, 0, stdout + stderr);
    assert.lengthOf(stdout.trim().split("\n"), adapters.length, stdout);
  });
});
