import type { AnswerExample, TaskAnswers } from "../../data/answers.js";
import type { VariantFigures } from "../../figures/figures.js";
import { heatTable } from "../charts/heat-table.js";
import { html, type Content } from "../html.js";
import { count, percent } from "../numbers.js";
import { details, table } from "../parts.js";
import { shortened } from "../svg.js";
import type { Context } from "./context.js";

/** Characters of a prompt or an answer, at most: the task's own text is in the run folder. */
const longestText = 400;
/** Examples of a variant, at most, so that a large bench stays a small page. */
const most = { lost: 6, kept: 3 };

/** Which task's labels wrong answers belong to. */
export function confusionSection({ figures, nameOf }: Context): Content {
  const answered = figures.variants.filter(({ answers }) => answers.length > 0);
  if (answered.length === 0) return null;
  return html`<p>
      Where the answers to each task's test records belong after the last task learned, in percent of the
      records: right, a wrong one of the task's own labels, a label of another task (shared out where several
      have it), or no task's label.
    </p>
    <div class="matrices">${answered.map((each) => confusion(each, nameOf(each)))}</div>`;
}

function confusion({ answers, tasks }: VariantFigures, name: string): Content {
  const learned = answers[0]!.belongs.others.length;
  const row = ({
    task,
    records,
    belongs,
  }: TaskAnswers): { name: string; cells: { value: number | null; text: string }[] } => {
    const cell = (counted: number): { value: number; text: string } => {
      const value = (100 * counted) / records;
      return { value, text: percent(value) };
    };
    const others = belongs.others.map((counted, j) =>
      tasks[j] === task ? { value: null, text: "own" } : cell(counted),
    );
    return { name: task, cells: [cell(belongs.right), cell(belongs.own), ...others, cell(belongs.none)] };
  };
  return heatTable({
    caption: `${name}: rows are the tasks asked, columns where the answer belongs`,
    corner: "records of",
    columns: ["right", "own, wrong", ...tasks.slice(0, learned), "no label"],
    rows: answers.map(row),
  });
}

/** What became of answers that were right. */
export function answersSection({ figures, nameOf }: Context): Content {
  const answered = figures.variants.filter(({ answers }) => answers.length > 0);
  if (answered.length === 0) return null;
  return html`<p>
      An answer is lost that was right when its task had been learned and is wrong after the last task. A task
      measured by Rouge-L counts an answer as right from an F1 of 0.5 on.
    </p>
    ${answered.map((each) => [
      html`<h3>${nameOf(each)}</h3>`,
      fates(each, nameOf(each)),
      examples(each, "lost", nameOf(each)),
      examples(each, "kept", nameOf(each)),
    ])}`;
}

function fates({ answers }: VariantFigures, name: string): Content {
  return table({
    caption: `Test records by what became of their answers, ${name}`,
    head: ["task", "records", "right in turn", "kept", "lost", "gained since", "lost (%)"],
    rows: answers.map(({ task, records, kept, lost, gained }) => {
      const right = kept === null || lost === null ? null : kept + lost;
      const part = right ? (100 * lost!) / right : null;
      return [task, ...[records, right, kept, lost, gained].map(count), percent(part)];
    }),
  });
}

function examples({ answers }: VariantFigures, fate: "lost" | "kept", name: string): Content {
  const chosen = spreadOut(
    answers.map(({ task, examples }) => examples[fate].map((example) => ({ task, example }))),
    most[fate],
  );
  if (chosen.length === 0) return null;
  return details(
    `Examples of answers ${fate}`,
    table({
      caption: `Answers ${fate}, ${name}`,
      head: ["task", "prompt", "reference", "answer in turn", "answer now"],
      rows: chosen.map(({ task, example }) => [task, ...texts(example)]),
      textColumns: [1, 2, 3, 4],
    }),
  );
}

/** The first of every list, then the second of every one, ... */
function spreadOut<T>(lists: readonly (readonly T[])[], most: number): T[] {
  const longest = Math.max(0, ...lists.map(({ length }) => length));
  const rounds = Array.from({ length: longest }, (_, i) => lists.flatMap((list) => list.slice(i, i + 1)));
  return rounds.flat().slice(0, most);
}

/** Texts of any language and direction, which must not turn the page around. */
function texts({ prompt, reference, inTurn, now }: AnswerExample): Content[] {
  return [prompt, reference, inTurn, now].map((text) =>
    text.trim() === ""
      ? html`<i>empty</i>`
      : html`<bdi class="example">${shortened(text.trim(), longestText)}</bdi>`,
  );
}
