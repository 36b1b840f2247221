import CliTable from "cli-table3";

/** "text": framed with lines, for terminals; "markdown": for a README. Both are plain text without colours. */
export type TableFormat = "text" | "markdown";

/**
 * A table whose first column is text and whose other columns are numbers, aligned to the right.
 * @param rows As many cells each as the head has.
 */
export function renderTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  format: TableFormat,
): string {
  return format === "text" ? renderText(head, rows) : renderMarkdown(head, rows);
}

function renderText(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const table = new CliTable({
    head: [...head],
    colAligns: head.map((_, column) => (column === 0 ? "left" : "right")),
    // cli-table3 colours heads and borders by default.
    style: { head: [], border: [], compact: true },
  });
  table.push(...rows.map((row) => [...row]));
  return table.toString();
}

function renderMarkdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map((_, column) => (column === 0 ? "---" : "---:"))), ...rows.map(line)].join(
    "\n",
  );
}

/** Two decimals; "-" for what was not measured. */
export function formatScore(value: number | null | undefined): string {
  if (value === null || value === undefined) return "-";
  const text = value.toFixed(2);
  return text === "-0.00" ? "0.00" : text;
}
