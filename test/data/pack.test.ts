import { expect } from "chai";
import type { EncodedRecord } from "../../lib/data/formats/record-format.js";
import { countLabelTokens, pack, splitIntoMicroBatches } from "../../lib/data/pack.js";

const record = (key: number, input: number[], labels: number[]): EncodedRecord => ({
  key,
  inputIds: Int32Array.from(input),
  labels: Int32Array.from(labels),
});

const records = [record(4, [5, 6, 1], [7, 1]), record(0, [8, 1], [1]), record(9, [2, 3, 4, 1], [9, 9, 1])];

describe("pack", () => {
  it("lays records end to end, and cutting by the lengths gives them back", () => {
    const batch = pack(records);
    expect([...batch.inputIds]).to.deep.equal([5, 6, 1, 8, 1, 2, 3, 4, 1]);
    let input = 0;
    let label = 0;
    records.forEach((original, i) => {
      expect(batch.inputIds.slice(input, (input += batch.inputLengths[i]!))).to.deep.equal(original.inputIds);
      expect(batch.labels.slice(label, (label += batch.labelLengths[i]!))).to.deep.equal(original.labels);
      expect(batch.recordKeys[i]).to.equal(original.key);
    });
    expect([input, label]).to.deep.equal([batch.inputIds.length, batch.labels.length]);
  });

  it("splits into micro-batches that together are the batch, in order", () => {
    for (const size of [1, 2, 3, 10]) {
      const parts = splitIntoMicroBatches(records, size);
      expect(parts.flat()).to.deep.equal(records);
      expect(parts.length).to.equal(Math.ceil(records.length / size));
      for (const part of parts) expect(part.length).to.be.within(1, size);
    }
    expect(() => splitIntoMicroBatches(records, 0)).to.throw("micro-batch size is 0");
  });

  it("counts predicted label tokens only", () => {
    expect(countLabelTokens([...records, record(1, [1], [-100, 3, -100])])).to.equal(2 + 1 + 3 + 1);
  });
});
