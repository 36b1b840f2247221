/** Where a training step's time goes on this side, by kind of work. */
import type { OperatorTime } from "../../../lib/native/contract.js";
import type { ProfileAnswer, ProfileRequest } from "./protocol.js";
import { batchOf, openHere, type Setting } from "./setting.js";
import { stepsOn } from "./step.js";

/** What takes the time, and which operators that is; the first that fits counts. */
const kinds: readonly (readonly [string, RegExp])[] = [
  [
    "matrix products",
    /^aten::(mm|addmm_?|bmm|baddbmm_?|matmul|linear)$|^mkldnn::|^rkif::(vocabulary|head_products)$/,
  ],
  ["adapters' low-rank paths", /^rkif::low_rank$/],
  ["attention", /^rkif::attention$/],
  ["dropout, residuals", /^rkif::(dropout|residual)$/],
  ["norms, activations, rotation", /^rkif::(norm|rotate|activation)$/],
  ["conversions and copies", /^rkif::widen$|^aten::(to|_to_copy|copy_|contiguous|clone)$/],
  ["loss", /^aten::(_?log_softmax|exp(_out)?)$/],
  ["optimizer with importance", /^rkif::adamw$/],
  ["sums", /^aten::(add_?|sum)$/],
  ["other operators", /^/],
];
/** What is no operator's: the graph, the addon, Node. */
const between = "between operators";

export interface ProfileResult {
  /** Seconds of a step, operators being measured: a little more than without. */
  seconds: number;
  /** Seconds of a step by kind of work, with no kind that takes none; together they are `seconds`. */
  kinds: Record<string, number>;
  operators: OperatorTime[];
}

/** Over `rounds` steps, after one that warms up. */
export async function measureProfile(setting: Setting): Promise<ProfileResult> {
  await using here = await openHere(setting);
  await stepsOn(here, { ...setting, steps: 1 }, 0);
  const batches = Array.from({ length: setting.rounds }, (_, i) => batchOf(setting, i + 1));
  const request: ProfileRequest = { do: "profile", batches };
  const { seconds, operators } = await here.request<ProfileAnswer>(request);
  const whole = secondsByKind(seconds, operators);
  const each = Object.entries(whole).map(([kind, of]) => [kind, of / batches.length]);
  return {
    ...{ seconds: seconds / batches.length, operators },
    kinds: Object.fromEntries(each) as Record<string, number>,
  };
}

/** See {@link ProfileResult}. @param seconds of the clock */
export function secondsByKind(seconds: number, operators: readonly OperatorTime[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const { name, seconds: own } of operators) {
    const [kind] = kinds.find(([, names]) => names.test(name))!;
    found[kind] = (found[kind] ?? 0) + own;
  }
  found[between] = seconds - operators.reduce((sum, { seconds: own }) => sum + own, 0);
  return found;
}
