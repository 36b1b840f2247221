import { Option, type Command } from "commander";
import { RkifError } from "../errors.js";
import { mergeAdapter } from "../models/merge.js";
import { createProgress } from "../report/progress.js";
import { Display, interruptSignal } from "./display.js";

interface MergeFlags {
  model: string;
  adapter: string;
  out: string;
  maxShardSize: number;
  json?: boolean;
}

export function mergeCommand(program: Command): void {
  program
    .command("merge")
    .description("fold an adapter into its checkpoint, and write the result as a checkpoint of its own")
    .requiredOption("--model <folder>", 'folder of a Hugging Face checkpoint, or "embedded"')
    .requiredOption("--adapter <folder>", "adapter in PEFT form, such as RUN/adapter")
    .requiredOption("--out <folder>", "folder to make; nothing is overwritten")
    .addOption(
      new Option("--max-shard-size <size>", "larger weights are split into files of this size")
        .argParser(parseSize)
        .default(5e9, "5GB"),
    )
    .option("--json", "print the result as one JSON document on stdout")
    .action(merge);
}

async function merge({ maxShardSize, json, ...folders }: MergeFlags): Promise<void> {
  const { signal, release } = interruptSignal(new Display());
  const progress = createProgress(process.stderr);
  const megabytes = (bytes: number): number => Math.round(bytes / 1e6);
  try {
    const report = await mergeAdapter({
      ...folders,
      maxShardBytes: maxShardSize,
      signal,
      onProgress: (done, total) => {
        if (done === 0) progress.start("writing (MB)", megabytes(total));
        progress.update(megabytes(done));
      },
    });
    progress.stop();
    const { out, files, modules, bytes } = report;
    const count = files.length === 1 ? "one file" : `${files.length} files`;
    process.stdout.write(
      json
        ? `${JSON.stringify(report)}\n`
        : `${out}: ${megabytes(bytes)} MB in ${count}, ${modules} layers merged\n`,
    );
  } finally {
    release();
    progress.stop();
  }
}

const units: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["KB", 1e3],
  ["MB", 1e6],
  ["GB", 1e9],
  ["KIB", 2 ** 10],
  ["MIB", 2 ** 20],
  ["GIB", 2 ** 30],
]);

/** "5GB", "500MB", "2GiB" or a number of bytes, as transformers reads them. */
export function parseSize(text: string): number {
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim()) ?? [];
  const bytes = Math.floor(Number(number) * (units.get(unit.toUpperCase()) ?? NaN));
  if (!Number.isSafeInteger(bytes) || bytes < 1) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `--max-shard-size is ${JSON.stringify(text)}; expected a size such as 5GB, 500MB or 2GiB`,
    );
  }
  return bytes;
}
