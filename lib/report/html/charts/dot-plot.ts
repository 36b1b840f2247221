import { html, type Markup } from "../html.js";
import { linear, picture, px, shortened, textWidth } from "../svg.js";

export interface DotPlotOptions {
  id: string;
  title: string;
  description: string;
  label: string;
  dots: readonly { name: string; mean: number | null; deviation: number | null }[];
  from: number;
  to: number;
}

const [width, row, top, below] = [420, 24, 26, 24];

/** A line a name: the mean as a dot, with the deviation to both sides of it. */
export function dotPlot({ id, title, description, label, dots, from, to }: DotPlotOptions): Markup {
  const names = dots.map(({ name }) => shortened(name, 26));
  const left = Math.max(...names.map(textWidth)) + 12;
  const height = top + row * dots.length + below;
  const bottom = height - below;
  const scale = linear([from, to], [left, width - 14], 5);
  return picture({ id, title, description, width, height }, [
    html`<text class="label" x="${px(left)}" y="13">${label}</text>`,
    html`<g class="axes"
      >${scale.ticks.map(
        ({ value, text }) =>
          html`<path d="M${px(scale(value))} ${top - 4}V${bottom}" /><text
              class="middle"
              x="${px(scale(value))}"
              y="${bottom + 16}"
              >${text}</text
            >`,
      )}</g
    >`,
    dots.map(({ name, mean, deviation }, i) => {
      const y = top + row * (i + 0.5);
      const at = (value: number): string => px(scale(Math.min(to, Math.max(from, value))));
      return html`<text class="end" x="${px(left - 8)}" y="${px(y + 4)}"
          ><title>${name}</title>${names[i]}</text
        >${
          mean !== null &&
          html`<g class="line l0"
            >${
              deviation !== null &&
              html`<path d="M${at(mean - deviation)} ${px(y - 4)}v8m0-4H${at(mean + deviation)}m0-4v8" />`
            }<circle class="m" cx="${at(mean)}" cy="${px(y)}" r="4.5"
          /></g>`
        } `;
    }),
  ]);
}
