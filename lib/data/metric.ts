/** What answers are measured by: "exact-match" counts those equal to the reference, "rouge-l" is the mean Rouge-L F1; either in percent. */
export const metricNames = ["exact-match", "rouge-l"] as const;

export type Metric = (typeof metricNames)[number];
