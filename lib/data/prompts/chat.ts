import { RkifError } from "../../errors.js";
import type { Tokenizer } from "../../models/tokenizer.js";
import { promptOf } from "../records.js";
import type { ChatTemplate } from "./chat-template.js";
import { compileJinja, type Render } from "./jinja.js";
import { anyTail, type PromptTemplate } from "./template.js";

/** In place of a text, to find it again in what a template wrote. */
const marker = "\u2402\u2403";

/**
 * A checkpoint's chat template: the record's instruction and input are one message of the user's.
 *
 * What the template puts before and behind an assistant's message is found by writing one. What it puts before it beyond the prompt for
 * a generation (Qwen 3: an empty thought) belongs to the prompt; white space alone belongs to the answer, as a word and the space before it
 * are one token. Behind it, everything up to the first end token is the answer's end.
 * @throws {RkifError} CONFIG_INVALID naming the file, where it is no template or raises an error.
 */
export async function chatPrompt(
  { file, text }: ChatTemplate,
  tokenizer: Pick<Tokenizer, "special" | "decode">,
  endTokenIds: readonly number[],
): Promise<PromptTemplate> {
  const render = renderer(file, text, tokenizer.special);
  const prompt = (content: string, where: string): string => render(dialogue(content), true, where);
  const asked = prompt(marker, "a message");
  const tail = asked.slice(asked.lastIndexOf(marker) + marker.length);
  if (!asked.includes(marker)) {
    throw new RkifError("CONFIG_INVALID", `${file}: the chat template leaves out what the user says`);
  }
  const { before, behind } = aroundAnswer(render, asked);
  const spaces = before.trim() === "";
  const inPrompt = spaces ? "" : before;
  return {
    name: "chat",
    frame: asked.replace(marker, "") + inPrompt,
    hasSpecialTokens: true,
    tail: tail + inPrompt || anyTail,
    answerLead: spaces ? before : "",
    answerEnd: await upToEndToken(behind, tokenizer, endTokenIds),
    writer: (_, where) => (fields) => prompt(promptOf(fields), where) + inPrompt,
  };
}

interface Message {
  role: "user" | "assistant";
  content: string;
}

type RenderChat = (messages: Message[], forGeneration: boolean, where: string) => string;

const dialogue = (content: string): Message[] => [{ role: "user", content }];

function renderer(file: string, text: string, special: Tokenizer["special"]): RenderChat {
  const failed = (what: string, cause: unknown): RkifError =>
    new RkifError("CONFIG_INVALID", `${file}: the chat template ${what}: ${(cause as Error).message}`, {
      cause,
    });
  const roles = Object.entries(special).map(([role, token]) => [`${role}_token`, token]);
  let render: Render;
  try {
    render = compileJinja(text);
  } catch (cause) {
    throw failed("cannot be read", cause);
  }
  return (messages, forGeneration, where) => {
    try {
      return render({
        ...(Object.fromEntries(roles) as Record<string, string>),
        messages,
        add_generation_prompt: forGeneration,
        tools: null,
        documents: null,
      });
    } catch (cause) {
      throw failed(`refuses ${where}`, cause);
    }
  };
}

/** What the template puts around an assistant's message; nothing where it does not continue the prompt with one. */
function aroundAnswer(render: RenderChat, asked: string): { before: string; behind: string } {
  const nothing = { before: "", behind: "" };
  let answered: string;
  try {
    const answer: Message = { role: "assistant", content: marker + marker };
    answered = render([...dialogue(marker), answer], false, "an answer");
  } catch {
    return nothing; // a template for prompts alone
  }
  const at = answered.lastIndexOf(marker + marker);
  if (at === -1 || !answered.slice(0, at).startsWith(asked)) return nothing;
  return { before: answered.slice(asked.length, at), behind: answered.slice(at + 2 * marker.length) };
}

async function upToEndToken(
  text: string,
  tokenizer: Pick<Tokenizer, "decode">,
  endTokenIds: readonly number[],
): Promise<string | null> {
  let end: string | null = null;
  for (const id of endTokenIds) {
    const token = await tokenizer.decode([id], false);
    const at = token === "" ? -1 : text.indexOf(token);
    if (at !== -1 && (end === null || at + token.length < end.length)) end = text.slice(0, at + token.length);
  }
  return end?.trimStart() ?? null;
}
