import type { PromptFields, PromptWriter } from "../prompts/template.js";

/** A prompt whose texts may be shortened. */
export interface Shortenable {
  readonly fields: PromptFields;
  readonly write: PromptWriter;
  /** What has to fit behind the prompt. */
  readonly behind: string;
}

/** How far one text of a prompt can be kept: at least `kept` characters, fewer than `lost`. */
interface Search {
  readonly index: number;
  readonly cutTo: (length: number) => PromptFields;
  kept: number;
  lost: number;
}

/**
 * Texts of prompts that are too long, shortened so that prompt and what is behind it fit: the end of the input goes first, then that of the
 * instruction. As much is kept as fits, to the character; where both are empty and it is still too long, both are empty.
 * @param fits - for each text, whether its tokens are few enough
 */
export async function shorten(
  prompts: readonly Shortenable[],
  fits: (texts: readonly string[]) => Promise<boolean[]>,
): Promise<PromptFields[]> {
  const whole = ({ fields, write, behind }: Shortenable, kept: PromptFields = fields): string =>
    write(kept) + behind;
  const shortened = prompts.map(({ fields }) => fields);
  const withoutInput = prompts.map(({ fields }) => ({ ...fields, input: "" }));
  const inputAlone = await fits(prompts.map((prompt, i) => whole(prompt, withoutInput[i])));
  const searches = prompts.map(({ fields }, index): Search => {
    const { instruction = "", input } = fields;
    return inputAlone[index]!
      ? { index, cutTo: (n) => ({ ...fields, input: cut(input, n) }), kept: 0, lost: input.length }
      : {
          index,
          cutTo: (n) => ({ ...fields, instruction: cut(instruction, n), input: "" }),
          kept: 0,
          lost: instruction.length,
        };
  });
  // Tokens do not grow by the character, but a longer text has hardly ever fewer: bisection, all prompts at once.
  for (let open = searches; (open = open.filter(({ kept, lost }) => kept + 1 < lost)).length > 0;) {
    const middles = open.map(({ kept, lost }) => (kept + lost) >> 1);
    const fit = await fits(open.map(({ index, cutTo }, i) => whole(prompts[index]!, cutTo(middles[i]!))));
    open.forEach((search, i) => (search[fit[i]! ? "kept" : "lost"] = middles[i]!));
  }
  for (const { index, cutTo, kept } of searches) shortened[index] = cutTo(kept);
  return shortened;
}

/** The first characters; half of a surrogate pair is none. */
function cut(text: string, length: number): string {
  const last = text.charCodeAt(length - 1);
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? length - 1 : length);
}
