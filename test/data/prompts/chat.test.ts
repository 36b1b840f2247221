import { expect } from "chai";
import { Instruction } from "../../../lib/data/formats/instruction.js";
import { findTemplate } from "../../../lib/data/prompts/find-template.js";
import type { PromptTemplate } from "../../../lib/data/prompts/template.js";
import { LetterTokenizer } from "../formats/letters.js";
import { folderWith, rejection, removeFolders } from "../folder.js";

const tokenizer = new LetterTokenizer(["World", " World", "user\n", "bot\n"]);

async function chat(files: Record<string, string>, endTokenIds: number[] = [2]): Promise<PromptTemplate> {
  return findTemplate("chat", { folder: await folderWith(files), tokenizer, endTokenIds });
}

const withConfig = (template: unknown): Record<string, string> => ({
  "tokenizer_config.json": JSON.stringify({ chat_template: template }),
});

/** In the manner of ChatML: turns in special tokens, an end token and a line feed behind each. */
const turns =
  "{%- for message in messages -%}<turn>{{ message['role'] | replace('assistant', 'bot') }}\n{{ message['content'] }}</s>\n{% endfor -%}" +
  "{%- if add_generation_prompt -%}<turn>bot\n{% endif -%}";

/** In the manner of Llama 2: the answer behind a space, no mark of its own. */
const brackets =
  "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]" +
  "{% else %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}";

const record = { instruction: "Name ", input: "it" };
const write = (template: PromptTemplate): string => template.writer(record, "record 0")(record);

describe("chat templates", () => {
  afterEach(removeFolders);

  it("are written with the record as the user's message", async () => {
    const template = await chat(withConfig(turns));
    expect(write(template)).to.equal("<turn>user\nName it</s>\n<turn>bot\n");
    expect(template).to.include({
      ...{ name: "chat", hasSpecialTokens: true, tail: "</s>\n<turn>bot\n" },
      ...{ answerLead: "", answerEnd: "</s>", frame: "<turn>user\n</s>\n<turn>bot\n" },
    });
  });

  it("put a space before the answer as part of it, and the end token behind", async () => {
    const template = await chat(withConfig(brackets));
    expect(write(template)).to.equal("<s>[INST] Name it [/INST]");
    expect(template).to.include({ answerLead: " ", answerEnd: "</s>", tail: " [/INST]" });
  });

  it("become tokens with their special tokens, and no BOS beside their own", async () => {
    for (const [text, prompt, answer] of [
      [turns, ["<turn>", "user\n", ..."Name it", "</s>", "\n", "<turn>", "bot\n"], ["World", "</s>"]],
      [brackets, ["<s>", ..."[INST] Name it [/INST]"], [" World", "</s>"]],
    ] as const) {
      const format = await Instruction.open(tokenizer, {
        template: await chat(withConfig(text)),
        cutoffTokens: 99,
        endTokenId: 1,
      });
      const { records } = await format.encode([{ ...record, output: "World" }]);
      expect([...records[0]!.inputIds]).to.deep.equal(tokenizer.ids(...prompt, ...answer));
      const learned = records[0]!.labels.filter((label) => label !== -100);
      expect([...learned]).to.deep.equal(tokenizer.ids(...answer));
      expect((await format.encodePrompts([record])).prompts[0]).to.deep.equal(
        Int32Array.from(tokenizer.ids(...prompt)),
      );
      expect(await format.encodeCandidates(["World"], true)).to.deep.equal([learned]);
    }
  });

  it("keep in the prompt what they put before every answer", async () => {
    const thinking = turns.replace(
      "{{ message['content'] }}",
      "{% if message.role == 'assistant' %}<think></think>\n\n{% endif %}{{ message['content'] }}",
    );
    const template = await chat(withConfig(thinking));
    expect(write(template)).to.equal("<turn>user\nName it</s>\n<turn>bot\n<think></think>\n\n");
    expect(template).to.include({ answerLead: "", tail: "</s>\n<turn>bot\n<think></think>\n\n" });
  });

  it("end an answer with the end token where they do not say how, or take none", async () => {
    const open = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
    const onlyPrompts =
      "{% if messages | length > 1 %}{{ raise_exception('one turn only') }}{% endif %}{{ messages[0].content }}>";
    for (const text of [open, onlyPrompts]) {
      expect(await chat(withConfig(text))).to.include({ answerEnd: null, answerLead: "" });
    }
    const earliest = await chat(withConfig(turns.replace("</s>", "<s></s>")), [2, 1]);
    expect(earliest.answerEnd).to.equal("<s>");
  });

  it("stand in a file of their own, before the configuration, or by name in a list", async () => {
    const of = (text: string): string => `${text}{{ messages[0].content }}`;
    const cases: [Record<string, string>, string][] = [
      [{ ...withConfig(of("config ")), "chat_template.jinja": of("file ") }, "file "],
      [{ ...withConfig(of("config ")), "chat_template.json": JSON.stringify({ chat_template: of("json ") }) }, "json "],
      [withConfig([{ name: "tool", template: of("t ") }, { name: "default", template: of("d ") }]), "d "],
      [withConfig([{ name: "only", template: of("o ") }]), "o "],
    ]; // prettier-ignore
    for (const [files, start] of cases) expect(write(await chat(files))).to.equal(`${start}Name it`);
  });

  it("see the same date on every day, and transformers' functions", async () => {
    const template = await chat(
      withConfig(
        "{% if tools is not none %}tools{% endif %}{{ strftime_now('%d %b %Y') }}{% for i in range(1, 3) %}{{ i }}{% endfor %}" +
          "{% if True and not missing is defined %}{{ messages[0].content }}{% endif %}",
      ),
    );
    expect(write(template)).to.equal("26 Jul 202412Name it");
  });

  it("are refused by name", async () => {
    const cases: [Record<string, string>, RegExp][] = [
      [{}, /promptTemplate is "chat", but .* has no chat template/],
      [withConfig(undefined), /has no chat template/],
      [withConfig(5), /tokenizer_config\.json: "chat_template" is 5; expected a text/],
      [
        withConfig([
          { name: "a", template: "x" },
          { name: "b", template: "y" },
        ]),
        /named "a", "b"; expected .*"default"/,
      ],
      [withConfig("{% if %}"), /tokenizer_config\.json: the chat template cannot be read: /],
      [withConfig("{{ raise_exception('no users') }}"), /the chat template refuses a message: no users/],
      [withConfig("Hello"), /leaves out what the user says/],
    ];
    for (const [files, message] of cases) {
      const error = await rejection(chat(files));
      expect(error).to.include({ code: "CONFIG_INVALID" });
      expect(error.message).to.match(message);
    }
    const picky = await chat(
      withConfig(
        "{% if 'it' in messages[0].content %}{{ raise_exception('odd') }}{% endif %}{{ messages[0].content }}",
      ),
    );
    expect(() => write(picky)).to.throw(/refuses record 0: odd/);
  });

  it("are found beside the other names, and a misspelt name is told", async () => {
    const source = { folder: await folderWith({}), tokenizer, endTokenIds: [2] };
    expect((await findTemplate("alpaca", source)).name).to.equal("alpaca");
    expect((await findTemplate("Q: {input}", source)).frame).to.equal("Q: ");
    const error = await rejection(findTemplate("alpacca", source));
    expect(error).to.include({ code: "CONFIG_INVALID" });
    expect(error.message).to.match(
      /promptTemplate is "alpacca"; expected alpaca, plain, chat.*Did you mean "alpaca"/,
    );
  });
});
