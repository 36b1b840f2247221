import { html, type Markup } from "../html.js";
import { picture, px, shortened, textWidth } from "../svg.js";
import { shadeOf } from "./heat-table.js";

export interface LayerMapOptions {
  id: string;
  title: string;
  description: string;
  /** Names of the layers, left to right, and of the matrices, top to bottom. */
  layers: readonly string[];
  matrices: readonly string[];
  /** One below the other. */
  maps: readonly {
    name: string;
    /** What the darkest colour stands for, and the lightest. */
    legend: string;
    /** Share of the darkest by matrix and layer; null: there is no such matrix. */
    values: readonly (readonly (number | null)[])[];
    texts: readonly (readonly string[])[];
  }[];
}

/** A cell is 25 wide and 19 high, with a gap of one. */
const [cell, row, between, head] = [26, 20, 30, 24];

/** Layers beside each other, matrices below each other, a colour and a number for each. */
export function layerMap({ id, title, description, layers, matrices, maps }: LayerMapOptions): Markup {
  const left = Math.max(60, ...matrices.map((name) => textWidth(shortened(name, 34)) + 10));
  const mapHeight = head + row * matrices.length + between;
  const width = Math.max(left + cell * layers.length + 10, 520);
  const height = mapHeight * maps.length + 34;
  const numbers = layers.map((name) => name.replace(/^.* /, ""));
  const stacks = stacksOf(layers);
  return picture({ id, title, description, width, height }, [
    maps.map(({ name, legend, values, texts }, m) => {
      const top = m * mapHeight;
      return html`<text class="label" x="0" y="${top + 13}">${name} (${legend})</text>
        ${matrices.map(
          (matrix, r) =>
            html`<text class="end" x="${px(left - 6)}" y="${top + head + r * row + 14}"
              >${shortened(matrix, 34)}</text
            >`,
        )}${byShade(values).map(
          ({ shade, places }) =>
            html`<g class="cell h${shade}"
              ><path
                d="${places.map(([r, c]) => `M${px(left + c * cell)} ${top + head + r * row}h25v19h-25z`).join("")}"
              />${places.map(
                ([r, c]) =>
                  html`<text x="${px(left + (c + 0.5) * cell - 0.5)}" y="${top + head + r * row + 14}"
                    >${texts[r]![c]}</text
                  >`,
              )}</g
            >`,
        )}${layers.map(
          (_, c) =>
            html`<text
              class="middle tick"
              x="${px(left + c * cell + cell / 2)}"
              y="${top + head + row * matrices.length + 14}"
              >${numbers[c]}</text
            >`,
        )} `;
    }),
    stacks.map(
      ({ name, from, to }) =>
        html`<text class="middle label" x="${px(left + ((from + to) / 2) * cell)}" y="${height - 8}"
            >${name}</text
          ><path
            class="mark"
            d="M${px(left + from * cell + 2)} ${height - 22}H${px(left + to * cell - 3)}"
          />`,
    ),
  ]);
}

/** Row and column of the values, together where they have one colour: half the size of a group each. */
function byShade(
  values: readonly (readonly (number | null)[])[],
): { shade: number; places: [number, number][] }[] {
  const shades = new Map<number, [number, number][]>();
  for (const [r, line] of values.entries()) {
    for (const [c, value] of line.entries()) {
      if (value === null) continue;
      const shade = shadeOf(value);
      shades.set(shade, [...(shades.get(shade) ?? []), [r, c]]);
    }
  }
  return [...shades].sort(([a], [b]) => a - b).map(([shade, places]) => ({ shade, places }));
}

/** Neighbouring layers of one stack: "encoder 0", "encoder 1", ... */
function stacksOf(layers: readonly string[]): { name: string; from: number; to: number }[] {
  const stacks: { name: string; from: number; to: number }[] = [];
  for (const [i, layer] of layers.entries()) {
    const name = layer === "" ? "other" : layer.replace(/ [^ ]*$/, "");
    const last = stacks.at(-1);
    if (last?.name === name) last.to = i + 1;
    else stacks.push({ name, from: i, to: i + 1 });
  }
  return stacks;
}
