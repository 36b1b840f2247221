import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import type { Command } from "commander";
import { readRecords, type TaskRecord } from "../data/records.js";
import { RkifError } from "../errors.js";
import { generateText, type GenerateTextOptions } from "../evaluation/generate-text.js";
import { loadModel } from "../models/trained-model.js";
import { resolvePart } from "../training/config.js";
import { loadOptions } from "../training/load-options.js";
import { evaluationOptions, modelOptions, runtimeOptions } from "../training/options.js";
import { Display, interruptSignal } from "./display.js";
import { addConfigFlags, givenOptions } from "./flags.js";

const used = [
  ...["model", "baseType", "copyWeights", "memory", "threads", "device", "deviceMemoryLimit"],
  ...["maxNewTokens", "evaluationTokens"],
];

interface GenerateFlags {
  prompt?: string;
  file?: string;
  promptTemplate?: string;
  temperature?: string;
  topP?: string;
  seed?: string;
  json?: boolean;
}

export function generateCommand(program: Command): void {
  const command = program
    .command("generate")
    .description("answer a prompt, or every prompt of a file, with or without an adapter")
    .option("--prompt <text>", "the prompt; - reads it from stdin")
    .option(
      "--file <file>",
      "one prompt a line, or task records where the name ends in .json or .jsonl; - reads lines from stdin",
    )
    .option(
      "--prompt-template <template>",
      'write prompts with "alpaca", "plain", "chat" (the checkpoint\'s own) or a text with {instruction} and {input}; ' +
        "without it, a text is the whole prompt, and a record is written as in training",
    )
    .option("--adapter <folder>", "adapter in PEFT form, such as RUN/adapter")
    .option("--temperature <value>", "draw tokens at this temperature; 0: take the best one (the default)")
    .option(
      "--top-p <value>",
      "draw from the most probable tokens that together have this probability (default: 1)",
    )
    .option("--seed <value>", "what the draws are a function of (default: 42)")
    .option("--json", "print the result as a line of JSON (files always are)");
  addConfigFlags(command, used);
  command.action(async () => generate(command.opts<GenerateFlags>(), givenOptions(command)));
}

async function generate(flags: GenerateFlags, given: Record<string, unknown>): Promise<void> {
  const config = {
    ...resolvePart(modelOptions, given, "command line"),
    ...resolvePart(runtimeOptions, given, "command line"),
  };
  const { maxNewTokens, evaluationTokens } = resolvePart(evaluationOptions, given, "command line");
  const sampling = samplingOf(flags);
  const prompts = await promptsOf(flags);
  const display = new Display();
  const { signal, release } = interruptSignal(display);
  try {
    const loaded = await loadModel({ ...loadOptions(config), trainable: { kind: "none" } });
    try {
      for (const warning of loaded.warnings) display.line(warning);
      // One prompt is shown as it is answered; several are told when all are.
      const streams = flags.file === undefined && !flags.json;
      const answers = await generateText(loaded, prompts, {
        promptTemplate: flags.promptTemplate ?? null,
        maxNewTokens,
        batchTokens: evaluationTokens,
        signal,
        ...(sampling ? { sampling } : {}),
        ...(streams ? { onText: (_, piece) => process.stdout.write(piece) } : progressOn(display, flags)),
      });
      display.stop();
      if (streams) process.stdout.write("\n");
      else process.stdout.write(answers.map((answer, i) => jsonLine(prompts[i]!, answer)).join(""));
    } finally {
      loaded.model.dispose();
    }
  } finally {
    release();
    display.stop();
  }
}

function progressOn(display: Display, { file }: GenerateFlags): Pick<GenerateTextOptions, "onProgress"> {
  if (file === undefined) return {};
  const listener = display.listener();
  const label = `${file === "-" ? "stdin" : file}: generating`;
  return {
    onProgress: (done, total) =>
      listener({ event: "progress", task: file, stage: "evaluate", label, done, total }),
  };
}

async function promptsOf({ prompt, file }: GenerateFlags): Promise<(string | TaskRecord)[]> {
  if ((prompt === undefined) === (file === undefined)) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `${prompt === undefined ? "there is nothing to answer" : "--prompt and --file are both given"}; expected either --prompt TEXT or --file FILE`,
    );
  }
  if (prompt !== undefined) {
    const given = prompt === "-" ? (await text(process.stdin)).replace(/\r?\n$/, "") : prompt;
    if (given === "") throw new RkifError("INVALID_ARGUMENT", "the prompt is empty; expected some text");
    return [given];
  }
  if (/\.jsonl?$/.test(file!)) return readRecords(file!);
  const content = file === "-" ? await text(process.stdin) : await readLines(file!);
  const lines = content.split(/\r?\n/).filter((line) => line.trim() !== "");
  if (lines.length > 0) return lines;
  throw new RkifError("DATA_INVALID", `${file}: holds no prompts; expected one prompt a line`);
}

async function readLines(file: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).replace(/^\ufeff/, "");
  } catch (cause) {
    throw new RkifError("DATA_INVALID", `${file}: cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** Undefined: greedy. */
function samplingOf(flags: GenerateFlags): GenerateTextOptions["sampling"] {
  const temperature = numberOf(
    "temperature",
    flags.temperature,
    (value) => value >= 0,
    "a number of at least 0",
  );
  const topP = numberOf(
    "top-p",
    flags.topP,
    (value) => value > 0 && value <= 1,
    "a number above 0, at most 1",
  );
  const seed = numberOf(
    "seed",
    flags.seed,
    (value) => Number.isSafeInteger(value) && value >= 0,
    "a whole number of at least 0",
  );
  const samples = (temperature ?? 0) > 0 || (temperature === undefined && topP !== undefined);
  if (samples) {
    return {
      ...(temperature === undefined ? {} : { temperature }),
      ...(topP === undefined ? {} : { topP }),
      ...(seed === undefined ? {} : { seed }),
    };
  }
  const idle = topP !== undefined ? "--top-p" : seed !== undefined ? "--seed" : undefined;
  if (idle === undefined) return undefined;
  throw new RkifError(
    "INVALID_ARGUMENT",
    `${idle} has no effect where the best token is taken; give a --temperature above 0 as well`,
  );
}

function numberOf(
  flag: string,
  given: string | undefined,
  isValid: (value: number) => boolean,
  expected: string,
): number | undefined {
  if (given === undefined) return undefined;
  const value = given.trim() === "" ? NaN : Number(given);
  if (isValid(value)) return value;
  throw new RkifError("INVALID_ARGUMENT", `--${flag} is ${JSON.stringify(given)}; expected ${expected}`);
}

function jsonLine(prompt: string | TaskRecord, answer: string): string {
  const asked = typeof prompt === "string" ? { prompt } : prompt;
  return `${JSON.stringify({ ...asked, text: answer })}\n`;
}
