/** What every measurement is made under, and how both sides are started for it. */
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
