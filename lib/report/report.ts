import { figuresAsCsv } from "./csv.js";
import type { ReportFigures } from "./figures/figures.js";
import { readFigures } from "./figures/read-figures.js";
import { reportDocument } from "./html/document.js";

/** A report in its three forms. */
export interface Report {
  /** What it shows; JSON.stringify keeps all of it. */
  figures: ReportFigures;
  /** One HTML file that needs nothing else. */
  html(): string;
  /** CSV files by name. */
  csv(): Map<string, string>;
}

/**
 * Reports a run, a bench, or all runs below a folder, also while they are under way. Nothing in the folder is changed, and the same
 * content gives the same report.
 * @param path a run folder, a bench folder, or a folder with run folders in it
 * @throws {RkifError} RUN_INVALID where there is no run, or the only one cannot be read.
 */
export async function createReport(path: string): Promise<Report> {
  const figures = await readFigures(path);
  return { figures, html: () => reportDocument(figures), csv: () => figuresAsCsv(figures) };
}
