import { RkifError } from "../errors.js";
import type { Json } from "../methods/run.js";
import type { Vector } from "../native/contract.js";
import { loadAddon } from "../native/load.js";

/** Everything a run needs to go on: counters as plain JSON, vectors by name. One file, replaced as a whole. */
export interface SavedState {
  counters: Record<string, Json>;
  vectors: ReadonlyMap<string, Vector>;
}

const formatVersion = 1;

/** Saves counters and vectors in one file; the counters are its metadata. */
export async function saveState(file: string, { counters, vectors }: SavedState): Promise<void> {
  await loadAddon().writeSafetensors(
    file,
    [...vectors].map(([name, vector]) => ({ name, shape: [vector.length], type: "F32", from: vector })),
    { format: String(formatVersion), counters: JSON.stringify(counters) },
  );
}

/** What {@link saveState} wrote: the counters, and a reader for the vectors. */
export interface StateReader {
  counters: Record<string, Json>;
  names: string[];
  /** Elements of a saved vector; 0 where there is none of this name. */
  lengthOf(name: string): number;
  /** Copies a saved vector into one of the same length. */
  readInto(name: string, vector: Vector): void;
  dispose(): void;
}

/** @throws {RkifError} RUN_INVALID where the file is not a saved state. */
export async function openState(file: string): Promise<StateReader> {
  const saved = await loadAddon()
    .openSafetensors(file)
    .catch((error: unknown) => {
      throw new RkifError(
        "RUN_INVALID",
        `${file}: the saved state cannot be read: ${(error as Error).message}`,
        {
          cause: error,
        },
      );
    });
  const { format, counters } = saved.metadata;
  if (format !== String(formatVersion) || counters === undefined) {
    saved.dispose();
    throw new RkifError(
      "RUN_INVALID",
      `${file}: the saved state has format ${format ?? "none"}; expected ${formatVersion}: it was written by another version of recurrent-kif`,
    );
  }
  const lengths = new Map(saved.tensors.map((tensor) => [tensor.name, tensor.shape[0] ?? 0]));
  return {
    counters: JSON.parse(counters) as Record<string, Json>,
    names: [...lengths.keys()],
    lengthOf: (name) => lengths.get(name) ?? 0,
    readInto(name, vector) {
      const length = lengths.get(name);
      if (length !== vector.length) {
        throw new RkifError(
          "RUN_INVALID",
          `${file}: vector "${name}" has ${length ?? "no"} elements; expected ${vector.length}: the run belongs to another model or adapter`,
        );
      }
      saved.readInto(name, vector, 0);
    },
    dispose: () => saved.dispose(),
  };
}
