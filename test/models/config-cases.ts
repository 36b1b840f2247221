/** What the tests of config.json share. */
import { expect } from "chai";
import { failure } from "./tiny-safetensors.js";

export const file = "models/some/config.json";

/** A configuration that must be refused: what is wrong with it, the fields that make it so, the code, parts of the message. */
export type Refusal = [what: string, fields: object, code: string, ...parts: string[]];

/** One test for each refusal: the message names the file and says each part. */
export function refuses(
  resolve: (config: unknown, file: string) => unknown,
  base: object,
  refusals: readonly Refusal[],
): void {
  for (const [what, fields, code, ...parts] of refusals) {
    it(`refuses ${what}`, async () => {
      const error = await failure(() => resolve({ ...base, ...fields }, file));
      expect(error, error.message).to.include({ code });
      for (const part of [file, ...parts]) expect(error.message).to.contain(part);
    });
  }
}
