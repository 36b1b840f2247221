import { html, type Content } from "../html.js";
import { details, table } from "../parts.js";
import type { Context } from "./context.js";

/** Every option of every run. */
export function configurationSection({ figures }: Context): Content {
  const { shared, runs } = figures.configuration;
  const names = [...new Set(runs.flatMap(({ options }) => Object.keys(options)))];
  return [
    runs.length > 1 &&
      details(
        "Options in which the runs differ",
        table({
          caption: "Options in which the runs differ",
          head: ["run", ...names],
          rows: runs.map(({ run, options }) => [run, ...names.map((name) => shown(options, name))]),
          textColumns: names.map((_, i) => i + 1),
        }),
      ),
    details(
      runs.length > 1 ? "Options of all runs" : "All options",
      table({
        caption: runs.length > 1 ? "Options that all runs have in common" : "Every option of the run",
        head: ["option", "value"],
        rows: Object.keys(shared).map((name) => [name, shown(shared, name)]),
        textColumns: [1],
      }),
    ),
  ];
}

function shown(options: Readonly<Record<string, unknown>>, name: string): Content {
  return Object.hasOwn(options, name) ? html`<code>${JSON.stringify(options[name])}</code>` : "";
}
