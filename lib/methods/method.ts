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
  /**
   * Learns one task. Loops run over counters in `run.state`, so that each `await run.step()` is a point where the run can be
   * saved and gone on with: everything between two steps must be safe to skip or repeat by those counters alone.
   */
  learn(run: Run, options: output<ZodObject<Shape>>): Promise<void>;
}

/** Keeps the types of a method's options while it is declared. */
export function defineMethod<Shape extends ZodRawShape>(method: Method<Shape>): Method<Shape> {
  return method;
}
