import { z } from "zod";

/** An option that methods with an outer loop share. */
export const outerLearningRate = z.number().nonnegative().default(1e-3);
