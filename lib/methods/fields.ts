import { z } from "zod";

/** Options that are one of a kind, in methods and in training. */
export const count = z.number().int().positive();
export const fraction = z.number().min(0).max(1);

/** An option that methods with an outer loop share. */
export const outerLearningRate = z
  .number()
  .nonnegative()
  .default(1e-3)
  .describe(
    "learning rate of the outer loop's own optimizer; a learningRate other than 3e-4 wants it tuned as well",
  );
