/** Registers one mocha test per fixture set; sets that cannot be computed yet are skipped by name, with the reason. */
import type { Check } from "./check.js";
import { allChecks } from "./checks/all.js";
import { fixtureRoots, foldersIn, onlyCommittedFixtures, type FixtureSet } from "./fixtures.js";

export function describeEverySet(
  title: string,
  test: (check: Check, set: FixtureSet) => Promise<void>,
  checks: readonly Check[] = allChecks,
): void {
  describe(title, function () {
    // A set computes in well under a second; the two cores of a small machine may be busy with other things.
    this.timeout(60_000);
    for (const root of fixtureRoots()) {
      describe(root.label, () => {
        for (const check of checks) {
          for (const set of check.find(root.path)) {
            const reason = check.unsupported(set);
            if (reason === null) it(set.name, () => test(check, set));
            else skipped(`${set.name}: ${reason}`);
          }
        }
        if (checks !== allChecks) return;
        for (const folder of foldersIn(root.path, ".")) {
          if (!checks.some((check) => check.folder === folder)) {
            skipped(`${folder}: no check for this kind of set yet`);
          }
        }
      });
    }
    if (onlyCommittedFixtures()) skipped("further fixtures: RKIF_FIXTURES names none");
  });
}

function skipped(title: string): void {
  it(title, function () {
    this.skip();
  });
}
