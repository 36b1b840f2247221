import { expect } from "chai";
import { isExactMatch, normaliseAnswer } from "../../lib/evaluation/exact-match.js";

describe("exact match", () => {
  it("removes every </s>, then white space around, then case", () => {
    expect(normaliseAnswer("</s> Sci/Tech\n</s></s>")).to.equal("sci/tech");
    expect(normaliseAnswer("very  Negative")).to.equal("very  negative");
    expect(isExactMatch(" World</s>", "world")).to.equal(true);
    expect(isExactMatch("worlds", "world")).to.equal(false);
    expect(isExactMatch("", " </s> ")).to.equal(true);
  });

  it("strips what Python's str.strip strips, and nothing else", () => {
    // [c for c in map(chr, range(0x110000)) if not c.strip()]
    const stripped =
      "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000";
    for (let code = 0; code < 0x10000; code++) {
      const character = String.fromCharCode(code);
      expect(normaliseAnswer(`${character}a${character}`) === "a", `U+${code.toString(16)}`).to.equal(
        stripped.includes(character),
      );
    }
  });
});
