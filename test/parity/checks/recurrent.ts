/** recurrent/: Recurrent-KIF's cycles in a form of the algorithm: every step, and the state at the end of every cycle. */
import { dirname } from "node:path";
import type { Check } from "../check.js";
import { addressJson, type Expected, type Values } from "../expected.js";
import { adapterBase, unsupportedModel } from "../families.js";
import { filesIn, foldersIn, readJson, type FixtureSet } from "../fixtures.js";
import { readSetup, type RunRecurrent, type Trace, type TracedSide } from "../recurrent-trace.js";
import { count, EQUAL, GIVEN, mask, TOLERANCE } from "../tolerances.js";

/** Elements whose score is within 1e-4 of its threshold may fall on either side. */
function nearThreshold(expected: Expected, file: string, side: string): (index: number) => boolean {
  const scores = expected.numbers(`${file}#score_${side}`);
  const threshold = expected.numbers(`${file}#threshold_${side}`)[0] ?? NaN;
  return (index) => Math.abs((scores[index] ?? NaN) - threshold) <= 1e-4 * threshold;
}

const maskOutsideBand = mask({
  free: (expected, address) => {
    const [file = "", name = ""] = address.split("#");
    return nearThreshold(expected, file, name.replace("mask_", ""));
  },
});

/** A count of elements by their masks may be off by the elements near either threshold. */
const maskCount = count((expected, address) => {
  const cycle = /after_each_cycle\/(\d+)\//.exec(address)?.[1] ?? "";
  const file = `cycle-${cycle}.safetensors`;
  const nearIn = nearThreshold(expected, file, "in");
  const nearOut = nearThreshold(expected, file, "out");
  let near = 0;
  for (let i = 0; i < expected.at(`${file}#score_in`).length; i++) if (nearIn(i) || nearOut(i)) near++;
  return near;
});

function addressTrace(trace: Trace): Values {
  const values = addressJson("trace.json", {
    steps: trace.steps.map(({ gradNorm, ...step }) => ({ ...step, grad_norm: gradNorm })),
    after_each_cycle: trace.cycles.map((cycle) => ({
      threshold_in: cycle.in.threshold,
      threshold_out: cycle.out.threshold,
      ...cycle.counts,
    })),
  });
  addressJson("layout.json", { tensors: trace.layout }, values);
  const last = trace.cycles.length - 1;
  const elements = trace.cycles[last]?.theta.length ?? 0;
  values.set("layout.json#elements", [elements]);
  trace.cycles.forEach((cycle, index) => {
    const file = `cycle-${index}.safetensors`;
    const addSide = (name: "in" | "out", side: TracedSide): void => {
      for (const key of ["tau", "ibar", "ubar", "score", "mask"] as const) {
        values.set(`${file}#${key}_${name}`, side[key]);
      }
      values.set(`${file}#threshold_${name}`, [side.threshold]);
    };
    addSide("in", cycle.in);
    addSide("out", cycle.out);
    values.set(`${file}#theta`, cycle.theta);
    if (index === last) {
      values.set(`${file}#adaptive_theta`, trace.adaptive.theta);
      values.set(`${file}#adaptive_weight_in`, trace.adaptive.weightIn);
      values.set(`${file}#adaptive_weight_out`, trace.adaptive.weightOut);
    }
  });
  return values;
}

/** The same sets for whatever runs the algorithm. */
export function recurrentCheck(run: RunRecurrent): Check {
  return {
    folder: "recurrent",
    find: (root) =>
      foldersIn(root, "recurrent").flatMap((folder) =>
        foldersIn(root, `recurrent/${folder}`).map((form) => {
          const name = `recurrent/${folder}/${form}`;
          const files = filesIn(root, name, /^(trace\.json|cycle-\d+\.safetensors)$/).map(
            (file) => `${name}/${file}`,
          );
          return { root, name, files: [...files, `recurrent/${folder}/layout.json`] };
        }),
      ),
    unsupported: (set) => {
      const { adapter } = readJson<{ adapter: string }>(set.root, `${dirname(set.name)}/layout.json`);
      return unsupportedModel(set.root, adapterBase(set.root, adapter));
    },
    rules: [
      { at: /#tau_(in|out)$/, tolerance: TOLERANCE.taskVector },
      { at: /#(ibar|ubar|score|threshold)_(in|out)$/, tolerance: TOLERANCE.importance },
      { at: /#mask_(in|out)$/, tolerance: maskOutsideBand },
      { at: /#(adaptive_)?theta$/, tolerance: TOLERANCE.theta },
      { at: /#adaptive_weight_(in|out)$/, tolerance: TOLERANCE.adaptiveWeights },
      { at: /#steps\/\d+\/(cycle|loop)$/, tolerance: EQUAL },
      { at: /#steps\/\d+\/lr$/, tolerance: TOLERANCE.learningRate },
      { at: /#steps\/\d+\/loss$/, tolerance: TOLERANCE.trainingLoss },
      { at: /#steps\/\d+\/grad_norm$/, tolerance: TOLERANCE.gradNorm },
      { at: /#after_each_cycle\/\d+\/threshold_(in|out)$/, tolerance: TOLERANCE.importance },
      { at: /#after_each_cycle\/\d+\/(in_only|out_only|both|neither)$/, tolerance: maskCount },
      { at: /^layout\.json#(elements$|tensors\/)/, tolerance: EQUAL },
      { at: /^(layout|trace)\.json#/, tolerance: GIVEN },
    ],
    compute: async (set: FixtureSet) => addressTrace(await run(readSetup(set))),
  };
}
