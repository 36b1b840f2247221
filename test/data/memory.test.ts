import { expect } from "chai";
import { selectMemory } from "../../lib/data/memory.js";

const labelled = (counts: Record<string, number>): { output: string }[] =>
  Object.entries(counts).flatMap(([output, count]) => Array.from({ length: count }, () => ({ output })));

function countLabels(records: { output: string }[], chosen: number[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const i of chosen) counts[records[i]!.output] = (counts[records[i]!.output] ?? 0) + 1;
  return counts;
}

const at = { seed: 1, task: 0 };

describe("selectMemory", () => {
  it("keeps floor(2 %), evenly by label, the rest topped up at random", () => {
    const records = labelled({ a: 300, b: 250, c: 450 });
    const chosen = selectMemory(records, at);
    expect(chosen.length).to.equal(20);
    expect(new Set(chosen).size).to.equal(20);
    // floor(20 / 3) of each label, and two more of any.
    for (const count of Object.values(countLabels(records, chosen))) expect(count).to.be.within(6, 8);
  });

  it("splits evenly where the labels divide the memory", () => {
    const records = labelled({ x: 900, y: 100 });
    expect(countLabels(records, selectMemory(records, at))).to.deep.equal({ x: 10, y: 10 });
  });

  it("takes all of a rare label and tops up from the others", () => {
    const records = labelled({ common: 495, rare: 5 });
    expect(countLabels(records, selectMemory(records, { ...at, fraction: 0.1 }))).to.deep.equal({
      common: 45,
      rare: 5,
    });
  });

  it("keeps one record of every label, also where that is more than the share", () => {
    const records = labelled(Object.fromEntries(Array.from({ length: 14 }, (_, i) => [`label ${i}`, 14])));
    const counts = countLabels(records, selectMemory(records, at));
    expect(Object.values(counts)).to.deep.equal(new Array(14).fill(1));
    expect(selectMemory(labelled({ a: 20, b: 20 }), at).length).to.equal(2);
  });

  it("does not take free text for labels: the share, and at least one record", () => {
    const texts = Array.from({ length: 1000 }, (_, i) => ({ output: `text ${i % 900}` }));
    expect(selectMemory(texts, at).length).to.equal(20);
    expect(selectMemory(texts.slice(0, 30), at).length).to.equal(1);
    expect(selectMemory(texts.slice(0, 30), { ...at, stratify: true }).length).to.equal(30);
  });

  it("gives ascending indices that depend on seed and task only", () => {
    const records = labelled({ a: 500, b: 500 });
    const chosen = selectMemory(records, at);
    expect(chosen).to.deep.equal([...chosen].sort((a, b) => a - b));
    expect(selectMemory(records, at)).to.deep.equal(chosen);
    expect(selectMemory(records, { ...at, seed: 2 })).not.to.deep.equal(chosen);
    expect(selectMemory(records, { ...at, task: 1 })).not.to.deep.equal(chosen);
  });

  it("counts whole shares in spite of rounding, and knows the ends of the range", () => {
    const records = labelled({ a: 50, b: 50 });
    expect(selectMemory(records, { ...at, fraction: 0.29 }).length).to.equal(29);
    expect(selectMemory(records, { ...at, fraction: 0 })).to.deep.equal([]);
    expect(selectMemory(records, { ...at, fraction: 1 }).length).to.equal(100);
    expect(() => selectMemory(records, { ...at, fraction: 2 })).to.throw("the memory fraction is 2");
  });
});
