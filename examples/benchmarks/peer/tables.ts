/** Tables over the measurements. */
import { renderTable } from "../../../lib/report/table.js";
import type { ModelName } from "./checkpoints.js";
import type { Type, Way } from "./protocol.js";
import { median, type Ratio } from "./ratios.js";
import type { StepResult } from "./step.js";
import { describeWay, type Trial } from "./ways.js";

/** Everything measured of one model in one type. */
export interface Measured {
  model: ModelName;
  type: Type;
  way: Way;
  trials: Trial[];
  step?: StepResult;
}

/** "2.51 (2.40-2.63)": the median, the least and the most over the rounds. */
export function formatRatio({ median, min, max }: Ratio): string {
  return `${median.toFixed(2)} (${min.toFixed(2)}-${max.toFixed(2)})`;
}

export function stepTable(results: readonly Measured[]): string {
  const head = ["training step", "here, s", "peer, s", "ratio", "peer's way", "loss differs by"];
  const rows = results.flatMap(({ model, type, way, step }) =>
    step === undefined
      ? []
      : [
          [
            `${model} ${type}`,
            median(step.here).toFixed(3),
            median(step.peer).toFixed(3),
            formatRatio(step.ratio),
            describeWay(way),
            step.agreement.lossDifference.toExponential(1),
          ],
        ],
  );
  return renderTable(head, rows, "text");
}
