/** The recurrent trace on a GPU beside the same on the CPU, where RKIF_TEST_DEVICE=cuda asks for a GPU. */
import { assert } from "chai";
import type { Check } from "./check.js";
import { recurrentCheck } from "./checks/recurrent.js";
import { describeEverySet } from "./every-set.js";
import { compare, Expected } from "./expected.js";
import { runByMethod } from "./recurrent-method.js";
import { testDevice, type TestDevice } from "./runtime.js";

const on = (device: TestDevice): Check => recurrentCheck((setup) => runByMethod({ ...setup, device }));
const title = "the recurrent trace on a GPU is the CPU's";

if (testDevice() === "cuda") {
  const [gpu, cpu] = [on("cuda"), on("cpu")];
  describeEverySet(
    title,
    async (_check, set) => {
      const found = await gpu.compute(set);
      const mismatches = compare(gpu.rules, found, Expected.of(await cpu.compute(set)));
      assert.isEmpty(mismatches, `\n${mismatches.join("\n")}\n`);
    },
    [gpu],
  );
} else {
  describe(title, () => {
    it("RKIF_TEST_DEVICE=cuda compares them", function () {
      this.skip();
    });
  });
}

describe("the device of the parity tests", () => {
  it("is the CPU where nothing is said, and no other name than cpu or cuda", () => {
    assert.equal(testDevice({}), "cpu");
    assert.equal(testDevice({ RKIF_TEST_DEVICE: "cuda" }), "cuda");
    assert.throws(() => testDevice({ RKIF_TEST_DEVICE: "gpu" }), "RKIF_TEST_DEVICE is gpu");
  });
});
