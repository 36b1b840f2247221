import type { ReportFigures, VariantFigures } from "../../figures/figures.js";

/** What sections need to name things alike. */
export interface Context {
  figures: ReportFigures;
  /** Every variant's look in pictures. */
  styleOf: (variant: string) => number;
  /** A variant, with its order where there are several. */
  nameOf: (figures: Pick<VariantFigures, "variant" | "order">) => string;
}

export function contextOf(figures: ReportFigures): Context {
  const variants = [...new Set(figures.variants.map(({ variant }) => variant))];
  const orders = new Set(figures.variants.map(({ order }) => order));
  return {
    figures,
    styleOf: (variant) => variants.indexOf(variant),
    nameOf: ({ variant, order }) => (orders.size > 1 ? `${variant}, ${order}` : variant),
  };
}

/** "seed 1", "mean of seeds 1, 2, 3". */
export function seedsOf({ seeds }: Pick<VariantFigures, "seeds">): string {
  if (seeds.length === 0) return "one run";
  return seeds.length === 1 ? `seed ${seeds[0]}` : `mean of seeds ${seeds.join(", ")}`;
}
