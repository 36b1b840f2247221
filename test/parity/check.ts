/** A check computes a set's values with the code under test; comparing them is the same for all (expected.ts). */
import { compare, Expected, type Values } from "./expected.js";
import type { FixtureSet } from "./fixtures.js";
import type { Rule } from "./tolerances.js";

export interface Check {
  /** Folder below a fixture root: "models", "lora", ... */
  readonly folder: string;
  /** The sets of this kind below a root. */
  find(root: string): FixtureSet[];
  /** Why the set cannot be computed yet ("model family llama is not supported yet"); null where it can. */
  unsupported(set: FixtureSet): string | null;
  /** For each address of an expected value its tolerance; the first match counts. */
  readonly rules: readonly Rule[];
  /** The same addresses as the set's expected values, computed. Reads the set's inputs and settings, never its expected values. */
  compute(set: FixtureSet): Promise<Values>;
}

const computed = new WeakMap<Check, Map<string, Promise<Values>>>();

/** `check.compute(set)`, once in a process: the parity and the mutation tests compare the same values. */
export function computeOnce(check: Check, set: FixtureSet): Promise<Values> {
  let ofCheck = computed.get(check);
  if (ofCheck === undefined) computed.set(check, (ofCheck = new Map<string, Promise<Values>>()));
  const key = `${set.root}\n${set.name}`;
  let values = ofCheck.get(key);
  if (values === undefined) ofCheck.set(key, (values = check.compute(set)));
  return values;
}

/** Mismatches of a set, one line each; empty where all is within the tolerances. */
export async function runCheck(
  check: Check,
  set: FixtureSet,
  expected: Expected = Expected.read(set),
): Promise<string[]> {
  return compare(check.rules, await computeOnce(check, set), expected);
}
