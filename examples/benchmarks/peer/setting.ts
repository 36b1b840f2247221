/** What every measurement is made under, and how both sides are started for it. */
import { trainingBatch, type Batch } from "./batches.js";
import type { Checkpoint, ModelName } from "./checkpoints.js";
import type { Type, Way } from "./protocol.js";
import { Side } from "./side.js";

export interface Setting {
  model: ModelName;
  type: Type;
  checkpoint: Checkpoint;
  python: string;
  threads: number;
  rounds: number;
  batchSize: number;
  equalLengths: boolean;
  /** Of the evaluation: records, the peer's batch, and tokens of an answer. */
  records: number;
  evaluationBatch: number;
  newTokens: number;
}

export function batchOf({ checkpoint, batchSize, equalLengths }: Setting, number: number): Batch {
  return trainingBatch(number, { family: checkpoint.family, size: batchSize, equalLengths });
}

/** The same work of both for `rounds` rounds. Round 0 only warms up. Who goes first changes, so that neither always follows the other's heat. */
export async function alternate(
  rounds: number,
  here: (round: number) => Promise<number>,
  peer: (round: number) => Promise<number>,
): Promise<{ here: number[]; peer: number[] }> {
  const found = { here: [] as number[], peer: [] as number[] };
  const sides = [
    ["here", here],
    ["peer", peer],
  ] as const;
  for (let round = 0; round <= rounds; round++) {
    for (const [name, work] of round % 2 === 0 ? sides : sides.toReversed()) {
      const value = await work(round);
      if (round > 0) found[name].push(value);
    }
  }
  return found;
}

/** This side with the model loaded. */
export async function openHere({ checkpoint, type, threads }: Setting): Promise<Side> {
  const side = Side.here(threads);
  await side.request({ do: "load", ...checkpoint, threads, type });
  return side;
}

/** The peer with the model loaded. */
export async function openPeer({ checkpoint, threads, python }: Setting, way: Way): Promise<Side> {
  const side = Side.peer(python, threads);
  await side.request({ do: "load", ...checkpoint, threads, way });
  return side;
}
