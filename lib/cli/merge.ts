import { Option, type Command } from "commander";
import { mergeAdapter } from "../models/merge.js";
import { parseSize } from "../models/size.js";
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
        .argParser((text) => parseSize(text, "--max-shard-size"))
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
    const { out, files, modules, bytes, warnings } = report;
    for (const warning of warnings) process.stderr.write(`${warning}\n`);
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
