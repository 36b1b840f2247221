/** What Python's str.strip takes for white space: unlike String.prototype.trim, the separators U+001C-1F and U+0085, not U+FEFF. */
const space = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";
const surroundingSpace = new RegExp(`^${space}|${space}$`, "g");

/** The form in which answers are compared: without "</s>", trimmed, lower-cased. */
export function normaliseAnswer(text: string): string {
  return text.replaceAll("</s>", "").replace(surroundingSpace, "").toLowerCase();
}
