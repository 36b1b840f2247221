import { expect } from "chai";
import { alpaca, ownTemplate, plain } from "../../../lib/data/prompts/built-in.js";
import type { PromptFields, PromptTemplate } from "../../../lib/data/prompts/template.js";

const write = (template: PromptTemplate, record: PromptFields): string =>
  template.writer(record, "record 0")(record);

describe("prompt templates", () => {
  it("write the published Alpaca prompt, with and without input", () => {
    expect(write(alpaca, { instruction: "Name it.", input: "A cat." })).to.equal(
      "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\nName it.\n\n### Input:\nA cat.\n\n### Response:\n",
    );
    const alone =
      "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nName it.\n\n### Response:\n";
    expect(write(alpaca, { instruction: "Name it.", input: "" })).to.equal(alone);
    expect(write(alpaca, { input: "Name it." })).to.equal(alone);
  });

  it("keep their form when a record's texts are shortened", () => {
    const record = { instruction: "Name it.", input: "A cat." };
    expect(alpaca.writer(record, "")({ ...record, input: "" })).to.contain("### Input:\n\n\n### Response:\n");
  });

  it("join instruction and input where plain", () => {
    expect(write(plain, { instruction: "Sum up: ", input: "a b" })).to.equal("Sum up: a b");
    expect(write(plain, { input: "a b" })).to.equal("a b");
  });

  it("fill in texts of one's own, once, and leave other braces alone", () => {
    const template = ownTemplate("{json: {x}} {input}|{instruction}|{input}>");
    expect(write(template, { instruction: "do $& {input}", input: "{instruction}" })).to.equal(
      "{json: {x}} {instruction}|do $& {input}|{instruction}>",
    );
    expect(write(template, { input: "i" })).to.equal("{json: {x}} i||i>");
  });

  it("know what stands before an answer, and their own text", () => {
    expect([
      alpaca.tail,
      ownTemplate("{input} A:").tail,
      ownTemplate("Q {input}").tail,
      plain.tail,
    ]).to.deep.equal(["### Response:\n", " A:", "\n", "\n"]);
    expect(ownTemplate("a {instruction} b {input}c").frame).to.equal("a  b c");
    expect(plain.frame).to.equal("");
  });

  it("refuse a text without a place, and a record that would lose one of its texts", () => {
    expect(() => ownTemplate("Answer:")).to.throw(
      /promptTemplate is "Answer:"; expected \{input\} or \{instruction\}/,
    );
    const onlyInput = ownTemplate("Q: {input}");
    expect(write(onlyInput, { instruction: "", input: "a" })).to.equal("Q: a");
    expect(() => onlyInput.writer({ instruction: "Sum up", input: "a" }, "record 7")).to.throw(
      /has no \{instruction\}, and record 7 has an instruction/,
    );
    expect(() => ownTemplate("{instruction}!").writer({ instruction: "a", input: "b" }, "record 1")).to.throw(
      /has no \{input\}, and record 1 has an input/,
    );
  });
});
