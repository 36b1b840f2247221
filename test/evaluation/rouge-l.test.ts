import { expect } from "chai";
import { stem } from "../../lib/evaluation/porter-stemmer.js";
import { rougeL } from "../../lib/evaluation/rouge-l.js";

describe("Porter's stemmer", () => {
  it("does what the paper's examples say, but for those that later steps go on to change", () => {
    // Program 14.3 (1980), the examples of each step; right side: the stem after all steps.
    const stems: Record<string, string> = {
      caresses: "caress",
      ponies: "poni",
      cats: "cat",
      feed: "feed",
      agreed: "agre",
      plastered: "plaster",
      bled: "bled",
      motoring: "motor",
      sing: "sing",
      conflated: "conflat",
      troubled: "troubl",
      sized: "size",
      hopping: "hop",
      tanned: "tan",
      falling: "fall",
      hissing: "hiss",
      fizzed: "fizz",
      failing: "fail",
      filing: "file",
      happy: "happi",
      relational: "relat",
      conditional: "condit",
      valency: "valenc",
      digitizer: "digit",
      radically: "radic",
      differently: "differ",
      vietnamization: "vietnam",
      feudalism: "feudal",
      hopefulness: "hope",
      formality: "formal",
      sensibility: "sensibl",
      triplicate: "triplic",
      formative: "form",
      electrical: "electr",
      goodness: "good",
      revival: "reviv",
      allowance: "allow",
      airliner: "airlin",
      adjustable: "adjust",
      replacement: "replac",
      adoption: "adopt",
      communism: "commun",
      activate: "activ",
      probate: "probat",
      rate: "rate",
      cease: "ceas",
      controlling: "control",
      roll: "roll",
      generalizations: "gener",
      oscillators: "oscil",
    };
    for (const [word, expected] of Object.entries(stems)) expect(stem(word), word).to.equal(expected);
  });

  it("has NLTK's own rules: irregular words, ies and ied, y after a consonant only, short words", () => {
    const stems: Record<string, string> = {
      skies: "sky",
      dying: "die",
      news: "news",
      innings: "inning",
      proceed: "proceed",
      dies: "die",
      flies: "fli",
      died: "die",
      spied: "spi",
      enjoy: "enjoy",
      spy: "spi",
      by: "by",
      is: "is",
      geology: "geolog",
      theology: "theolog",
    };
    for (const [word, expected] of Object.entries(stems)) expect(stem(word), word).to.equal(expected);
  });
});

describe("Rouge-L", () => {
  it("is the longest common subsequence over the lengths: worked by hand", () => {
    // Common: "police the gunman" of 4 and 5 words.
    const { precision, recall, fmeasure } = rougeL("Police kill the gunman.", "police ended the long gunman");
    expect(precision).to.equal(3 / 4);
    expect(recall).to.equal(3 / 5);
    expect(fmeasure).to.be.closeTo((2 * 3) / (4 + 5), 1e-15);
  });

  it("keeps the words' order", () => {
    expect(rougeL("b a", "a b").fmeasure).to.equal(0.5);
    expect(rougeL("x y z", "z y x").fmeasure).to.be.closeTo(1 / 3, 1e-15);
  });

  it("stems words of more than three letters, where asked", () => {
    expect(rougeL("jumping", "jumps").fmeasure).to.equal(1);
    expect(rougeL("jumping", "jumps", { stemmer: false }).fmeasure).to.equal(0);
    expect(rougeL("cut", "cuts").fmeasure).to.equal(1);
    expect(rougeL("ties", "tie").fmeasure).to.equal(1);
    expect(rougeL("was", "wa").fmeasure).to.equal(0);
  });

  it("is 0 where a side has no words of a-z and 0-9", () => {
    for (const [a, b] of [
      ["", "a"],
      ["a", ""],
      ["", ""],
      ["日本", "日本"],
    ] as const) {
      expect(rougeL(a, b)).to.deep.equal({ precision: 0, recall: 0, fmeasure: 0 });
    }
  });
});
