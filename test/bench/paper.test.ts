import { expect } from "chai";
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { planBench } from "../../lib/bench/plan.js";
import type { BenchInput } from "../../lib/bench/spec.js";

const folder = fileURLToPath(new URL("../../examples/benchmarks/paper", import.meta.url));

describe("the bench files of the paper's tables", () => {
  const files = readdirSync(folder);

  it("are there for every table", () => {
    expect(files).to.have.members(
      [
        "ablations",
        "forgetting",
        "keep-fraction",
        "main",
        "main-superni",
        "memory",
        "model-size",
        "orders",
        "q-m",
      ].map((table) => `${table}.json`),
    );
  });

  for (const file of files) {
    it(`${file} has methods, presets and options that there are`, async () => {
      const input = JSON.parse(readFileSync(`${folder}/${file}`, "utf8")) as BenchInput;
      // Other data than the benchmark's, which are not in the repository.
      const { cells, variants } = await planBench(
        { ...input, orders: ["guild"], options: { data: "embedded" } },
        file,
      );
      expect(cells).to.have.length(variants.length * input.seeds!.length);
    });
  }
});
