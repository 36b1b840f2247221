import { html, type Content, type Markup } from "../html.js";
import { missing } from "../numbers.js";
import { scroll } from "../parts.js";

export interface HeatTableOptions {
  caption: Content;
  /** Of the first column. */
  corner: Content;
  columns: readonly string[];
  rows: readonly {
    name: string;
    /** Colour from 0 to 100; null: none. */
    cells: readonly { value: number | null; text: string }[];
  }[];
}

/** Steps of colour; the style has as many classes. */
const shades = 10;

/** A table that is its own picture: every number stands in its colour. */
export function heatTable({ caption, corner, columns, rows }: HeatTableOptions): Markup {
  return scroll(
    html`<table class="heat">
      <caption>
        ${caption}
      </caption>
      <thead>
        <tr>
          <th scope="col">${corner}</th>
          ${columns.map((name) => html`<th scope="col"><span>${name}</span></th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          ({ name, cells }) =>
            html`<tr>
              <th scope="row">${name}</th>
              ${cells.map(({ value, text }) =>
                value === null
                  ? html`<td>${text === "" ? missing : text}</td>`
                  : html`<td class="h${shadeOf(value / 100)}">${text}</td>`,
              )}
            </tr> `,
        )}
      </tbody>
    </table>`,
  );
}

/** The step of colour of a share of 1. */
export function shadeOf(share: number): number {
  return Math.max(0, Math.min(shades, Math.round(share * shades)));
}
