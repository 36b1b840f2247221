/**
 * Expected values of a set and their comparison with computed ones.
 *
 * Every value has an address "file#path": a tensor's name, or the slash-separated path to a JSON list of scalars or to a lone scalar. What a
 * check computes has the same addresses. So one comparison serves every set, any expected value can be replaced in one
 * place (the mutation test does), and none can be left out unnoticed.
 */
import { basename, join } from "node:path";
import { readJson, type FixtureSet } from "./fixtures.js";
import { readSafetensors } from "./safetensors.js";
import { GIVEN, type Rule, type Tolerance } from "./tolerances.js";

export type Scalar = number | string | boolean | null;
/** Address -> list of values; a lone scalar is a list of one. */
export type Values = Map<string, ArrayLike<Scalar>>;

/** A JSON document's scalars by address. */
export function addressJson(file: string, document: unknown, into: Values = new Map()): Values {
  const visit = (node: unknown, path: string): void => {
    if (Array.isArray(node) && node.every((item) => typeof item !== "object" || item === null)) {
      into.set(`${file}#${path}`, node as Scalar[]);
    } else if (typeof node === "object" && node !== null) {
      for (const [key, child] of Object.entries(node)) visit(child, path === "" ? key : `${path}/${key}`);
    } else {
      into.set(`${file}#${path}`, [node as Scalar]);
    }
  };
  visit(document, "");
  return into;
}

export interface Replacement {
  readonly address: string;
  readonly values: ArrayLike<Scalar>;
}

/** The expected values of a set, all of them, possibly with one list replaced. */
export class Expected {
  private constructor(readonly values: ReadonlyMap<string, ArrayLike<Scalar>>) {}

  /** Addresses carry the file's name without its folder. */
  static read(set: FixtureSet): Expected {
    const values: Values = new Map();
    for (const file of set.files) {
      const name = basename(file);
      if (name.endsWith(".json")) {
        addressJson(name, readJson(set.root, file), values);
      } else {
        for (const [tensor, { values: data }] of readSafetensors(join(set.root, file))) {
          values.set(`${name}#${tensor}`, data);
        }
      }
    }
    return new Expected(values);
  }

  /** Values computed elsewhere, such as on another device. */
  static of(values: Values): Expected {
    return new Expected(values);
  }

  with(replacement: Replacement): Expected {
    return new Expected(new Map(this.values).set(replacement.address, replacement.values));
  }

  at(address: string): ArrayLike<Scalar> {
    const values = this.values.get(address);
    if (values === undefined) throw new Error(`the set holds no ${address}`);
    return values;
  }

  numbers(address: string): ArrayLike<number> {
    return this.at(address) as ArrayLike<number>;
  }
}

/** The tolerance of an address: the first rule that matches; undefined where none does. */
export function toleranceOf(rules: readonly Rule[], address: string): Tolerance | undefined {
  return rules.find((rule) => rule.at.test(address))?.tolerance;
}

const describe = (value: Scalar | undefined): string =>
  value === undefined ? "nothing" : (JSON.stringify(value) ?? "nothing");

/**
 * One line for each address whose values differ by more than its tolerance, with the worst element. Addresses that no rule
 * matches are passed over here; the mutation test demands that there are none.
 * @param addresses all of them, or those that are to be compared
 */
export function compare(
  rules: readonly Rule[],
  actual: Values,
  expected: Expected,
  addresses: Iterable<string> = expected.values.keys(),
): string[] {
  const mismatches: string[] = [];
  for (const address of addresses) {
    const wanted = expected.at(address);
    const tolerance = toleranceOf(rules, address);
    if (tolerance === undefined || tolerance === GIVEN) continue;
    const found = actual.get(address);
    if (found === undefined) {
      mismatches.push(`${address}: not computed`);
    } else if (found.length !== wanted.length) {
      mismatches.push(`${address}: ${found.length} values, expected ${wanted.length}`);
    } else {
      const worst = tolerance.worst(found, wanted, expected, address);
      if (worst === null) continue;
      const { index, by } = worst;
      mismatches.push(
        `${address}[${index}]: ${describe(found[index])}, expected ${describe(wanted[index])} (${tolerance.name}; ${by})`,
      );
    }
  }
  for (const address of actual.keys()) {
    if (!expected.values.has(address)) mismatches.push(`${address}: computed, but not expected`);
  }
  return mismatches;
}
