/** A hundred texts that an encoder meets in the world, and some that only a tokenizer's author thinks of. */

const subjects = [
  "The ferry",
  "Our landlord",
  "A retired welder",
  "The county court",
  "My telescope",
  "Nobody",
];
const verbs = ["postponed", "never mentioned", "quietly repaired", "overestimated", "is looking for"];
const objects = ["the invoice", "three barrels of olives", "a shortcut to Leuven", "his own handwriting"];
const times = ["before sunrise.", "in 1987?", "for £4.50!", "— twice."];

const plain = Array.from({ length: 56 }, (_, i) =>
  [subjects, verbs, objects, times]
    .map((words, part) => words[(i * (part + 1) + part * 3) % words.length])
    .join(" "),
);

const repeated = (text: string, times: number): string => Array<string>(times).fill(text).join(" ");

/** Up to, at and beyond the 256 tokens that texts are cut to; "tree" is one token. */
const long = [
  ...[253, 254, 255, 256, 300, 1000].map((words) => repeated("tree", words)),
  repeated("Incomprehensibilities notwithstanding, the antidisestablishmentarian persevered.", 40),
  plain.join(" "),
];

const unusual = [
  "",
  " ",
  "\n\t\r",
  ".",
  "?!",
  "[MASK]",
  "[CLS] and [SEP] in the text",
  "a",
  "Ünïcödé façade, naïve Ångström",
  "cafe\u0301 and caf\u00e9",
  "ｆｕｌｌ　ｗｉｄｔｈ　ｔｅｘｔ",
  "日本語の文章です。",
  "中文 mixed with English",
  "한국어 문장입니다",
  "שלום עולם",
  "مرحبا بالعالم",
  "Привет, мир!",
  "Καλημέρα κόσμε",
  "नमस्ते दुनिया",
  "สวัสดีชาวโลก",
  "🙂",
  "👩‍👩‍👧‍👦 family, 🇧🇪 flag, ✈️ plane",
  "zero\u200bwidth\u200djoined\ufeff",
  "soft\u00adhyphen and non\u00a0breaking space",
  "control\u0000characters\u0007here",
  "replacement \ufffd character",
  "ﬁ ligature, ß, Œuvre, İstanbul",
  "x = [i ** 2 for i in range(10)]  # squares",
  "https://example.org/a?b=c&d=%20#e",
  "user.name+tag@example.com",
  "3.14159 1,000,000 -273.15 1e-9",
  "WHY IS EVERYBODY SHOUTING",
  "camelCaseIdentifier snake_case_identifier",
  `one ${"very".repeat(60)} long word`,
  "Tab\tseparated\tvalues",
  "Line one.\nLine two.\n\nLine four.",
];

export const texts: readonly string[] = [...plain, ...long, ...unusual];
