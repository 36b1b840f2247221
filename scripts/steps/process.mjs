// What the scripts share: paths, child processes, messages. Plain JavaScript, because nothing is compiled when they run.
import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

/** A failure that is told to the person as it stands, without a stack. */
export class ScriptError extends Error {}

/** Path of a development dependency's program, run by this Node whatever the PATH is. */
export const tool = (path) => join(root, "node_modules", path);

/** Runs a program with the terminal's streams; `quiet` keeps its output for the error. */
export function run(command, args, { quiet = false, env = process.env, cwd = root, onText } = {}) {
  return new Promise((resolve, reject) => {
    const piped = quiet || onText !== undefined;
    const child = spawn(command, args, {
      cwd,
      env,
      stdio: ["ignore", ...(piped ? ["pipe", "pipe"] : ["inherit", "inherit"])],
    });
    let output = "";
    for (const stream of piped ? [child.stdout, child.stderr] : []) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
        onText?.(text);
      });
    }
    child.on("error", (error) => reject(new ScriptError(`${command}: ${error.message}`)));
    child.on("close", (status, signal) => resolve({ status: status ?? 128, signal, output }));
  });
}

export const runNode = (args, options) => run(process.execPath, args, options);

/** As {@link run}, but a status other than 0 is an error that carries what the program said. */
export async function must(command, args, options) {
  const result = await run(command, args, options);
  if (result.status !== 0) {
    const said = result.output === "" ? "" : `\n${result.output.trimEnd()}`;
    throw new ScriptError(
      `${[command, ...args].join(" ")} ended with ${result.signal ?? result.status}${said}`,
    );
  }
  return result.output;
}

/** Full path of a program on the PATH, or undefined. */
export function which(name) {
  for (const folder of (process.env.PATH ?? "").split(delimiter).filter((entry) => entry !== "")) {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return join(folder, name);
    } catch {
      continue;
    }
  }
  return undefined;
}

export const succeeds = (command, args) => spawnSync(command, args, { stdio: "ignore" }).status === 0;

export const say = (text) => process.stderr.write(`${text}\n`);

/** Runs a script's main function: expected errors are told as they are, everything else with its stack. */
export async function main(body) {
  try {
    process.exitCode = (await body()) ?? 0;
  } catch (error) {
    const expected = error instanceof ScriptError || (error instanceof Error && error.name === "RkifError");
    say(`\n${expected ? error.message : (error?.stack ?? error)}`);
    process.exitCode = 1;
  }
}
