/** The texts of a record that its prompt is made from. */
export interface PromptFields {
  readonly instruction?: string;
  readonly input: string;
}

/** Writes one record's prompt: with its own texts, or with shortened ones in the same form. */
export type PromptWriter = (fields: PromptFields) => string;

/** How a record becomes the text that a model answers to. */
export interface PromptTemplate {
  /** As messages call it. */
  readonly name: string;
  /**
   * The form that fits a record. It is chosen by the record as it is, so that shortening its texts does not change it.
   * @param where - what messages call the record, such as "record 3"
   * @throws {RkifError} where the record has a text that the template has no place for, or the template refuses it.
   */
  writer(record: PromptFields, where: string): PromptWriter;
  /** What a prompt consists of beside the record's texts, in the longest form. */
  readonly frame: string;
  /** The written text has all special tokens in it: the tokenizer's own template adds none. */
  readonly hasSpecialTokens: boolean;
  /**
   * What stands before every answer, not empty: the end of the template, or {@link anyTail} where the template ends with a record's text.
   * Most tokenizers code a word differently at the beginning of a text.
   */
  readonly tail: string;
  /** Put before an answer, as part of it: what the model has to write first. */
  readonly answerLead: string;
  /** Put behind an answer, its end token included; null: the end token alone. */
  readonly answerEnd: string | null;
}

/** Stands for the end of a record's text, which may be anything: hardly a tokenizer joins a line feed with the word behind it. */
export const anyTail = "\n";

/** What most templates share: plain text around the record's, and the end token behind the answer. */
export const plainText = { hasSpecialTokens: false, answerLead: "", answerEnd: null } as const;
