import type { Command } from "commander";
import { meanMatrix, runDemo, type DemoResult } from "../demo/run-demo.js";
import { isAborted, RkifError } from "../errors.js";
import { formatScore, renderTable, type TableFormat } from "../report/table.js";
import { formatSpread, matrixTable } from "../report/tables.js";
import { Display, interruptSignal } from "./display.js";

export function demoCommand(program: Command): void {
  program
    .command("demo")
    .description(
      "teach the embedded model four tasks with sequential training, replay and Recurrent-KIF, and compare",
    )
    .option("--seeds <list>", "seeds with commas between", "1,2,3")
    .option("--run <folder>", "keep the run folders here; an interrupted demo goes on from them")
    .option("--markdown", "print the tables as Markdown")
    .option("--json", "print the results as one JSON document on stdout")
    .action(demo);
}

interface DemoFlags {
  seeds: string;
  run?: string;
  markdown?: boolean;
  json?: boolean;
}

async function demo(flags: DemoFlags): Promise<void> {
  const texts = flags.seeds.split(",").map((text) => text.trim());
  const seeds = texts.map(Number);
  if (!texts.every((text, i) => /^\d+$/.test(text) && Number.isSafeInteger(seeds[i]))) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `--seeds is ${JSON.stringify(flags.seeds)}; expected whole numbers such as 1,2,3`,
    );
  }
  const display = new Display();
  const { signal, release } = interruptSignal(display);
  try {
    const results = await runDemo({
      seeds,
      signal,
      ...(flags.run === undefined ? {} : { folder: flags.run }),
      onEvent: (method, seed, event) => {
        // Single evaluations would flood the terminal: the tables come at the end.
        if (event.event !== "evaluation") display.listener(`${method}, seed ${seed}, `)(event);
      },
    });
    display.stop();
    process.stdout.write(
      flags.json ? `${JSON.stringify(results)}\n` : demoText(results, flags.markdown ? "markdown" : "text"),
    );
  } catch (error) {
    if (!isAborted(error) || flags.run !== undefined) throw error;
    throw new RkifError("ABORTED", "stopped; nothing is kept without --run FOLDER", { cause: error });
  } finally {
    release();
    display.stop();
  }
}

/** A matrix for each method (mean over the seeds), then the methods side by side. */
export function demoText(results: readonly DemoResult[], format: TableFormat): string {
  const matrices = results.map(({ method, runs }) => {
    const tasks = runs[0]?.matrix.tasks ?? [];
    const title = `${method}, mean of seeds ${runs.map(({ seed }) => seed).join(", ")}`;
    return `${format === "markdown" ? `**${title}**\n` : title}\n${matrixTable({ tasks, R: meanMatrix(runs.map(({ matrix }) => matrix)) }, format)}\n`;
  });
  const rows = results.map(({ method, runs }) => [
    method,
    formatSpread(runs.map(({ matrix }) => matrix.OP)),
    formatSpread(runs.map(({ matrix }) => matrix.BWT)),
    formatSpread(runs.map(({ learning }) => learning)),
    runs.map(({ matrix }) => formatScore(matrix.OP)).join("  "),
    runs.map(({ matrix }) => formatScore(matrix.BWT)).join("  "),
  ]);
  const header = ["method", "OP", "BWT", "learned in turn", "OP by seed", "BWT by seed"];
  return `${matrices.join("\n")}\n${renderTable(header, rows, format)}\n`;
}
