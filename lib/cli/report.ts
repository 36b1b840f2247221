import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { createReport } from "../report/report.js";

interface Flags {
  out?: string;
  json?: boolean;
  csv?: string;
  open: boolean;
}

export function reportCommand(program: Command): void {
  const command = program
    .command("report")
    .description("show a run or a bench, finished or not, as one HTML file, and open it")
    .argument("<folder>", "a run folder, a bench folder, or a folder with run folders in it")
    .option("--out <file>", "where the HTML goes (default: report.html in the folder)")
    .option("--json", "print the figures as one JSON document on stdout; HTML only with --out")
    .option("--csv <folder>", "write the figures as CSV files into this folder; HTML only with --out")
    .option("--no-open", "do not open the file; it never is where stdout is no terminal");
  command.action((folder: string) => report(folder, command.opts<Flags>()));
}

async function report(folder: string, { out, json, csv, open }: Flags): Promise<void> {
  const made = await createReport(folder);
  if (json) process.stdout.write(`${JSON.stringify(made.figures)}\n`);
  if (csv !== undefined) {
    await mkdir(csv, { recursive: true });
    for (const [name, text] of made.csv()) await writeFile(join(csv, name), text);
    process.stderr.write(`wrote the figures as CSV to ${csv}\n`);
  }
  if ((json || csv !== undefined) && out === undefined) return;
  const file = resolve(out ?? join(folder, "report.html"));
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, made.html());
  process.stderr.write(`wrote ${file}\n`);
  if (open && process.stdout.isTTY) show(file);
}

/** Hands the file to the desktop's browser. Where there is none, its path has been told, and that is enough. */
function show(file: string): void {
  const opener = process.platform === "darwin" ? "open" : "xdg-open";
  const child = spawn(opener, [file], { detached: true, stdio: "ignore" });
  child.on("error", () => undefined);
  child.unref();
}
