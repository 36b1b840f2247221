import { expect } from "chai";
import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TaskData } from "../../lib/data/tasks.js";
import type { ConfigInput } from "../../lib/training/config.js";
import { Learner } from "../../lib/training/learner.js";
import type { MatrixReport } from "../../lib/training/matrix.js";
import { tinyTokenizer } from "../models/tiny-tokenizer.js";
import { differences, learnAll, results, temporaryFolder } from "./tiny-run.js";

const models = fileURLToPath(new URL("../fixtures/data/models", import.meta.url));

/** Records in the words of the tiny tokenizer; of the two answers, it is the one that does not stand after "the". */
function task(name: string, answers: readonly string[], test: number = 8): TaskData {
  const fillers = ["on", "sat on", "on on sat", "sat sat", "on sat", "sat"];
  const records = (count: number, from: number): TaskData["train"] =>
    Array.from({ length: count }, (_, i) => {
      const output = answers[i % 2]!;
      return {
        input: `${fillers[(i + from) % 6]!} the ${answers[(i + 1) % 2]!} ${fillers[(i + from) % 5]!} sat`,
        output,
      };
    });
  return {
    name,
    train: records(24, 0),
    dev: records(4, 1),
    test: records(test, 2),
    labels: [...answers].sort(),
  };
}

const tasks = [task("animals", ["cat", "mat"]), task("verbs", ["sat", "on"])];

/** With the labels of the first, so that both are answered from the same candidates. */
const more = task("more", ["mat", "cat"]);

const common: ConfigInput = {
  ...{ epochs: 3, batchSize: 4, microBatchSize: 3, learningRate: 2e-2, warmupSteps: 2 },
  ...{ memoryFraction: 0.2, loraRank: 8, targetModules: "all-linear", maxNewTokens: 4, threads: 1 },
};

const families = [
  { family: "decoder", model: "llama", options: { promptTemplate: "{input} on " } },
  { family: "encoder", model: "bert", options: { sourceTokens: 20, learningRate: 3e-3, baseDropout: 0 } },
] as const;

for (const { family, model, options } of families) {
  describe(`a run of family ${family}`, function () {
    this.timeout(60_000);
    const folder = temporaryFolder();
    const at = (file: string): string => join(folder.path, file);
    let input: ConfigInput;
    before(async () => {
      await cp(join(models, model), at("model"), { recursive: true });
      const template = family === "encoder" ? { before: ["<pad>"], after: ["</s>"] } : { before: ["<unk>"] };
      await writeFile(join(at("model"), "tokenizer.json"), tinyTokenizer({ template }));
      input = { ...common, ...options, model: at("model") };
    });

    const matrixOf = async (run: string): Promise<MatrixReport> =>
      JSON.parse(await readFile(join(run, "matrix.json"), "utf8")) as MatrixReport;

    it("learns what it is taught", async () => {
      const events = await learnAll(
        at("taught"),
        { ...input, method: "sequential", epochs: 30 },
        tasks.slice(0, 1),
      );
      const { R } = await matrixOf(at("taught"));
      expect(R[0]![0]).to.be.at.least(90);
      const losses = events.flatMap((event) => (event.event === "step" ? [event.loss!] : []));
      expect(losses.at(-1)).to.be.below(losses[0]! / 3);
    });

    it("keeps its bits through interruptions", async () => {
      const recurrent = { ...input, innerSteps: 3, outerSteps: 2 };
      await learnAll(at("whole"), recurrent, tasks);
      const run = at("interrupted");
      for (let stops = 0; stops < 40; stops++) {
        const controller = new AbortController();
        let events = 0;
        const learner = await Learner.create(
          { ...recurrent, run },
          { onEvent: () => void (++events === 9 + 4 * stops && controller.abort()) },
        );
        try {
          for (const next of tasks.slice(learner.tasks.length)) {
            await learner.learn(next, { signal: controller.signal }).catch((error: { code?: string }) => {
              if (error.code !== "ABORTED") throw error as unknown;
            });
            if (controller.signal.aborted) break;
          }
          if (learner.tasks.length === tasks.length) break;
        } finally {
          await learner.dispose();
        }
      }
      expect(differences(await results(at("whole")), await results(run))).to.deep.equal([]);
    });

    it("continues from an adapter, which the run keeps for itself", async () => {
      await learnAll(at("first"), input, tasks.slice(0, 1));
      await cp(join(at("first"), "adapter"), at("given"), { recursive: true });
      // Another rank: the adapter's own counts.
      const second = { ...input, adapter: at("given"), loraRank: 3, run: at("second") };
      const begun = await Learner.create(second);
      const given = await begun.model.model.parameters.read();
      const ended = await Learner.open(at("first"));
      expect(given).to.deep.equal(await ended.model.model.parameters.read());
      await ended.dispose();
      await begun.learn(more);
      const { parameters } = begun.model.model;
      expect(await parameters.read()).to.not.deep.equal(given);
      const learned = await parameters.read();
      await begun.dispose();

      await rm(at("given"), { recursive: true });
      const again = await Learner.create(second);
      expect(again.tasks).to.deep.equal(["more"]);
      expect(await again.model.model.parameters.read()).to.deep.equal(learned);
      await again.learn(tasks[0]!);
      // What forward transfer is measured against: the model as the run got it, which knows the first task.
      const { baseline } = await matrixOf(at("second"));
      const { R } = await matrixOf(at("first"));
      expect(baseline[1]).to.be.closeTo(R[0]![0]!, 1e-9);
      await again.dispose();
    });
  });
}

describe("a run with an encoder, asked to generate", () => {
  const folder = temporaryFolder();

  it("is refused before it begins", async () => {
    const model = join(folder.path, "model");
    await cp(join(models, "bert"), model, { recursive: true });
    await writeFile(join(model, "tokenizer.json"), tinyTokenizer());
    const run = join(folder.path, "run");
    const refused = await Learner.create({ ...common, model, run, evaluateBy: "generate" }).then(
      () => undefined,
      (error: unknown) => error as { code: string; message: string },
    );
    expect(refused?.code).to.equal("CONFIG_INVALID");
    expect(refused?.message).to.match(/evaluateBy is "generate", but the model is an encoder/);
    const sound = await Learner.create({ ...common, model, run, sourceTokens: 20 });
    expect(sound.tasks).to.deep.equal([]);
    await sound.dispose();
  });
});
