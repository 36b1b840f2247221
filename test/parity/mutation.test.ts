/**
 * The parity tests must be able to fail: in every set, each list of expected values is moved at a few positions by ten times its
 * tolerance (ids by one, masks flipped outside the band about their threshold), and the comparison has to notice every time.
 */
import { assert } from "chai";
import { computeOnce } from "./check.js";
import { describeEverySet } from "./every-set.js";
import { compare, Expected, toleranceOf } from "./expected.js";
import { GIVEN } from "./tolerances.js";

/** FNV-1a: the positions are the same in every run and differ between lists. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return value;
}

function positions(address: string, length: number): number[] {
  const random = [1, 2].map((salt) => hash(`${address}${salt}`) % Math.max(1, length));
  return [...new Set([...random, Math.max(0, length - 1)])];
}

describeEverySet("expected values moved by ten times their tolerance are noticed", async (check, set) => {
  const actual = await computeOnce(check, set);
  const expected = Expected.read(set);
  const unnoticed: string[] = [];
  let moved = 0;
  for (const [address, values] of expected.values) {
    const tolerance = toleranceOf(check.rules, address);
    if (tolerance === GIVEN) continue;
    if (tolerance === undefined) {
      unnoticed.push(`${address}: no rule says whether this is an expected value`);
      continue;
    }
    for (const position of positions(address, values.length)) {
      const mutated = expected.with({
        address,
        values: tolerance.moved(values, position, expected, address),
      });
      // The parity test compares all addresses; here the moved one has to be noticed.
      const mismatches = compare(check.rules, actual, mutated, [address]);
      if (!mismatches.some((line) => line.startsWith(address))) {
        unnoticed.push(`${address}[${position}] (${tolerance.name})`);
      }
      moved++;
    }
  }
  assert.isAbove(moved, 0, `${set.name} holds no expected values`);
  assert.isEmpty(unnoticed, `\n${unnoticed.join("\n")}\n`);
});
