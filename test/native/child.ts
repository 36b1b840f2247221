/** Processes of their own for what may end a process: exits, worker threads, memory. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { expect } from "chai";
import { readEnvironment } from "../../lib/native/environment.js";
import { packageRoot } from "../../lib/native/failure.js";
import { openAddon } from "../../lib/native/load.js";
import { currentPlatform } from "../../lib/native/platform.js";
import { batch, modelOptions } from "./addon.js";

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/**
 * What every script starts with. `open()` loads the addon as lib/native/load.ts does, but without TypeScript, so that a process or
 * worker starts fast; `worker(body)` starts a thread with the same beginning; `modelOptions` and `batch` are those of the small model.
 */
async function prelude(): Promise<string> {
  const { files, libtorch } = openAddon({ root: packageRoot, environment: readEnvironment() });
  const libraries = currentPlatform().libraries.map((name) => join(libtorch.folder, "lib", name));
  const arrays = Object.entries(batch as unknown as Record<string, Int32Array>).map(([key, array]) => [
    key,
    { type: array.constructor.name, values: Array.from(array) },
  ]);
  return `
    const { Worker, parentPort } = require("node:worker_threads");
    const open = () => {
      require(${JSON.stringify(files.preload)}).dlopenLibraries(${JSON.stringify(libraries)});
      return require(${JSON.stringify(files.addon)});
    };
    const modelOptions = ${JSON.stringify(await modelOptions())};
    const batch = Object.fromEntries(
      ${JSON.stringify(arrays)}.map(([key, { type, values }]) => [key, globalThis[type].from(values)]),
    );
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  `;
}

/** Runs `body`, the inside of an async function, in a new process. */
export async function run(body: string, flags: readonly string[] = []): Promise<Ended> {
  const common = await prelude();
  const source = `
    ${common}
    const common = ${JSON.stringify(common)};
    const worker = (body) =>
      new Worker(common + "(async () => {" + body + "})()", { eval: true });
    const ended = (thread) => new Promise((resolve, reject) => thread.on("exit", resolve).on("error", reject));
    const message = (thread) => new Promise((resolve, reject) => thread.once("message", resolve).once("error", reject));
    (async () => {${body}})();
  `;
  const child = spawn(process.execPath, [...flags, "-e", source], { stdio: ["ignore", "pipe", "pipe"] });
  // Well below mocha's limit, so that a process that hangs is reported as such.
  const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (text) => (stdout += String(text)));
  child.stderr.on("data", (text) => (stderr += String(text)));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout, stderr });
    });
  });
}

/** Checks that the process ended with `code` by itself, without a word on stderr, and gives its output. */
export async function output(body: string, flags: readonly string[] = [], code = 0): Promise<string> {
  const { stdout, ...end } = await run(body, flags);
  expect(end).to.deep.equal({ code, signal: null, stderr: "" });
  return stdout.trim();
}
