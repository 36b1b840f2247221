/** Adapters and merged checkpoints go to Python and back: what PEFT and transformers compute with them is what is computed here. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { concatenate, pack } from "../../lib/data/pack.js";
import { mergeAdapter } from "../../lib/models/merge.js";
import { loadModel, saveTrained, type TrainedModel } from "../../lib/models/trained-model.js";
import type { PackedBatch } from "../../lib/native/contract.js";
import { addon } from "../parity/runtime.js";
import { createOptimizer, gradient, update } from "../parity/steps.js";
import { type ModelCase, cases } from "./cases.js";
import { missingInPython, python, PythonProgram } from "./python.js";

const needed = ["torch", "transformers", "peft", "safetensors", "tokenizers"];
const newTokens = 64;
/** Relative to the largest logit; fp32 on both sides. */
const tolerance = 1e-5;

/** Token ids behind the special ones. */
const records = [
  [7, 12, 5, 30, 9, 22, 17],
  [4, 8, 15],
  [23, 11, 6, 19, 10],
];
const outputs = [
  [5, 9, 14, 1],
  [21, 1],
  [6, 6, 18],
];
const candidates = [[5, 8], [13], [9, 25, 7]];

/** What Python computed. */
interface Answer {
  logits: number[][];
  tokens: number[][];
}

interface MadeCase {
  folder: string;
  base: string;
  adapter: string;
  request: object;
  expected: Answer & { plain: number[][] };
}

function batchOf(family: ModelCase["family"]): PackedBatch {
  const labels = { t5: outputs, decoder: records, encoder: records.map((_, i) => [i]) }[family];
  const batch = pack(
    records.map((ids, key) => ({
      inputIds: Int32Array.from(ids),
      labels: Int32Array.from(labels[key]!),
      key,
    })),
  );
  const { ids, lengths } = concatenate(candidates.map((ids) => Int32Array.from(ids)));
  return family === "encoder" ? { ...batch, candidateIds: ids, candidateLengths: lengths } : batch;
}

/** The largest difference, relative to the largest value. */
function off(found: ArrayLike<number>, expected: readonly number[][]): number {
  const values = expected.flat();
  expect(found.length).to.equal(values.length);
  const largest = Math.max(...values.map(Math.abs));
  return Math.max(...values.map((value, i) => Math.abs(value - found[i]!))) / largest;
}

async function generate({ model, config, endTokenIds }: TrainedModel): Promise<number[][]> {
  if (config.family === "encoder") return [];
  const { ids, lengths } = concatenate(records.map((ids) => Int32Array.from(ids)));
  const tokens = await model.generate({
    inputIds: ids,
    inputLengths: lengths,
    maxNewTokens: newTokens,
    minNewTokens: newTokens,
    endTokenIds: [...endTokenIds],
  });
  return tokens.map((row) => Array.from(row));
}

/** Some steps on the batch; gives the losses before them. */
async function train({ model, config }: TrainedModel): Promise<number[]> {
  const native = await addon();
  const optimizer = createOptimizer(native, model.parameters);
  const losses = [];
  for (let step = 0; step < 3; step++) {
    losses.push((await gradient(model, batchOf(config.family), config.family)).loss);
    await update(native, model, optimizer, {
      learningRate: 1e-2,
      betas: [0.9, 0.999],
      epsilon: 1e-8,
      weightDecay: 0,
      maxGradNorm: 1,
    });
  }
  optimizer.m.dispose();
  optimizer.v.dispose();
  return losses;
}

describe("PEFT and transformers", function () {
  // Importing torch, transformers and peft takes most of it.
  this.timeout(300_000);
  const missing = missingInPython(needed);
  if (missing !== null) {
    it(`read what is written here: ${missing} (RKIF_PYTHON names another Python than ${python})`, function () {
      this.skip();
    });
    return;
  }
  let folder: string;
  let program: PythonProgram;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "rkif-peft-"));
    program = new PythonProgram(join(import.meta.dirname, "peft_roundtrip.py"));
  });
  after(() => {
    program.close();
    rmSync(folder, { recursive: true });
  });

  for (const modelCase of cases) {
    describe(modelCase.name, () => {
      let made: MadeCase;
      before(async () => {
        const place = join(folder, modelCase.name.replaceAll(/\W+/g, "-"));
        const request = { folder: place, model: modelCase, records, labels: outputs, candidates };
        const expected = await program.request<MadeCase["expected"]>({ task: "make", ...request });
        made = {
          folder: place,
          base: join(place, "base"),
          adapter: join(place, "adapter"),
          request,
          expected,
        };
        expect(off(expected.plain.flat(), expected.logits), "the adapter does something").to.be.above(1e-2);
      });

      it("a checkpoint merged here computes and generates the same there", async () => {
        const merged = join(made.folder, "merged");
        const { files } = await mergeAdapter({
          model: made.base,
          adapter: made.adapter,
          out: merged,
          maxShardBytes: 20_000,
        });
        expect(files.length, "sharded").to.be.above(1);
        const answer = await program.request<Answer>({ task: "merged", ...made.request, merged });
        expect(off(answer.logits.flat(), made.expected.logits)).to.be.below(tolerance);
        expect(answer.tokens).to.deep.equal(made.expected.tokens);
        for (const tokens of answer.tokens) expect(tokens).to.have.lengthOf(newTokens);
      });

      it("an adapter made there computes the same here, trains on, and goes back", async () => {
        const trained = await loadModel({
          model: made.base,
          adapter: made.adapter,
          trainable: { kind: "none" },
          baseDropout: 0,
        });
        try {
          const batch = batchOf(modelCase.family);
          const before = await trained.model.logits(batch);
          expect(off(before, made.expected.logits), "as made").to.be.below(tolerance);
          expect(await generate(trained), "as made").to.deep.equal(made.expected.tokens);
          const losses = await train(trained);
          expect(losses.at(-1), losses.join(", ")).to.be.below(losses[0]!);
          const after = await trained.model.logits(batch);
          const adapter = join(made.folder, "trained");
          await saveTrained(trained, adapter, { baseName: made.base });
          const answer = await program.request<Answer>({ task: "adapter", ...made.request, adapter });
          expect(off(before, answer.logits), "training did something").to.be.above(1e-3);
          expect(off(after, answer.logits), "trained").to.be.below(tolerance);
          expect(await generate(trained), "trained").to.deep.equal(answer.tokens);
        } finally {
          trained.model.dispose();
        }
      });

      it("adapters frozen here and the one that trains beside them are one adapter there", async () => {
        const trained = await loadModel({
          model: made.base,
          adapter: made.adapter,
          trainable: { kind: "none" },
          baseDropout: 0,
        });
        try {
          for (let frozen = 0; frozen < 2; frozen++) {
            trained.model.freezeAdapter();
            await train(trained);
          }
          const adapter = join(made.folder, "joined");
          await saveTrained(trained, adapter, { baseName: made.base });
          const answer = await program.request<Answer>({ task: "adapter", ...made.request, adapter });
          const logits = await trained.model.logits(batchOf(modelCase.family));
          expect(off(logits, answer.logits)).to.be.below(tolerance);
          expect(await generate(trained)).to.deep.equal(answer.tokens);
          trained.model.setFrozen(null);
          const alone = await trained.model.logits(batchOf(modelCase.family));
          expect(off(alone, answer.logits), "the frozen ones do something").to.be.above(1e-2);
        } finally {
          trained.model.dispose();
        }
      });
    });
  }
});
