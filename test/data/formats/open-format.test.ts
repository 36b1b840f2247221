import { expect } from "chai";
import { openFormat, type FormatModel } from "../../../lib/data/formats/open-format.js";
import type { FormatOptions } from "../../../lib/data/formats/record-format.js";
import { rejection } from "../folder.js";
import { LetterTokenizer } from "./letters.js";

const model = (family: "t5" | "decoder" | "encoder", maxTokens: number | null = null): FormatModel => ({
  config: { family, maxTokens },
  tokenizer: new LetterTokenizer(),
  folder: "model",
  endTokenIds: family === "encoder" ? [] : [2],
  endTokenId: family === "encoder" ? null : 2,
});

const longest = async (family: FormatModel["config"]["family"], options: FormatOptions, most: number | null = null): Promise<number> => {
  const format = await openFormat(model(family, most), options);
  return (await format.encodePrompts([{ input: "x".repeat(3000) }])).prompts[0]!.length;
}; // prettier-ignore

describe("openFormat", () => {
  it("chooses by family, with the family's lengths and template", async () => {
    for (const family of ["t5", "decoder", "encoder"] as const)
      expect((await openFormat(model(family))).family).to.equal(family);
    expect(await longest("t5", {})).to.equal(1024);
    expect(await longest("decoder", {})).to.equal(512);
    expect(await longest("encoder", {}, 512)).to.equal(256);
    const prompt = async (family: "t5" | "decoder", options: FormatOptions = {}): Promise<string> => {
      const { prompts } = await (await openFormat(model(family), options)).encodePrompts([{ input: "hi" }]);
      return new LetterTokenizer().decode(prompts[0]!);
    };
    expect(await prompt("t5")).to.equal("hi");
    expect(await prompt("decoder")).to.match(/^Below .*### Instruction:\nhi\n\n### Response:\n$/s);
    expect(await prompt("t5", { promptTemplate: "Q: {input}" })).to.equal("Q: hi");
    expect(await prompt("decoder", { promptTemplate: "plain" })).to.equal("hi");
  });

  it("takes lengths as asked, an encoder's no longer than its positions", async () => {
    expect(await longest("t5", { sourceTokens: 90 })).to.equal(90);
    expect(await longest("decoder", { cutoffTokens: 290, sourceTokens: 7 })).to.equal(290);
    expect(await longest("encoder", { sourceTokens: 90 }, 512)).to.equal(90);
    expect(await longest("encoder", { sourceTokens: 900 }, 512)).to.equal(512);
  });

  it("gives an encoder the whole prompt where asked", async () => {
    const options = { encoderText: "prompt", promptTemplate: "{instruction}|{input}" } as const;
    const format = await openFormat(model("encoder"), options);
    const { prompts } = await format.encodePrompts([{ instruction: "a", input: "b" }]);
    expect(await new LetterTokenizer().decode(prompts[0]!)).to.equal("a|b");
  });

  it("refuses options that do not fit the family", async () => {
    const cases: [Promise<unknown>, RegExp][] = [
      [openFormat(model("encoder"), { promptTemplate: "alpaca" }), /encoderText is "input".*set encoderText to "prompt"/s],
      [openFormat(model("t5"), { promptTemplate: "chat" }), /"chat", which is for decoders; .* family t5/],
      [openFormat(model("decoder"), { promptTemplate: "none" }), /promptTemplate is "none"; expected alpaca/],
      [openFormat(model("decoder"), { cutoffTokens: 100 }), /cutoffTokens is 100; expected .* at least \d{3}/],
    ]; // prettier-ignore
    for (const [promise, message] of cases) {
      const error = await rejection(promise);
      expect(error).to.include({ code: "CONFIG_INVALID" });
      expect(error.message).to.match(message);
    }
    const zero = await rejection(openFormat(model("t5"), { sourceTokens: 0 }));
    expect(zero.message).to.match(/sourceTokens is 0; expected/);
  });
});
