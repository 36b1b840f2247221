import { expect } from "chai";
import type { CellOutcome } from "../../lib/bench/bench-folder.js";
import { planBench, type BenchPlan, type Cell } from "../../lib/bench/plan.js";
import { benchResults } from "../../lib/bench/results.js";
import { benchTable, benchText, orderTable } from "../../lib/bench/tables.js";

const done = (OP: number, BWT: number | null, seconds: number): CellOutcome => ({
  ...{ state: "done", OP, BWT, FWT: null, learnedInTurn: OP + 10, steps: 1234, skipped: 0, tokens: 1234567 },
  timing: { trainSeconds: seconds, evaluateSeconds: 1 },
});

describe("the tables of a bench", () => {
  let plan: BenchPlan;
  const outcomes = new Map<Cell, CellOutcome>();
  before(async () => {
    plan = await planBench({
      variants: ["sequential", "replay"],
      orders: ["guild,cargo", "cargo,guild"],
      seeds: [1, 2],
      options: { data: "embedded" },
    });
    const sequential = plan.cells.filter(({ variant }) => variant === "sequential");
    // Order by order: 10 and 20 on the first, 30 and 60 on the second.
    sequential.forEach((cell, i) => outcomes.set(cell, done([10, 30, 20, 60][i]!, -i, 3 + i)));
    const [first, , third] = plan.cells.filter(({ variant }) => variant === "replay");
    outcomes.set(first!, done(50, null, 1));
    outcomes.set(third!, { state: "failed", code: "NATIVE", message: "out of paper", task: "cargo" });
  });

  it("have mean and deviation over orders and seeds, and means of what a run costs", () => {
    // Deviation of 10, 30, 20, 60: squares 400 + 0 + 100 + 900 over 3; of 0, -1, -2, -3: 5 over 3.
    expect(benchTable(benchResults(plan, outcomes), "markdown").split("\n")).to.deep.equal([
      "| method | OP | BWT | learned in turn | tokens | steps | seconds * | runs |",
      "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
      "| sequential | 30.00 ± 21.60 | -1.50 ± 1.29 | 40.00 ± 21.60 | 1 234 567 | 1 234 | 6 | 4/4 |",
      "| replay | 50.00 | - | 60.00 | 1 234 567 | 1 234 | 2 | 1/4 (1 failed) |",
    ]);
  });

  it("have a column for every order where there are several", () => {
    expect(orderTable(benchResults(plan, outcomes), "markdown")!.split("\n").slice(2)).to.deep.equal([
      "| sequential | 15.00 ± 7.07 | 45.00 ± 21.21 | 30.00 ± 21.60 |",
      "| replay | 50.00 | - | 50.00 |",
    ]);
    const one = { ...plan, orders: plan.orders.slice(0, 1) };
    expect(orderTable(benchResults(one, outcomes))).to.equal(undefined);
  });

  it("mark the timings and say what failed, and where", () => {
    const text = benchText(benchResults(plan, outcomes));
    expect(text).to.contain("* wall clock");
    expect(text).to.contain("- replay, order guild,cargo, seed 2: at task cargo: out of paper (NATIVE)");
  });

  it("are the same before anything was run, but for the figures", () => {
    expect(benchTable(benchResults(plan, new Map()), "markdown").split("\n")[2]).to.equal(
      "| sequential | - | - | - | - | - | - | 0/4 |",
    );
  });
});
