import { expect } from "chai";
import type { EncodedRecord } from "../../lib/data/formats/record-format.js";
import { TaskSets } from "../../lib/training/task-sets.js";

const record = (inputs: number, labels: number, key: number): EncodedRecord => ({
  inputIds: new Int32Array(inputs),
  labels: new Int32Array(labels),
  key,
});
const lengthOf = ({ inputIds, labels }: EncodedRecord): number => inputIds.length + labels.length;

describe("a task's sets", () => {
  // Inputs of 1 to 40 tokens; outputs make up for half of it, so that neither alone is the length.
  const records = Array.from({ length: 40 }, (_, i) => record(1 + i, i % 2 === 0 ? 1 : 41 - i, i));
  const memory = Array.from({ length: 10 }, (_, i) => record(3, 4 * i, i));
  const shape = { batchSize: 5, epochs: 2, seed: 3, task: 1 };

  for (const withMemory of [false, true]) {
    it(`group by tokens, inputs and labels together${withMemory ? ", the memory among the records" : ""}`, () => {
      const sets = new TaskSets(records, memory, { ...shape, groupByLength: 1000 });
      const batches = sets.taskBatches({ loop: 0, withMemory });
      const count = withMemory ? 50 : 40;
      expect(batches.steps).to.equal((2 * count) / 5);
      const epoch = Array.from({ length: count / 5 }, (_, step) => batches.at(step).map(lengthOf));
      const sorted = epoch.flat().sort((a, b) => a - b);
      // One window holds them all: in the order of their lengths, the batches are the sorted lengths cut into fives.
      const byLength = epoch.sort((a, b) => a.reduce((s, x) => s + x, 0) - b.reduce((s, x) => s + x, 0));
      expect(byLength.flat()).to.deep.equal(sorted);
      expect(
        new Set(
          sets
            .taskBatches({ loop: 0, withMemory })
            .at(0)
            .map(({ key }) => key),
        ).size,
      ).to.equal(5);
    });
  }

  it("come as shuffled where nothing says so", () => {
    const plain = new TaskSets(records, [], { ...shape, groupByLength: null }).taskBatches({
      loop: 0,
      withMemory: false,
    });
    const grouped = new TaskSets(records, [], { ...shape, groupByLength: 8 }).taskBatches({
      loop: 0,
      withMemory: false,
    });
    const keys = (batches: typeof plain): number[] =>
      Array.from({ length: 8 }, (_, step) => batches.at(step).map(({ key }) => key)).flat();
    expect(keys(plain)).not.to.deep.equal(keys(grouped));
    expect(keys(plain)).to.have.members(keys(grouped));
  });
});
