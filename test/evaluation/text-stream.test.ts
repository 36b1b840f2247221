import { expect } from "chai";
import { fileURLToPath } from "node:url";
import { TextStream } from "../../lib/evaluation/text-stream.js";
import { Tokenizer } from "../../lib/models/tokenizer.js";
import { embeddedModel } from "../../lib/models/trained-model.js";

const unigram = fileURLToPath(new URL("../fixtures/data/tokenizers/unigram", import.meta.url));

async function pieces(tokenizer: Pick<Tokenizer, "decode">, ids: Iterable<number>): Promise<string[]> {
  const stream = new TextStream(tokenizer);
  const told = [];
  for (const id of ids) told.push(await stream.push(id));
  return [...told, await stream.end()];
}

describe("a text stream", () => {
  for (const [name, folder] of [
    ["unigram", unigram],
    ["byte-level", embeddedModel],
  ] as const) {
    it(`tells what the whole decodes to, as it grows (${name})`, async () => {
      const tokenizer = await Tokenizer.open(folder);
      const [ids] = await tokenizer.encode([
        "The Heron brought  ten barrels of herring. All of us are glad!",
      ]);
      const told = await pieces(tokenizer, ids!);
      expect(told.join("")).to.equal(await tokenizer.decode(ids!));
      expect(told.filter((piece) => piece !== "").length).to.be.above(8);
      for (let count = 1; count < ids!.length; count++) {
        const text = told.slice(0, count).join("");
        expect(await tokenizer.decode(ids!.subarray(0, count)), `${count} tokens`).to.equal(text);
      }
    });
  }

  it("waits for characters of several tokens, and tells broken ones at the end", async () => {
    const bytes = {
      decode: (ids: ArrayLike<number>): Promise<string> =>
        Promise.resolve(new TextDecoder().decode(Uint8Array.from(ids))),
    };
    const crab = new TextEncoder().encode("a\u{1f980}\u00e9");
    expect(await pieces(bytes, crab)).to.deep.equal(["a", "", "", "", "\u{1f980}", "", "\u00e9", ""]);
    expect(await pieces(bytes, crab.subarray(0, 3))).to.deep.equal(["a", "", "", "\ufffd"]);
  });
});
