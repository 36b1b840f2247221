/** What PyTorch, transformers, PEFT and others computed, and what this package computes: every fixture set within its tolerances. */
import { assert } from "chai";
import { runCheck } from "./check.js";
import { describeEverySet } from "./every-set.js";

describeEverySet("parity with recorded runs", async (check, set) => {
  const mismatches = await runCheck(check, set);
  assert.isEmpty(mismatches, `\n${mismatches.join("\n")}\n`);
});
