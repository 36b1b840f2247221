#!/usr/bin/env node
import { createRequire } from "node:module";
import { Command, CommanderError } from "commander";
import { isAborted } from "../errors.js";
import { benchCommand } from "./bench.js";
import { demoCommand } from "./demo.js";
import { evalCommand } from "./eval.js";
import { generateCommand } from "./generate.js";
import { infoCommand } from "./info.js";
import { libtorchCommand } from "./libtorch.js";
import { mergeCommand } from "./merge.js";
import { reportCommand } from "./report.js";
import { trainCommand } from "./train.js";

const { version } = createRequire(import.meta.url)("../../package.json") as { version: string };

/** Exit codes: 0 done, 1 an error, 2 wrong usage, 130 stopped by the user with everything kept. */
async function main(args: readonly string[]): Promise<number> {
  const program = new Command("rkif")
    .description("Teach a language model one task after another without losing the earlier ones.")
    .version(version)
    .exitOverride()
    .configureHelp({ sortOptions: false, sortSubcommands: false })
    .showSuggestionAfterError();
  trainCommand(program);
  benchCommand(program);
  evalCommand(program);
  generateCommand(program);
  mergeCommand(program);
  reportCommand(program);
  demoCommand(program);
  libtorchCommand(program);
  infoCommand(program, version);
  for (const command of program.commands) command.exitOverride();
  try {
    await program.parseAsync(args, { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const { code, message, stack } = error as Error & { code?: string };
    // A code marks an error made for people; anything else is a defect, and its stack helps.
    process.stderr.write(`rkif: ${code === undefined ? (stack ?? message) : message}\n`);
    return isAborted(error) ? 130 : 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
