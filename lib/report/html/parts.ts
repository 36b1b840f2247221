import { html, type Content, type Markup } from "./html.js";

export interface TableOptions {
  caption: Content;
  head: readonly Content[];
  /** The first cell of a row is its header. */
  rows: readonly (readonly Content[])[];
  /** Columns of text, which are not aligned to the right. The first always is one. */
  textColumns?: readonly number[];
}

/** A table that scrolls within itself where the page is too narrow. */
export function table({ caption, head, rows, textColumns = [] }: TableOptions): Markup {
  const align = (column: number): string =>
    column === 0 || textColumns.includes(column) ? "text" : "number";
  return scroll(
    html`<table>
      <caption>
        ${caption}
      </caption>
      <thead>
        <tr>
          ${head.map((cell, i) => html`<th scope="col" class="${align(i)}">${cell}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          ([first, ...cells]) =>
            html`<tr>
              <th scope="row">${first}</th>
              ${cells.map((cell, i) => html`<td class="${align(i + 1)}">${cell}</td>`)}
            </tr> `,
        )}
      </tbody>
    </table>`,
  );
}

/** What is wider than the page scrolls by itself; focusable, so that arrow keys scroll it too. */
export function scroll(content: Content): Markup {
  return html`<div class="scroll" tabindex="0">${content}</div> `;
}

/** Something to unfold. */
export function details(summary: Content, content: Content): Markup {
  return html`<details>
    <summary>${summary}</summary>
    ${content}
  </details> `;
}

export interface FigureOptions {
  id: string;
  picture: Content;
  /** Says what is to be seen. */
  caption: Content;
  /** The same as figures. */
  table: TableOptions;
}

/** A picture, what it says, and its figures behind it. */
export function figure({ id, picture, caption, table: figures }: FigureOptions): Markup {
  return html`<figure id="${id}">
    ${scroll(picture)}
    <figcaption>${caption}</figcaption>
    ${details("Figures as a table", table(figures))}
  </figure> `;
}

/** A part of the report, which the contents lead to. */
export interface Section {
  id: string;
  title: string;
  content: Content;
}

export function section({ id, title, content }: Section): Markup {
  return html`<section id="${id}" aria-labelledby="${id}-title">
    <h2 id="${id}-title">${title}</h2>
    ${content}
  </section> `;
}
