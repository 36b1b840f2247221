import type { ReportFigures } from "../figures/figures.js";
import { html, Markup, type Content } from "./html.js";
import { plural } from "./numbers.js";
import { section } from "./parts.js";
import { accuracySection } from "./sections/accuracy.js";
import { answersSection, confusionSection } from "./sections/answers.js";
import { comparisonSection } from "./sections/comparison.js";
import { configurationSection } from "./sections/configuration.js";
import { contextOf } from "./sections/context.js";
import { forgettingSection } from "./sections/forgetting.js";
import { masksSection } from "./sections/masks.js";
import { mergesSection } from "./sections/merges.js";
import { casesSection, trainingSection } from "./sections/training.js";
import { style } from "./style.js";

/** In the order of the page. */
const sections = [
  { id: "comparison", title: "Results", write: comparisonSection },
  { id: "accuracy", title: "Accuracy after every task", write: accuracySection },
  { id: "forgetting", title: "Forgetting over time", write: forgettingSection },
  { id: "training", title: "Loss and importance over steps", write: trainingSection },
  { id: "masks", title: "Masks by layer and matrix", write: masksSection },
  { id: "cases", title: "Fusion cases over the cycles", write: casesSection },
  { id: "merges", title: "Merges of task vectors", write: mergesSection },
  { id: "confusion", title: "Confusion between tasks", write: confusionSection },
  { id: "answers", title: "Answers lost and kept", write: answersSection },
  { id: "configuration", title: "Configuration", write: configurationSection },
];

/** No script, nothing from anywhere else: should a text ever get out of its place, it still does nothing. */
const policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/** The report as one HTML file: no scripts, no other files. The same figures give the same bytes. */
export function reportDocument(figures: ReportFigures): string {
  const context = contextOf(figures);
  const written = sections
    .map(({ write, ...section }) => ({ ...section, content: write(context) }))
    .filter(({ content }) => content !== null);
  const title = `${figures.title}: continual learning report`;
  const page: Content = html`<html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta http-equiv="Content-Security-Policy" content="${policy}" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta name="color-scheme" content="light dark" />
      <title>${title}</title>
      <style>
        ${new Markup(style)}
      </style>
    </head>
    <body>
      <a class="skip" href="#main">Skip to the results</a>
      <header>
        <h1>${figures.title}</h1>
        <p>${summary(figures)}</p>
      </header>
      <nav aria-label="Contents">
        <ul>
          ${written.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}
        </ul>
      </nav>
      <main id="main" tabindex="-1">${notes(figures.notes)}${written.map(section)}</main>
      <footer><p>Written by recurrent-kif. Percentages are of test records.</p></footer>
    </body>
  </html>`;
  return `<!doctype html>\n${page.text}\n`;
}

function summary({ variants, configuration }: ReportFigures): string {
  const count = (values: readonly unknown[]): number => new Set(values).size;
  return [
    plural(configuration.runs.length, "run"),
    plural(count(variants.map(({ variant }) => variant)), "method variant"),
    plural(count(variants.map(({ order }) => order)), "order"),
    plural(count(variants.flatMap(({ tasks }) => tasks)), "task"),
  ].join(", ");
}

function notes(all: readonly string[]): Content {
  if (all.length === 0) return null;
  return html`<aside aria-labelledby="notes-title">
    <h2 id="notes-title">Not finished, or left out</h2>
    <ul>
      ${all.map((note) => html`<li>${note}</li>`)}
    </ul>
  </aside>`;
}
