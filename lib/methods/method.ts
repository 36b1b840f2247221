import type { ZodObject, ZodRawShape, output } from "zod";
import type { Run } from "./run.js";

/**
 * A continual-learning method. Its options are one zod object: types, defaults, validation, CLI flags and the published JSON
 * Schema come from it.
 */
export interface Method<Shape extends ZodRawShape = ZodRawShape> {
  readonly name: string;
  /** One sentence for help texts. */
  readonly summary: string;
  readonly options: ZodObject<Shape>;
  /** Named sets of option values, the method's own and shared ones; what the user gives goes before them. */
  readonly presets?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Whether the method trains on records of earlier tasks. */
  readonly usesMemory: boolean;
  /** Whether its formulas are about the A and B of an adapter: it is refused where every weight trains. Default false. */
  readonly needsAdapter?: boolean;
  /**
   * What tasks are evaluated with: the parameters as they stand, or every task with the adapter as it was when that task had been
   * learned, which takes knowing a record's task. Default "latest".
   */
  readonly evaluatesWith?: "latest" | "own-adapter";
  /** Whether all tasks are learned at once, from all their records. Default false: one after another. */
  readonly learnsTogether?: boolean;
  /**
   * Learns one task. Loops run over counters in `run.state`, so that each `await run.step()` is a point where the run can be
   * saved and gone on with: everything between two steps must be safe to skip or repeat by those counters alone.
   */
  learn(run: Run, options: output<ZodObject<Shape>>): Promise<void>;
  /**
   * What is made of a trained task, once its parameters stand (the best ones on dev, where they are selected so). An interruption begins
   * it anew with what it found: parameters and kept vectors and state are changed after its last `await` alone.
   */
  consolidate?(run: Run, options: output<ZodObject<Shape>>): Promise<void>;
}

/** Keeps the types of a method's options while it is declared. */
export function defineMethod<Shape extends ZodRawShape>(method: Method<Shape>): Method<Shape> {
  return method;
}
