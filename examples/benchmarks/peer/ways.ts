/** Which way of computing in Python is the fastest: that one is compared with. */
import type { Device, Type, Way } from "./protocol.js";
import { median } from "./ratios.js";
import { openPeer, type Setting } from "./setting.js";
import type { Side } from "./side.js";

/** What is tried: its seconds, the i-th time. */
export type Task = (peer: Side, i: number) => Promise<number>;

export interface Trial {
  way: Way;
  /** Median of some times; null: it does not work. */
  seconds: number | null;
  error?: string;
}

/** Times before the measured ones; compilation needs more than one, since it generalises over lengths when they change. */
const warmUps = { plain: 1, compiled: 3 };
const measured = 3;

/** On a GPU the base's weights are bfloat16 in every way: as fp32 they would take twice the memory to be rounded at every step. */
const precisionsOf: Record<Type, Record<Device, readonly Way["precision"][]>> = {
  float32: { cpu: ["float32"], cuda: ["float32"] },
  bfloat16: { cpu: ["autocast", "bfloat16"], cuda: ["bfloat16", "mixed"] },
};

export function waysOf(
  type: Type,
  { torchCompile, device }: { torchCompile: boolean; device: Device },
): Way[] {
  const precisions = precisionsOf[type][device];
  const compiled = torchCompile ? [false, true] : [false];
  return precisions.flatMap((precision) => compiled.map((compile) => ({ precision, compile })));
}

export function describeWay({ precision, compile }: Way): string {
  const names = {
    float32: "fp32",
    autocast: "autocast",
    bfloat16: "bf16 base",
    mixed: "bf16 base, autocast",
  };
  return names[precision] + (compile ? ", compiled" : "");
}

export interface TrialOptions {
  torchCompile: boolean;
  /** Seconds that all compiled ways have together; one that is late counts as one that does not work. */
  compileLimit: number;
  say: (line: string) => void;
}

/**
 * Tries them one after another, each in a process of its own; compiled ones last, those of the faster precision first. Where there is only
 * one, nothing is measured. `way` is null where none works, which `trials` say why.
 */
export async function fastestWay(
  setting: Setting,
  task: Task,
  { torchCompile, compileLimit, say }: TrialOptions,
): Promise<{ way: Way | null; trials: Trial[] }> {
  const ways = waysOf(setting.type, { torchCompile, device: setting.device });
  if (ways.length === 1) return { way: ways[0]!, trials: [] };
  const plain: Trial[] = [];
  const compiled: Trial[] = [];
  const run = async (way: Way, limit: number): Promise<Trial> => {
    const trial =
      limit > 0 ? await tryWay(setting, way, task, limit) : { way, seconds: null, error: "no time was left" };
    const found = trial.seconds === null ? `does not work: ${trial.error}` : `${trial.seconds.toFixed(3)} s`;
    say(`${setting.model} ${setting.type}, the peer with ${describeWay(way)}: ${found}`);
    return trial;
  };
  for (const way of ways.filter(({ compile }) => !compile)) plain.push(await run(way, Infinity));
  const end = performance.now() + 1000 * compileLimit;
  for (const { way } of byTime(plain)) {
    const left = (end - performance.now()) / 1000;
    if (torchCompile) compiled.push(await run({ ...way, compile: true }, left));
  }
  const trials = [...plain, ...compiled];
  return { way: byTime(trials).find(({ seconds }) => seconds !== null)?.way ?? null, trials };
}

/** Whether a way failed that should have worked: only compiling may fail. */
export function hasFailed(trials: readonly Trial[]): boolean {
  return trials.some(({ way, seconds }) => seconds === null && !way.compile);
}

function byTime(trials: readonly Trial[]): Trial[] {
  return trials.toSorted((a, b) => (a.seconds ?? Infinity) - (b.seconds ?? Infinity));
}

/** @param limit seconds */
async function tryWay(setting: Setting, way: Way, task: Task, limit: number): Promise<Trial> {
  let late = false;
  let timer: NodeJS.Timeout | undefined;
  const started = performance.now();
  try {
    await using peer = await openPeer(setting, way);
    if (Number.isFinite(limit)) {
      // Loading counts.
      const left = 1000 * limit - (performance.now() - started);
      timer = setTimeout(() => {
        late = true;
        peer.kill();
      }, left);
    }
    const seconds: number[] = [];
    const skipped = way.compile ? warmUps.compiled : warmUps.plain;
    for (let i = 0; i < skipped + measured; i++) {
      const found = await task(peer, i);
      if (i >= skipped) seconds.push(found);
    }
    return { way, seconds: median(seconds) };
  } catch (error) {
    const message = late ? `longer than ${limit.toFixed(0)} s` : (error as Error).message;
    return { way, seconds: null, error: message };
  } finally {
    clearTimeout(timer);
  }
}
