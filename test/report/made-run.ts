import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { RunFolder } from "../../lib/training/run-folder.js";
import { writePredictions } from "../../lib/training/predictions.js";
import { resolveConfig } from "../../lib/training/config.js";

export interface MadeRun {
  tasks?: string[];
  method?: string;
  seed?: number;
  /** Tasks learned; one more is under way where there are more. Default: all. */
  learned?: number;
  steps?: number;
  records?: number;
  layers?: number;
  options?: Record<string, unknown>;
  /** Answers of the last task, in place of made ones. */
  answer?: string;
  input?: string;
}

/**
 * Writes a run folder as a run would, without a model: on task j after task i it is right in `100 - 10 (i - j)` percent of the records,
 * and what is wrong is answered with the newest task's first label.
 */
export async function makeRun(path: string, made: MadeRun = {}): Promise<string> {
  const { tasks = ["north", "south", "west"], method = "recurrent-kif", seed = 1, records = 10 } = made;
  const { steps = 24, layers = 2, learned = tasks.length, answer, input = "text" } = made;
  const folder = new RunFolder(path);
  await mkdir(path, { recursive: true });
  const write = (file: string, content: unknown): Promise<void> => writeFile(file, JSON.stringify(content));
  const config = { ...resolveConfig({ method, seed, model: "embedded" }), ...made.options };
  await write(folder.config, config);
  await writeFile(folder.state, "");
  const layout = makeLayout(layers);
  await write(folder.layout, layout);

  const started = tasks.slice(0, Math.min(tasks.length, learned + 1));
  const lines: object[] = [];
  for (const [i, task] of started.entries()) {
    lines.push({ event: "task-start", task, index: i, records, cutSources: 0, cutTargets: 0 });
    const made = i > 0 ? cyclesOf(method) : undefined;
    lines.push(...trained(task, steps, made, layout.length));
    if (i >= learned) break;
    lines.push({ event: "task-end", task, index: i, steps, skipped: 0, tokens: 100 * steps });
    const path = folder.task(i, task);
    await mkdir(path, { recursive: true });
    await write(join(path, "task.json"), { name: task, labels: labelsOf(task) });
    const test = Array.from({ length: records }, (_, r) => ({
      input: `${input} ${r}`,
      output: labelsOf(task)[r % 2],
    }));
    await writeFile(join(path, "test.jsonl"), test.map((record) => `${JSON.stringify(record)}\n`).join(""));
    for (const [j, earlier] of tasks.slice(0, i + 1).entries()) {
      const wrong = j === i ? (answer ?? "") : labelsOf(task)[0]!;
      const predictions = test.map((_, r) =>
        r < (records * accuracyOf(i, j)) / 100 && !(j === i && answer !== undefined)
          ? labelsOf(earlier)[r % 2]!
          : wrong,
      );
      await writePredictions(folder, { index: i, name: task }, { index: j, name: earlier }, predictions);
    }
  }
  await writeFile(folder.metrics, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const row = (i: number): (number | null)[] => started.map((_, j) => (j <= i ? accuracyOf(i, j) : null));
  const R = Array.from({ length: learned }, (_, i) => row(i));
  await write(folder.matrix, { tasks: started, R, ownLabelR: [], baseline: started.map(() => null) });
  return path;
}

export const accuracyOf = (i: number, j: number): number => Math.max(0, 100 - 10 * (i - j));
const labelsOf = (task: string): string[] => [`${task} yes`, `${task} no`];

function makeLayout(layers: number): { name: string; shape: number[] }[] {
  return Array.from({ length: layers }, (_, layer) =>
    ["q", "v"].flatMap((matrix) =>
      ["A", "B"].map((part) => ({
        name: `base_model.model.encoder.block.${layer}.layer.0.SelfAttention.${matrix}.lora_${part}.weight`,
        shape: part === "A" ? [2, 10] : [10, 2],
      })),
    ),
  ).flat();
}

/** What the cycles of a task end with, if it has any. */
function cyclesOf(method: string): "fusion" | "merge" | undefined {
  if (method === "recurrent-kif") return "fusion";
  return method === "aim-merging" ? "merge" : undefined;
}

function trained(
  task: string,
  steps: number,
  cycles: "fusion" | "merge" | undefined,
  tensors: number,
): object[] {
  const lines: object[] = [];
  const step = (loop: number, number: number): object => {
    const loss = 2 / (number + 1) + loop;
    return { event: "step", task, loop, step: number, loss, gradNorm: 1, learningRate: 1e-3, applied: true };
  };
  const each = (value: number): number[] => Array.from({ length: tensors }, () => value);
  for (let i = 0; i < steps; i++) {
    lines.push(step(0, i));
    if (!cycles || i % 8 !== 7) continue;
    const cycle = (i - 7) / 8;
    for (let m = 0; m < 4; m++) lines.push(step(1, 4 * cycle + m));
    if (cycles === "merge") {
      const [weightIn, weightOut] = cycle % 2 === 0 ? [0.6, 0.4] : [0.5, 0.5];
      const merge = { step: i + 1, weightIn, weightOut, interval: 8 - (cycle % 7) };
      lines.push({ event: "cycle", task, cycle, fused: true, merge });
      continue;
    }
    const counts = { onlyIn: 2 * tensors, onlyOut: 3 * tensors, both: 5 * tensors, neither: 10 * tensors };
    lines.push({ event: "cycle", task, cycle, fused: true, ...counts, thresholdIn: [1], thresholdOut: [1], importanceIn: 1e-4, importanceOut: 1e-6 }); // prettier-ignore
    lines.push({ event: "tensors", task, cycle, onlyIn: each(2), onlyOut: each(3), both: each(5), importanceIn: each(1e-5), importanceOut: each(1e-7) }); // prettier-ignore
  }
  return lines;
}
