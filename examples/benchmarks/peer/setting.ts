/** What every measurement is made under, and how both sides are started for it. */
import { trainingBatch, type Batch, type Bounds } from "./batches.js";
import type { Checkpoint, ModelName } from "./checkpoints.js";
import type { Device, LoadAnswer, LoadRequest, Type, Way } from "./protocol.js";
import { Side } from "./side.js";

export interface Setting {
  model: ModelName;
  type: Type;
  device: Device;
  checkpoint: Checkpoint;
  python: string;
  threads: number;
  rounds: number;
  /** Training steps of a round. */
  steps: number;
  batchSize: number;
  equalLengths: boolean;
  /** Of a record. */
  tokens: Bounds;
  gradientCheckpointing: boolean;
  /** Of the evaluation: records, how many tokens they all begin with, the peer's batch, and tokens of an answer. */
  records: number;
  sharedTokens: number;
  evaluationBatch: number;
  newTokens: number;
}

export function batchOf({ checkpoint, batchSize, equalLengths, tokens }: Setting, number: number): Batch {
  return trainingBatch(number, { family: checkpoint.family, size: batchSize, equalLengths, tokens });
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

/** What a side loads; `way` is the peer's, null this side's. */
export function loadRequest(
  { checkpoint, type, device, threads, gradientCheckpointing }: Setting,
  way: Way | null,
): LoadRequest {
  const { folder, adapter } = checkpoint;
  return { do: "load", folder, adapter, type, device, threads, gradientCheckpointing, way };
}

/** This side with the model loaded. */
export async function openHere(setting: Setting): Promise<Side> {
  return opened(Side.here(setting.threads), setting, null);
}

/** The peer with the model loaded. */
export async function openPeer(setting: Setting, way: Way): Promise<Side> {
  return opened(Side.peer(setting.python, setting.threads), setting, way);
}

async function opened(side: Side, setting: Setting, way: Way | null): Promise<Side> {
  try {
    await side.request<LoadAnswer>(loadRequest(setting, way));
    return side;
  } catch (error) {
    // It would wait for requests for ever, with the memory that the next one needs.
    await side[Symbol.asyncDispose]();
    throw error;
  }
}
