import { expect } from "chai";
import { continualMetrics } from "../../lib/evaluation/metrics.js";

describe("continual metrics", () => {
  const R = [
    [90, 20, 10],
    [60, 80, 30],
    [70, 50, 100],
  ];

  it("worked by hand: three tasks", () => {
    const { OP, BWT, FWT, forgetting } = continualMetrics(R, [5, 10, 20]);
    expect(OP).to.be.closeTo((70 + 50 + 100) / 3, 1e-12);
    expect(BWT).to.equal((70 - 90 + (50 - 80)) / 2);
    expect(FWT).to.equal((20 - 10 + (30 - 20)) / 2);
    expect(forgetting).to.deep.equal([20, 30, 0]);
  });

  it("counts the tasks learned so far, whatever later columns hold", () => {
    const { OP, BWT, FWT } = continualMetrics(R.slice(0, 2), [5, 10, 20]);
    expect([OP, BWT, FWT]).to.deep.equal([70, -30, 10]);
  });

  it("is null where there is nothing to measure, or a value it needs is missing", () => {
    expect(continualMetrics([])).to.deep.equal({ OP: null, BWT: null, FWT: null, forgetting: [] });
    expect(continualMetrics([[50]], [1])).to.deep.equal({ OP: 50, BWT: null, FWT: null, forgetting: [0] });
    const upperMissing = [[90], [60, 80]];
    expect(continualMetrics(upperMissing, [1, 2])).to.deep.include({ OP: 70, BWT: -30, FWT: null });
    expect(continualMetrics(R)).to.include({ FWT: null });
    expect(
      continualMetrics([
        [null, 1],
        [3, 4],
      ]),
    ).to.deep.include({ OP: 3.5, BWT: null, forgetting: [0, 0] });
  });
});
