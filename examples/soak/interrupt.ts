/**
 * Interrupts `rkif train` at random and lets it go on, until it is done: the result must have the bits of a run left alone. Once by
 * SIGINT at random steps, once by SIGKILL at random times with frequent saves.
 *
 *     npm run compile
 *     npx tsx examples/soak/interrupt.ts [--rounds 1] [--stops 10] [--seed 1] [--method recurrent-kif] [--preset paper]
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { uniform } from "../../lib/data/random.js";
import { demoTasks } from "../../lib/demo/tasks.js";
import { asFlags, rkif, type Ended } from "../../test/cli/rkif.js";
import { differences, results, writeTasks } from "../../test/training/tiny-run.js";

const { values: given } = parseArgs({
  options: {
    rounds: { type: "string", default: "1" },
    stops: { type: "string", default: "10" },
    seed: { type: "string", default: "1" },
    method: { type: "string", default: "recurrent-kif" },
    preset: { type: "string", default: "none" },
  },
});
const stops = Number(given.stops);
const root = await mkdtemp(join(tmpdir(), "rkif-soak-"));
const data = await writeTasks(join(root, "data"), demoTasks(1, { train: 96, dev: 8, test: 24 }).slice(0, 3));
const options = {
  ...{ method: given.method, preset: given.preset, data, order: "mood,guild,cargo", model: "embedded" },
  ...{ epochs: 2, batchSize: 4, learningRate: 3e-3, warmupSteps: 5, maxNewTokens: 4, memoryFraction: 0.1 },
  ...{ evaluateBy: "score", threads: 1 },
};

let failures = 0;
try {
  const started = performance.now();
  const alone = join(root, "alone");
  const { code, stderr } = await train(alone);
  if (code !== 0) throw new Error(stderr);
  const milliseconds = performance.now() - started;
  const expected = await results(alone);
  const lines = await logged(alone);
  say(`${given.method}: a run left alone logs ${lines} events in ${(milliseconds / 1000).toFixed(1)} s`);

  for (let round = 0; round < Number(given.rounds); round++) {
    const draw = (...counters: number[]): number => uniform(Number(given.seed), round, ...counters);

    const interrupted = join(root, `interrupted-${round}`);
    const at = Array.from({ length: stops }, (_, i) => Math.floor(draw(1, i) * (lines - 2))).sort(
      (a, b) => a - b,
    );
    let stopped = 0;
    for (const line of at) {
      const ended = await train(interrupted, {}, async (kill, isOver) => {
        while (!isOver() && (await logged(interrupted)) <= line) await pause(2);
        kill("SIGINT");
      });
      // A signal before Node runs the program ends it at once, with nothing done.
      if (ended.code === 130 || ended.signal === "SIGINT") stopped++;
      else if (ended.code !== 0) fail(`SIGINT after event ${line}`, ended);
      if (ended.code === 0) break;
    }
    await compare(
      interrupted,
      expected,
      `round ${round}: ${stopped} of ${stops} SIGINT, after events ${at.join(", ")}`,
    );

    const killed = join(root, `killed-${round}`);
    let kills = 0;
    for (let i = 0; i < stops; i++) {
      const ended = await train(killed, { saveEvery: 3 }, async (kill, isOver) => {
        const after = draw(2, i) * 0.6 * milliseconds;
        for (let waited = 0; waited < after && !isOver(); waited += 5) await pause(5);
        kill("SIGKILL");
      });
      if (ended.signal === "SIGKILL") kills++;
      else if (ended.code !== 0) fail(`SIGKILL number ${i}`, ended);
      if (ended.code === 0) break;
    }
    await compare(killed, expected, `round ${round}: ${kills} SIGKILL`);
  }
} finally {
  await rm(root, { recursive: true, force: true });
}
say(failures === 0 ? "all runs ended with the bits of the run left alone" : `${failures} failures`);
process.exitCode = failures === 0 ? 0 : 1;

type Disturb = (kill: (signal: NodeJS.Signals) => void, isOver: () => boolean) => Promise<void>;

async function train(run: string, more: object = {}, disturb?: Disturb): Promise<Ended> {
  let isOver = false;
  let disturbing: Promise<void> | undefined;
  const ended = await rkif(["train", run, ...asFlags({ ...options, ...more })], {
    onStart: (kill) => {
      disturbing = disturb?.(kill, () => isOver);
    },
  });
  isOver = true;
  await disturbing;
  return ended;
}

/** Ends the run without further disturbance and holds it against the one left alone. */
async function compare(
  run: string,
  expected: Awaited<ReturnType<typeof results>>,
  what: string,
): Promise<void> {
  const ended = await train(run);
  if (ended.code !== 0) return fail(what, ended);
  const different = differences(await results(run), expected);
  if (different.length > 0) failures++;
  say(`${what}: ${different.length === 0 ? "the same bits" : `DIFFERENT: ${different.join(", ")}`}`);
}

function fail(what: string, { code, signal, stderr }: Ended): void {
  failures++;
  say(`${what}: ended with ${code ?? signal}\n${stderr}`);
}

async function logged(run: string): Promise<number> {
  const text = await readFile(join(run, "metrics.jsonl"), "utf8").catch(() => "");
  return text.split("\n").length - 1;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
