/** What the recurrent sets say beside the numbers: the presets are the recorded forms, and the primitives alone give the same trace. */
import { assert } from "chai";
import { runCheck } from "./check.js";
import { recurrentCheck } from "./checks/recurrent.js";
import { describeEverySet } from "./every-set.js";
import { presetOptions, recordedOptions } from "./recurrent-method.js";
import { runOnPrimitives } from "./recurrent-primitives.js";
import { readSetup } from "./recurrent-trace.js";

const onPrimitives = recurrentCheck(runOnPrimitives);

describeEverySet(
  "recurrent traces on the addon's primitives",
  async (check, set) => {
    const mismatches = await runCheck(check, set);
    assert.isEmpty(mismatches, `\n${mismatches.join("\n")}\n`);
  },
  [onPrimitives],
);

describeEverySet(
  "recurrent-kif's presets are the recorded forms",
  async (_check, set) => {
    const { settings } = readSetup(set);
    const preset = presetOptions(settings);
    // The recorded runs are short, and the fixtures' format leaves out the published code's factor of the outer loss.
    const { innerSteps, outerSteps, outerLossScale } = preset;
    assert.deepEqual({ ...recordedOptions(settings), innerSteps, outerSteps, outerLossScale }, preset);
  },
  [onPrimitives],
);
