import { expect } from "chai";
import { comparisonTable, matrixTable, spread } from "../../lib/report/tables.js";

const report = {
  tasks: ["dbpedia", "a|b"],
  R: [
    [95.8, null],
    [47.1, 97.9],
  ],
  baseline: [19.1, 8.456],
};

describe("tables", () => {
  it("print the matrix with a row after each task, and OP, BWT, FWT below", () => {
    expect(matrixTable(report)).to.equal(
      [
        "┌───────────────┬─────────┬───────┐",
        "│ accuracy (%)  │ dbpedia │   a|b │",
        "├───────────────┼─────────┼───────┤",
        "│ untrained     │   19.10 │  8.46 │",
        "│ after dbpedia │   95.80 │     - │",
        "│ after a|b     │   47.10 │ 97.90 │",
        "└───────────────┴─────────┴───────┘",
        "OP 72.50   BWT -48.70   FWT -",
      ].join("\n"),
    );
  });

  it("print the same in Markdown", () => {
    expect(matrixTable({ ...report, baseline: null }, "markdown")).to.equal(
      [
        "| accuracy (%) | dbpedia | a\\|b |",
        "| --- | ---: | ---: |",
        "| after dbpedia | 95.80 | - |",
        "| after a\\|b | 47.10 | 97.90 |",
        "",
        "OP 72.50   BWT -48.70   FWT -",
      ].join("\n"),
    );
  });

  it("print an unfinished run, and refuse rows without a task", () => {
    expect(matrixTable({ tasks: ["a", "b", "c"], R: [[50]] })).to.contain("│ after a      │ 50.00 │ - │ - │");
    expect(() => matrixTable({ tasks: ["a"], R: [[1], [2]] })).to.throw("2 rows for 1 tasks");
  });

  it("compare methods over seeds, without a column that nobody measured", () => {
    const methods = [
      { name: "sequential", runs: [2, 4, 4, 4, 5, 5, 7, 9].map((OP) => ({ OP, BWT: -OP, FWT: null })) },
      { name: "replay", runs: [{ OP: 80, BWT: -0.001, FWT: null }] },
    ];
    // The deviations from the mean 5 have the squared sum 32, over n - 1 = 7.
    expect(comparisonTable(methods, "markdown").split("\n")).to.deep.equal([
      "| method | OP | BWT | seeds |",
      "| --- | ---: | ---: | ---: |",
      "| sequential | 5.00 ± 2.14 | -5.00 ± 2.14 | 8 |",
      "| replay | 80.00 | 0.00 | 1 |",
    ]);
    expect(comparisonTable(methods)).to.contain("│ sequential │ 5.00 ± 2.14 │ -5.00 ± 2.14 │     8 │");
  });

  it("hold no control characters", () => {
    // eslint-disable-next-line no-control-regex
    expect(matrixTable(report) + comparisonTable([])).not.to.match(/\x1b/);
  });

  it("give no mean where a value is missing", () => {
    expect(spread([1, null])).to.deep.equal({ mean: null, deviation: null });
    expect(spread([])).to.deep.equal({ mean: null, deviation: null });
    expect(spread([3])).to.deep.equal({ mean: 3, deviation: null });
  });
});
