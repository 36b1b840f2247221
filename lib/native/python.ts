import { spawn, spawnSync } from "node:child_process";
import { tmpdir } from "node:os";

import { RkifError } from "../errors.js";
import type { Environment } from "./environment.js";

/** Prints torch's folder; `find_spec` of a top-level package does not import it. The program's folder is no place to look. */
const FIND_TORCH = `
import importlib.util, sys
sys.path = [p for p in sys.path if p]
spec = importlib.util.find_spec("torch")
print((list(spec.submodule_search_locations or []) or [""])[0] if spec else "")
`;

/** Where `python3`'s torch lies, or why it cannot be said. Takes some 50 ms. */
export function findPythonTorch(environment: Environment): { folder: string } | { problem: string } {
  const result = spawnSync("python3", ["-c", FIND_TORCH], {
    env: environment.variables,
    cwd: tmpdir(),
    encoding: "utf8",
    timeout: 20_000,
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (result.error !== undefined) {
    const missing = (result.error as NodeJS.ErrnoException).code === "ENOENT";
    return { problem: missing ? "python3 is not on the PATH" : `python3: ${result.error.message}` };
  }
  if (result.status !== 0) {
    return { problem: `python3 ended with ${result.status ?? result.signal}: ${lastLine(result.stderr)}` };
  }
  const folder = result.stdout.trim();
  return folder === "" ? { problem: "it has none" } : { folder };
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}

export interface PythonRun {
  args: readonly string[];
  environment: Environment;
  /** Variables set for this run on top of the environment's. */
  variables?: NodeJS.ProcessEnv;
  onLine?: (line: string) => void;
  signal?: AbortSignal | undefined;
}

/** Runs python3 and collects what it prints on both streams. */
export function runPython(run: PythonRun): Promise<{ status: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn("python3", [...run.args], {
      env: { ...run.environment.variables, ...run.variables },
      stdio: ["ignore", "pipe", "pipe"],
      ...(run.signal === undefined ? {} : { signal: run.signal }),
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      let rest = "";
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
        const lines = (rest + text).split(/\r?\n|\r/);
        rest = lines.pop() ?? "";
        for (const line of lines) run.onLine?.(line);
      });
    }
    let aborted = false;
    child.on("error", (error: NodeJS.ErrnoException) => {
      if (error.name === "AbortError") aborted = true;
      else reject(error);
    });
    // An aborted child still writes until it is gone: only then may its files be removed.
    child.on("close", (status) => {
      if (aborted) reject(new RkifError("ABORTED", "fetching libtorch was stopped"));
      else resolve({ status, output });
    });
  });
}
