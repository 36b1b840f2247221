import { Command } from "commander";
import { expect } from "chai";
import { addConfigFlags, givenOptions } from "../../lib/cli/flags.js";
import { resolveConfig, splitConfig, resolveDataOptions } from "../../lib/training/config.js";

/** The options that flags stand for. */
function options(...flags: string[]): Record<string, unknown> {
  const command = new Command().exitOverride();
  addConfigFlags(command);
  command.parse(flags, { from: "user" });
  return givenOptions(command);
}

describe("flags", () => {
  it("give nothing where none is given", () => expect(options()).to.deep.equal({}));

  it("become values of their options' types", () => {
    const given = options(
      ...["--seed", "7", "--learning-rate", "1e-3", "--target-modules", "q, k", "--fusion-both", "0.4,0.6"],
      ...["--mask-compare", ">", "--rs-lora", "--no-measure-forward-transfer"],
      ...["--data", "x", "--order", "a,b", "--train-limit", "5"],
    );
    expect(given).to.deep.equal({
      ...{ seed: 7, learningRate: 0.001, targetModules: ["q", "k"], fusionBoth: [0.4, 0.6] },
      ...{ maskCompare: ">", rsLora: true, measureForwardTransfer: false },
      ...{ data: "x", order: "a,b", trainLimit: 5 },
    });
    const { learner, data } = splitConfig(given);
    expect(resolveConfig(learner)).to.include({ seed: 7, rsLora: true });
    expect(resolveDataOptions(data, "flags")).to.include({ order: "a,b" });
  });

  it("take words beside lists, and JSON where an option is an object", () => {
    expect(
      options("--target-modules", "all-linear", "--rank-pattern", '{"layer.0": 4}', "--order", "4"),
    ).to.deep.equal({ targetModules: "all-linear", rankPattern: { "layer.0": 4 }, order: "4" });
    expect(options("--target-modules", "q")).to.deep.equal({ targetModules: ["q"] });
    expect(options("--replay-days", "1,2.5")).to.deep.equal({ replayDays: [1, 2.5] });
    expect(options("--target-modules", "none")).to.deep.equal({ targetModules: null });
    expect(() => options("--rank-pattern", "q=4")).to.throw(
      '--rank-pattern is "q=4"; expected a JSON object',
    );
  });

  it('say null by "none" where an option may be null', () => {
    const names = [
      "--preset",
      "--order",
      "--base-dropout",
      "--max-grad-norm",
      "--micro-batch-size",
      "--test-limit",
    ];
    expect(options(...names.flatMap((name) => [name, "none"]))).to.deep.equal({
      ...{
        preset: null,
        order: null,
        baseDropout: null,
        maxGradNorm: null,
        microBatchSize: null,
        testLimit: null,
      },
    });
    expect(() => options("--seed", "none")).to.throw('--seed is "none"; expected a number');
    expect(options("--model", "none")).to.deep.equal({ model: "none" });
  });
});
