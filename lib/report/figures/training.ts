import type { LoggedTask } from "../data/metrics-log.js";

/** A figure at a step of the run, counted over all loops from its beginning. */
export type Point = [step: number, value: number];

/** Shares of the weights in the four cases of a fusion, after the cycle that ended at `step`. */
export interface CaseShares {
  step: number;
  onlyIn: number;
  onlyOut: number;
  both: number;
  neither: number;
}

/** A merge of two task vectors with one weight each. */
export interface TaskMerge {
  task: string;
  /** Steps of the run by then, over all loops, and on the task's own records. */
  step: number;
  taskStep: number;
  /** Weights of the task vectors: the task's and the memory's. */
  weightIn: number;
  weightOut: number;
  /** Steps that the cycle was planned to have on the task's records. */
  interval: number;
}

/** A run's training over its steps, thinned out to what a picture shows. */
export interface TrainingFigures {
  steps: number;
  skipped: number;
  /** Trained tokens; null where a version wrote the run that did not count them, or a task is under way. */
  tokens: number | null;
  tasks: {
    task: string;
    /** Steps of the run before the task, and with it. */
    from: number;
    to: number;
    /** Mean loss of loop 0 over the first and the last tenth of its steps. */
    firstLoss: number | null;
    lastLoss: number | null;
    /** Fused cycles, and the mean shares of the four cases over them. */
    cycles: number;
    cases: Omit<CaseShares, "step"> | null;
  }[];
  /** Mean loss of neighbouring steps, by loop: 0 is on the task's records, 1 on the memory. */
  losses: { loop: number; points: Point[] }[];
  /** Root mean square of importance in every cycle. */
  importance: { inner: Point[]; outer: Point[] };
  cases: CaseShares[];
  /** All of them, in order. */
  merges: TaskMerge[];
}

/** Points of a line, about: more cannot be seen. */
const finest = 160;

export function trainingFigures(log: readonly LoggedTask[]): TrainingFigures {
  const steps = log.at(-1)?.to ?? 0;
  const width = Math.max(1, Math.ceil(steps / finest));
  const loops = [...new Set(log.flatMap(({ losses }) => [...losses.keys()]))].sort((a, b) => a - b);
  const importance = (name: "importanceIn" | "importanceOut"): Point[] =>
    log.flatMap(
      ({ from, cycles }) =>
      binned(cycles.map(({ at, [name]: value }) => [at, value ?? null]), from, width), // prettier-ignore
    );
  const tokens = log.map((task) => task.tokens);
  return {
    steps,
    skipped: log.reduce((sum, { skipped }) => sum + skipped, 0),
    tokens: tokens.includes(null) ? null : tokens.reduce<number>((sum, count) => sum + count!, 0),
    tasks: log.map((task) => {
      const losses = (task.losses.get(0) ?? []).map(({ loss }) => loss);
      const tenth = Math.max(1, Math.floor(losses.length / 10));
      const shares = casesOf(task);
      return {
        task: task.task,
        from: task.from,
        to: task.to,
        firstLoss: finiteMean(losses.slice(0, tenth)),
        lastLoss: finiteMean(losses.slice(-tenth)),
        cycles: task.cycles.filter(({ fused }) => fused).length,
        cases: meanCases(shares),
      };
    }),
    losses: loops.map((loop) => ({
      loop,
      points: log.flatMap(
        ({ from, losses }) =>
        binned((losses.get(loop) ?? []).map(({ at, loss }) => [at, loss]), from, width), // prettier-ignore
      ),
    })),
    importance: { inner: importance("importanceIn"), outer: importance("importanceOut") },
    cases: log.flatMap((task) => {
      const bins = new Map<number, CaseShares[]>();
      for (const shares of casesOf(task))
        append(bins, Math.floor((shares.step - task.from) / (2 * width)), shares);
      return [...bins.values()].map((bin) => ({ step: bin.at(-1)!.step, ...meanCases(bin)! }));
    }),
    merges: log.flatMap(mergesOf),
  };
}

function mergesOf({ task, cycles }: LoggedTask): TaskMerge[] {
  return cycles.flatMap(({ at, merge }) => {
    if (merge === undefined) return [];
    const { step: taskStep, weightIn, weightOut, interval } = merge;
    return [{ task, step: at, taskStep, weightIn, weightOut, interval }];
  });
}

function casesOf({ cycles }: LoggedTask): CaseShares[] {
  return cycles.flatMap(({ at, onlyIn, onlyOut, both, neither }) => {
    if (onlyIn === undefined || onlyOut === undefined || both === undefined || neither === undefined)
      return [];
    const total = onlyIn + onlyOut + both + neither;
    if (total === 0) return [];
    const share = (count: number): number => count / total;
    return [{ step: at, onlyIn: share(onlyIn), onlyOut: share(onlyOut), both: share(both), neither: share(neither) }]; // prettier-ignore
  });
}

function meanCases(shares: readonly CaseShares[]): Omit<CaseShares, "step"> | null {
  if (shares.length === 0) return null;
  const mean = (name: keyof CaseShares): number =>
    shares.reduce((sum, each) => sum + each[name], 0) / shares.length;
  return { onlyIn: mean("onlyIn"), onlyOut: mean("onlyOut"), both: mean("both"), neither: mean("neither") };
}

/** Means over `width` steps each, from `from` on; what is null or has no neighbour is left out. */
function binned(values: readonly (readonly [number, number | null])[], from: number, width: number): Point[] {
  const bins = new Map<number, Point[]>();
  for (const [at, value] of values) {
    if (value !== null) append(bins, Math.floor((at - from) / width), [at, value]);
  }
  return [...bins.values()].map((bin) => [
    Math.round(average(bin.map(([at]) => at))),
    average(bin.map(([, value]) => value)),
  ]);
}

function append<T>(bins: Map<number, T[]>, bin: number, value: T): void {
  const values = bins.get(bin);
  if (values) values.push(value);
  else bins.set(bin, [value]);
}

const average = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

function finiteMean(values: readonly (number | null)[]): number | null {
  const finite = values.filter((value) => value !== null);
  return finite.length === 0 ? null : average(finite);
}
