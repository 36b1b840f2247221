/** tokenizers/: ids with and without special tokens, and the texts that ids decode to. */
import { join } from "node:path";
import { Tokenizer } from "../../../lib/models/tokenizer.js";
import type { Check } from "../check.js";
import { addressJson, type Values } from "../expected.js";
import { foldersIn, readJson, type FixtureSet } from "../fixtures.js";
import { EQUAL, GIVEN } from "../tolerances.js";

interface TokenizedText {
  text: string;
  /** Also the input of decoding. */
  ids: number[];
}

export const tokenizers: Check = {
  folder: "tokenizers",
  find: (root) =>
    foldersIn(root, "tokenizers").map((folder) => {
      const name = `tokenizers/${folder}`;
      return { root, name, files: [`${name}/expected.json`] };
    }),
  unsupported: () => null,
  rules: [
    { at: /#\d+\/text$/, tolerance: GIVEN },
    { at: /#\d+\/(ids|ids_no_special|decoded|decoded_with_special)$/, tolerance: EQUAL },
  ],
  async compute(set: FixtureSet): Promise<Values> {
    const given = readJson<TokenizedText[]>(set.root, `${set.name}/expected.json`);
    const tokenizer = await Tokenizer.open(join(set.root, set.name));
    const texts = given.map(({ text }) => text);
    const ids = given.map((entry) => entry.ids);
    const withSpecial = await tokenizer.encode(texts);
    const withoutSpecial = await tokenizer.encode(texts, { specialTokens: false });
    const decoded = await tokenizer.decodeBatch(ids);
    const decodedWithSpecial = await tokenizer.decodeBatch(ids, false);
    const computed = given.map((_, i) => ({
      ids: Array.from(withSpecial[i] ?? []),
      ids_no_special: Array.from(withoutSpecial[i] ?? []),
      decoded: decoded[i],
      decoded_with_special: decodedWithSpecial[i],
    }));
    return addressJson("expected.json", computed);
  },
};
