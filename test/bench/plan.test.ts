import { expect } from "chai";
import { join } from "node:path";
import { planBench } from "../../lib/bench/plan.js";
import type { BenchInput } from "../../lib/bench/spec.js";
import { rejection } from "../data/folder.js";
import { smallTasks, temporaryFolder, writeTasks } from "../training/tiny-run.js";

describe("the plan of a bench", () => {
  const folder = temporaryFolder();
  let data: string;
  before(async () => {
    data = await writeTasks(join(folder.path, "data"), smallTasks(2));
  });

  const input = (more: Partial<BenchInput> = {}, options: object = {}): BenchInput => ({
    variants: ["sequential", { name: "kif", method: "recurrent-kif", options: { innerSteps: 2 } }],
    orders: ["guild,cargo", ["cargo", "guild"]],
    seeds: [1, 2],
    options: { data, ...options },
    ...more,
  });

  it("is a cell for each variant, order and seed, the first seed of all first", async () => {
    const { cells, name } = await planBench(input());
    expect(name).to.equal("data");
    expect(cells.map(({ run }) => run)).to.deep.equal(
      [1, 2].flatMap((seed) =>
        ["guild,cargo", "cargo,guild"].flatMap((order) =>
          ["sequential", "kif"].map((variant) => `runs/${variant}/order-${order}/seed-${seed}`),
        ),
      ),
    );
    expect(cells[3]!.config).to.deep.include({ method: "recurrent-kif", innerSteps: 2, seed: 1 });
    expect(cells[3]!.data).to.deep.include({ order: ["cargo", "guild"], data });
  });

  it("gives a method's own option to the variants that have it", async () => {
    const { cells } = await planBench(input({}, { innerSteps: 5, outerSteps: 3, epochs: 2 }));
    expect(cells[0]!.config).to.deep.include({ method: "sequential", epochs: 2 });
    expect(cells[0]!.config).not.to.have.any.keys("innerSteps", "outerSteps");
    expect(cells[1]!.config).to.deep.include({ innerSteps: 2, outerSteps: 3, epochs: 2 });
  });

  it("takes the dev records for the test records where that is asked for", async () => {
    const { tasks } = await planBench(input({ evaluateOn: "dev" }));
    expect([...tasks.values()].map(({ test }) => test.length)).to.deep.equal([8, 8]);
    const without = await rejection(
      planBench(input({ evaluateOn: "dev", options: { data: await withoutDev() } })),
    );
    expect(without.message).to.contain(
      'evaluateOn is "dev", but these tasks have no dev records: guild, cargo',
    );
  });

  it("knows the embedded model's tasks, and limits them as others", async () => {
    const { tasks, orders } = await planBench(input({ orders: null }, { data: "embedded", trainLimit: 7 }));
    expect(orders).to.have.length(1);
    expect([...tasks.keys()]).to.deep.equal(["guild", "cargo", "mood", "errand"]);
    expect([...tasks.values()].map(({ train }) => train.length)).to.deep.equal([7, 7, 7, 7]);
  });

  for (const [what, made, message] of [
    [
      "an option of no variant's method",
      () => input({ variants: ["sequential"] }, { innerSteps: 2 }),
      /option of method recurrent-kif, not of sequential/,
    ],
    [
      "an unknown method",
      () => input({ variants: ["sequental"] }),
      /"sequental"; expected one of .*Did you mean "sequential"/s,
    ],
    [
      "an unknown preset",
      () => input({ variants: ["recurrent-kif:papr"] }),
      /variant "recurrent-kif:papr".*preset is "papr"/,
    ],
    ["a wrong value", () => input({}, { epochs: 0 }), /variant "sequential".*epochs is 0/],
    [
      "the seed among the options",
      () => input({}, { seed: 3 }),
      /"seed" is set by the bench; expected seeds/,
    ],
    [
      "data in a variant",
      () => input({ variants: [{ method: "replay", options: { trainLimit: 1 } }] }),
      /trainLimit cannot differ between variants/,
    ],
    ["an unknown task", () => input({ orders: ["gild"] }), /no task "gild"\. Did you mean "guild"/],
    ["no data", () => input({ options: {} }), /data is missing/],
    ["a seed twice", () => input({ seeds: [1, 1] }), /would share the folder/],
    [
      "names of one folder",
      () =>
        input({
          variants: [
            { name: "a b", method: "replay" },
            { name: "a:b", method: "replay" },
          ],
        }),
      /would share the folder/,
    ],
  ] as const) {
    it(`is refused with ${what}`, async () => {
      const error = await rejection(planBench(made(), "a.json"));
      expect(error.message).to.match(message);
    });
  }

  function withoutDev(): Promise<string> {
    return writeTasks(
      join(folder.path, "without-dev"),
      smallTasks(2).map((task) => ({ ...task, dev: [{ input: "a", output: "b" }] })),
    ).then(async (made) => {
      const { rm } = await import("node:fs/promises");
      await rm(join(made, "dev"), { recursive: true });
      return made;
    });
  }
});
