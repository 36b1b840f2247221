import type { ConfigurationFigures } from "./figures.js";
import type { VariantRuns } from "./variants.js";

/** What all runs have in common, and what each has of its own. */
export function configurationFigures(groups: readonly VariantRuns[]): ConfigurationFigures {
  const runs = groups.flatMap(({ variant, order, runs }) =>
    runs.map(({ name, config }) => ({ run: name, variant, order: order.name, config })),
  );
  const names = [...new Set(runs.flatMap(({ config }) => Object.keys(config)))];
  const isShared = (name: string): boolean =>
    new Set(runs.map(({ config }) => JSON.stringify(config[name]))).size === 1;
  const shared = new Set(names.filter(isShared));
  const pick = (
    config: Readonly<Record<string, unknown>>,
    which: (name: string) => boolean,
  ): Record<string, unknown> => Object.fromEntries(Object.entries(config).filter(([name]) => which(name)));
  return {
    shared: pick(runs[0]?.config ?? {}, (name) => shared.has(name)),
    runs: runs.map(({ config, ...run }) => ({ ...run, options: pick(config, (name) => !shared.has(name)) })),
  };
}
