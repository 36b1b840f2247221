/**
 * What a checkpoint of real size takes: seconds from the call of loadModel to the first logits beside transformers' on the same files,
 * tokens and type, alternating; then one cycle of Recurrent-KIF (8 inner and 4 outer steps of 2 records of 64 tokens) and its memory.
 * Every measurement has a process of its own; the first of each side only brings the files into memory. Linux.
 *
 *     npx tsx examples/random-checkpoint.ts llama-2-7b checkpoints/random-7b
 *     npx tsx examples/benchmarks/scale.ts checkpoints/random-7b [--types bfloat16,int8] [--runs 3] [--no-peer] [--no-cycle] [--json FILE]
 *
 * RKIF_PYTHON names the Python that has torch and transformers (default python3). It has no int8 of this kind: that type is compared
 * with its bfloat16.
 */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { availableParallelism, loadavg, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { renderTable } from "../../lib/report/table.js";
import type { BaseType } from "../../lib/native/contract.js";
import type { Cycle, FirstLogits } from "./scale/measure.js";

const run = promisify(execFile);
const python = process.env["RKIF_PYTHON"] ?? "python3";
const { values, positionals } = parseArgs({
  options: {
    types: { type: "string", default: "float32,bfloat16,int8" },
    runs: { type: "string", default: "3" },
    "no-peer": { type: "boolean", default: false },
    "no-cycle": { type: "boolean", default: false },
    json: { type: "string" },
  },
  allowPositionals: true,
});
const [folder] = positionals;
const runs = Number(values.runs);
if (folder === undefined || !(runs >= 1))
  throw new Error("expected a checkpoint's folder, and --runs of at least 1");

interface Measured {
  type: BaseType;
  here: FirstLogits[];
  peer: FirstLogits[];
  cycle: Cycle | null;
}

const load = loadavg()[0]!.toFixed(1);
const results: Measured[] = [];
for (const type of values.types.split(",") as BaseType[]) results.push(await measure(type));
const machine = `${availableParallelism()} processors, ${gigabytes(totalmem())} GiB, load ${load} before`;
say(`${folder}; ${machine}; medians of ${runs} runs\n`);
const compared = [
  "here, s",
  "transformers, s",
  "ratio",
  "here, peak GiB",
  "transformers, peak GiB",
  "difference",
];
say(renderTable(["first logits", ...compared], results.map(logitsRow), "text"));
if (!values["no-cycle"]) {
  const head = [
    "one cycle",
    "load, s",
    "inner step, s",
    "outer step, s",
    "cycle, s",
    "peak GiB",
    "of it not file pages",
  ];
  say(renderTable(head, results.map(cycleRow), "text"));
}
const document = JSON.stringify({ folder, runs, results }, null, 1);
if (values.json === undefined) say(document);
else await writeFile(values.json, `${document}\n`);

async function measure(type: BaseType): Promise<Measured> {
  const measured: Measured = { type, here: [], peer: [], cycle: null };
  for (let i = 0; i <= runs; i++) {
    const here = await ours<FirstLogits>("logits", type);
    const peer = values["no-peer"] ? null : await peers(type);
    if (i === 0) continue;
    measured.here.push(here);
    if (peer !== null) measured.peer.push(peer);
  }
  if (!values["no-cycle"]) measured.cycle = await ours<Cycle>("cycle", type);
  return measured;
}

/** In a new process of Node, with the loader that this one runs with. */
async function ours<T>(what: "logits" | "cycle", type: BaseType): Promise<T> {
  const program = join(import.meta.dirname, "scale/measure.ts");
  const { stdout } = await run(process.execPath, [...process.execArgv, program, what, folder!, type]);
  return JSON.parse(stdout) as T;
}

async function peers(type: BaseType): Promise<FirstLogits> {
  const program = join(import.meta.dirname, "scale/peer.py");
  const { stdout } = await run(python, [program, folder!, type === "int8" ? "bfloat16" : type], {
    env: { ...process.env, HF_HUB_OFFLINE: "1" },
  });
  return JSON.parse(stdout) as FirstLogits;
}

function logitsRow({ type, here, peer }: Measured): string[] {
  const seconds = median(here.map((one) => one.seconds));
  const peak = gigabytes(median(here.map((one) => one.peak)));
  if (peer.length === 0) return [type, seconds.toFixed(2), "-", "-", peak, "-", "-"];
  const peerSeconds = median(peer.map((one) => one.seconds));
  return [
    type,
    seconds.toFixed(2),
    peerSeconds.toFixed(2),
    (seconds / peerSeconds).toFixed(2),
    peak,
    gigabytes(median(peer.map((one) => one.peak))),
    difference(here[0]!.sample, peer[0]!.sample).toExponential(1),
  ];
}

/** The largest difference, relative to the largest logit. */
function difference(found: readonly number[], expected: readonly number[]): number {
  const largest = Math.max(...expected.map(Math.abs));
  return Math.max(...expected.map((value, i) => Math.abs(value - found[i]!))) / largest;
}

function cycleRow({ type, cycle }: Measured): string[] {
  if (cycle === null) return [type, "-", "-", "-", "-", "-", "-"];
  return [
    type,
    ...[cycle.loadSeconds, median(cycle.innerSeconds), median(cycle.outerSeconds), cycle.cycleSeconds].map(
      (s) => s.toFixed(2),
    ),
    gigabytes(cycle.peak),
    gigabytes(cycle.anonymous),
  ];
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function gigabytes(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(2);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
