import type { Importance } from "../methods/run.js";
import { createVector, score } from "../models/kernels.js";
import type { ImportanceOptions, Vector } from "../native/contract.js";
import { AdamW } from "./adamw.js";

/** Vectors of an interrupted task to go on with. */
export interface SavedVectors {
  names: readonly string[];
  readInto(name: string, vector: Vector): void;
}

/** The named vectors that a task's training is saved with, and what is made of them. */
export class TaskVectors {
  readonly #like: Vector;
  readonly #vectors = new Map<string, Vector>();
  readonly #optimizers = new Map<string, AdamW>();

  /** @param like what every vector is like, in length and device: the parameters */
  constructor(like: Vector, saved: SavedVectors = { names: [], readInto: () => undefined }) {
    this.#like = like;
    for (const name of saved.names) saved.readInto(name, this.vector(name));
  }

  /** Those asked for so far, and those that were saved. */
  get all(): ReadonlyMap<string, Vector> {
    return this.#vectors;
  }

  /** Zeros, where it is asked for the first time. */
  vector(name: string): Vector {
    return vectorOf(this.#vectors, name, this.#like);
  }

  optimizer(name: string): AdamW {
    const existing = this.#optimizers.get(name);
    if (existing) return existing;
    const optimizer = new AdamW(name, this.vector(`${name}.m`), this.vector(`${name}.v`));
    this.#optimizers.set(name, optimizer);
    return optimizer;
  }

  importance(name: string, options: ImportanceOptions): Importance {
    const vectors = {
      importance: this.vector(`${name}.importance`),
      uncertainty: this.vector(`${name}.uncertainty`),
    };
    return {
      ...vectors,
      options,
      reset() {
        vectors.importance.fill(0);
        vectors.uncertainty.fill(0);
      },
      score: () => score(vectors),
    };
  }

  dispose(): void {
    for (const vector of this.#vectors.values()) vector.dispose();
    this.#vectors.clear();
  }
}

/** The vector of that name, made of zeros as `like` is (its length, its device) where there is none. */
export function vectorOf(vectors: Map<string, Vector>, name: string, like: Vector): Vector {
  const existing = vectors.get(name);
  if (existing) return existing;
  const vector = createVector(like.length, like);
  vectors.set(name, vector);
  return vector;
}
