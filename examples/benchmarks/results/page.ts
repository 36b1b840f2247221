import { benchTable, orderTable, type BenchResults, type VariantResults } from "../../../lib/index.js";
import { formatScore, renderTable } from "../../../lib/report/table.js";
import { optionsText, type SearchedMethod } from "./search.js";
import type { Sizes } from "./plan.js";
import type { Study } from "./studies.js";

/** What the page is made from. */
export interface Found {
  study: Study;
  sizes: Sizes;
  searched: readonly SearchedMethod[];
  searchResults: BenchResults;
  /** All methods on one order. */
  all: BenchResults;
  /** The main ones on several orders and seeds. */
  main: BenchResults | null;
  long: BenchResults | null;
  /** How to make the page again. */
  command: string;
}

/** The results page in Markdown. It says what the figures say, for and against. */
export function resultsPage(found: Found): string {
  const { study, sizes, searched, searchResults, all, main, long, command } = found;
  const benches = [searchResults, all, main, long].filter((bench) => bench !== null);
  const minutes = benches.flatMap(({ cells }) =>
    cells.map((cell) =>
      cell.state === "done" ? (cell.result.timing.trainSeconds + cell.result.timing.evaluateSeconds) / 60 : 0,
    ),
  );
  const runs = minutes.length;
  return `${[
    `# ${study.title}`,
    `Made by \`${command}\`, ${runs} runs that took ${Math.round(minutes.reduce((a, b) => a + b, 0))} minutes of one core together; the same command again goes on with what is missing.`,
    study.about,
    `At most ${sizes.trainLimit} training and ${sizes.testLimit} test records of a task (the first of each file), ${epochs(sizes)}; ` +
      `methods with a memory keep ${sizes.memoryRecords} records of each task. ` +
      `All share ${optionsText(shown(study.options))}; what is not said here or under "The search" is the package's default.`,
    "OP is the mean accuracy on all tasks at the end, BWT the mean change since a task was learned. " +
      "Mean ± standard deviation over orders and seeds; tokens, steps and seconds are means of a run, and seconds (*) differ from machine to machine.",
    `## Order ${sizes.orders.all}, all methods`,
    `${sizes.everything ? `Seeds ${sizes.seeds.join(", ")}` : `Seed ${sizes.seeds[0]}; more seeds of the main methods are below`}. per-task is told which task a record is of, and multi-task sees all tasks at once: upper bounds, not competitors.`,
    benchTable(all, "markdown"),
    verdict(all),
    ...(main
      ? [
          `## Orders ${sizes.orders.main.join("; ")}, seeds ${sizes.seeds.join(", ")}`,
          benchTable(main, "markdown"),
          ...[orderTable(main, "markdown")].filter((table) => table !== undefined),
          verdict(main),
        ]
      : []),
    ...(long ? [`## Order ${sizes.orders.long}, 15 tasks`, benchTable(long, "markdown"), verdict(long)] : []),
    "## The search",
    `Every method was tried at ${sizes.gridPoints} points on the dev records (at most ${sizes.devLimit} a task) of order ${sizes.orders.all}, trained on ${sizes.searchLimit} records a task with seed ${sizes.searchSeed}, which is not used above. The best (bold) was used everywhere. recurrent-kif:published-code also keeps, as published, the parameters with the least loss on 25 dev records a task.`,
    searchTable(searched),
    ...failures(benches),
  ].join("\n\n")}\n`;
}

/** What is said of the options: where data and model are is another thing on every machine. */
function shown({
  data: _,
  model: __,
  ...options
}: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return options;
}

function epochs({ epochs: count }: Sizes): string {
  return count === 1 ? "1 epoch" : `${count} epochs`;
}

const bounds = new Set(["per-task", "multi-task"]);

/** Recurrent-KIF beside the others in words, whichever way it comes out. */
export function verdict({ variants }: Pick<BenchResults, "variants">): string {
  const measured = variants.filter(({ OP }) => OP.mean !== null);
  const ours = measured.filter(({ variant }) => variant.startsWith("recurrent-kif"));
  const best = ours.reduce<VariantResults | undefined>(
    (a, b) => (a === undefined || b.OP.mean! > a.OP.mean! ? b : a),
    undefined,
  );
  if (best === undefined) return "Recurrent-KIF has no result here.";
  const sentences = ours.flatMap((mine) => {
    const sequential = measured.find(({ variant }) => variant === "sequential");
    const others = measured.filter(
      ({ variant }) => !ours.some((each) => each.variant === variant) && !bounds.has(variant),
    );
    const above = others.filter(({ OP }) => OP.mean! >= mine.OP.mean!);
    const gain = sequential ? mine.OP.mean! - sequential.OP.mean! : null;
    return [
      `**${mine.variant}** reaches OP ${formatScore(mine.OP.mean)}` +
        (gain === null
          ? ""
          : `, ${formatScore(Math.abs(gain))} points ${gain >= 0 ? "above" : "below"} sequential training`) +
        (above.length === 0
          ? "; of this table, no other method that learns task after task does better."
          : `; it does not beat ${above.map(({ variant, OP }) => `${variant} (${formatScore(OP.mean)})`).join(", ")}.`),
    ];
  });
  return sentences.join(" ");
}

function searchTable(searched: readonly SearchedMethod[]): string {
  const rows = searched.flatMap(({ name, points, best }) =>
    points.map((point) => {
      const mark = point === best ? "**" : "";
      return [name, `${mark}${optionsText(point.options)}${mark}`, `${mark}${formatScore(point.OP)}${mark}`];
    }),
  );
  return renderTable(["method", "tried", "OP on dev"], rows, "markdown");
}

function failures(benches: readonly BenchResults[]): string[] {
  const lines = benches.flatMap(({ cells }) =>
    cells.flatMap((cell) =>
      cell.state === "failed"
        ? [`- ${cell.variant}, order ${cell.order}, seed ${cell.seed}: ${cell.failure.message}`]
        : [],
    ),
  );
  return lines.length === 0 ? [] : ["## Runs that failed", lines.join("\n")];
}
