import { openFormat } from "../data/formats/open-format.js";
import type { RecordFormat } from "../data/formats/record-format.js";
import { userTokenCache } from "../models/token-cache.js";
import { loadModel, saveTrained, type TrainedModel } from "../models/trained-model.js";
import type { ResolvedConfig } from "./config.js";
import { evaluatedBy } from "./evaluate-learned.js";
import type { LearnerEvent } from "./events.js";
import { initialAdapter } from "./initialize.js";
import { agreed, keptConfig, trainableOf } from "./kept-config.js";
import { readKeptTask, withMemory, type LearnedTask } from "./learned-task.js";
import { loadOptions } from "./load-options.js";
import { replaceFolder, writeJson, type RunFolder } from "./run-folder.js";
import { namesOf, RunStore } from "./run-store.js";

/** A run folder and everything in memory that belongs to it. Whoever holds it disposes model and store, and closes the folder. */
export interface OpenRun {
  readonly config: ResolvedConfig;
  readonly loaded: TrainedModel;
  readonly format: RecordFormat;
  readonly store: RunStore;
  /** Tasks learned so far, in their order. */
  readonly learned: LearnedTask[];
}

/**
 * Begins a run in a folder, or takes up the one that is there: configuration, model, saved state and learned tasks.
 * @param given may be left out where the folder holds a run
 * @throws {RkifError} RUN_CONFLICT where the folder holds a run of another configuration, naming the options that differ.
 */
export async function openRun(
  folder: RunFolder,
  given: ResolvedConfig | undefined,
  onEvent: (event: LearnerEvent) => void,
): Promise<OpenRun> {
  await folder.open();
  try {
    const goesOn = folder.exists;
    const config = goesOn ? agreed(await keptConfig(folder), given, folder) : given!;
    // The run keeps a copy of the adapter it was given, and needs the folder it came from no more.
    const adapter = config.adapter !== null && goesOn ? folder.startAdapter : config.adapter;
    const warn = (message: string): void => onEvent({ event: "warning", message });
    const loaded = await loadModel({
      ...loadOptions({ ...config, adapter }),
      tokenCache: userTokenCache(config.tokenCache, warn),
      trainable: trainableOf(config),
      ...(config.baseDropout === null ? {} : { baseDropout: config.baseDropout }),
    });
    try {
      evaluatedBy(config.evaluateBy, loaded.config.family);
      for (const message of loaded.warnings) warn(message);
      const store = new RunStore(folder, loaded.model, onEvent);
      const run = { config, loaded, format: await openFormat(loaded, config), store, learned: [] };
      if (goesOn) await restore(run);
      else await begin(run);
      // Last: a folder with config.json is a run. What may differ when a run goes on is kept as it was given last.
      await writeJson(
        folder.layout,
        loaded.model.layout.map(({ name, shape }) => ({ name, shape })),
      );
      await writeJson(folder.config, config);
      return run;
    } catch (error) {
      loaded.model.dispose();
      throw error;
    }
  } catch (error) {
    await folder.close();
    throw error;
  }
}

async function begin({ config, loaded, store }: OpenRun): Promise<void> {
  const { model, trainable } = loaded;
  if (config.adapter !== null) {
    await replaceFolder(store.folder.startAdapter, (part) =>
      saveTrained(loaded, part, { baseName: config.model }),
    );
  } else if (trainable.kind === "lora") model.parameters.set(initialAdapter(model.layout, config.seed));
  await store.save();
}

async function restore({ config, format, store, learned }: OpenRun): Promise<void> {
  await store.restore();
  const { current, matrix } = store.counters;
  const finished = current ? matrix.tasks.slice(0, -namesOf(current).length) : matrix.tasks;
  for (const [index, name] of finished.entries()) {
    const usesDev = config.selectBestOnDev;
    const task = await readKeptTask(store.folder, index, name, format, { usesDev });
    learned.push(await withMemory(store.folder, index, task, format));
  }
}
