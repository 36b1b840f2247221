/** A tokenizer.json small enough to read: words split at white space, `</s>` behind a text, `<unk>` for other words. */
export const vocabulary: readonly string[] = ["<pad>", "</s>", "<unk>", "the", "cat", "sat", "on", "mat"];

export interface TinyTokenizer {
  /** What the template puts around a text. */
  template?: { before?: string[]; after?: string[] };
  truncation?: object | null;
  padding?: object | null;
}

export function tinyTokenizer({
  template = { after: ["</s>"] },
  truncation = null,
  padding = null,
}: TinyTokenizer = {}): string {
  const special = (token: string): object => ({ SpecialToken: { id: token, type_id: 0 } });
  const { before = [], after = [] } = template;
  const id = (token: string): number => vocabulary.indexOf(token);
  return JSON.stringify({
    version: "1.0",
    truncation,
    padding,
    added_tokens: ["<pad>", "</s>", "<unk>"].map((content) => ({
      id: id(content),
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor:
      before.length + after.length === 0
        ? null
        : {
            type: "TemplateProcessing",
            single: [...before.map(special), { Sequence: { id: "A", type_id: 0 } }, ...after.map(special)],
            pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 0 } }],
            special_tokens: Object.fromEntries(
              [...before, ...after].map((token) => [token, { id: token, ids: [id(token)], tokens: [token] }]),
            ),
          },
    decoder: null,
    model: {
      type: "WordLevel",
      vocab: Object.fromEntries(vocabulary.map((token, i) => [token, i])),
      unk_token: "<unk>",
    },
  });
}
