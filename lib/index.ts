export { RkifError, isAborted, type ErrorCode } from "./errors.js";
export { loadAddon, type LoadOptions } from "./native/load.js";
export { installLibtorch, type InstallOptions } from "./native/libtorch.js";
export type * from "./native/contract.js";
export {
  loadModel,
  saveTrained,
  embeddedModel,
  type LoadModelOptions,
  type TrainedModel,
} from "./models/trained-model.js";
export { deviceMemory, resetPeakDeviceMemory } from "./models/device-memory.js";
export { loadAdapter } from "./models/adapter.js";
export { mergeAdapter, type MergeOptions, type MergeReport } from "./models/merge.js";
export { resolveAdaptedModules, type LoraConfig } from "./models/lora.js";
export type { ModelConfig } from "./models/config/index.js";
export { Tokenizer, type EncodeOptions } from "./models/tokenizer.js";
export { TokenCache, userTokenCache, type TokenCacheOptions } from "./models/token-cache.js";
export { listTasks, readTask, type ReadTaskOptions, type TaskData, type TaskFiles } from "./data/tasks.js";
export { readRecords, type TaskRecord } from "./data/records.js";
export { findBenchmark } from "./data/benchmarks/find.js";
export type { Benchmark } from "./data/benchmarks/benchmark.js";
export type { Metric } from "./data/metric.js";
export { resolveOrder, taskOrders } from "./data/orders.js";
export { openFormat, type FormatModel } from "./data/formats/open-format.js";
export type {
  EncodedPrompts,
  EncodedRecord,
  EncodedRecords,
  FormatOptions,
  RecordFormat,
} from "./data/formats/record-format.js";
export type { PromptFields } from "./data/prompts/template.js";
export { selectMemory, type MemoryOptions } from "./data/memory.js";
export { pack } from "./data/pack.js";
export type { AskedModel } from "./evaluation/answers.js";
export { generateText, type GenerateTextOptions } from "./evaluation/generate-text.js";
export { evaluateTask, type EvaluateOptions, type Evaluation } from "./evaluation/evaluate.js";
export { continualMetrics, type AccuracyMatrix, type ContinualMetrics } from "./evaluation/metrics.js";
export { rougeL } from "./evaluation/rouge-l.js";
export { defineMethod, type Method } from "./methods/method.js";
export type * from "./methods/run.js";
export { methods } from "./methods/registry.js";
export { learningRateAt, type Schedule } from "./methods/schedule.js";
export { Learner, type LearnOptions, type OpenOptions } from "./training/learner.js";
export { configJsonSchema, resolveConfig, type ConfigInput, type ResolvedConfig } from "./training/config.js";
export type { LearnerEvent } from "./training/events.js";
export type { MatrixReport } from "./training/matrix.js";
export { planBench, type BenchPlan, type Cell } from "./bench/plan.js";
export { runBench, type BenchEvent, type RunBenchOptions } from "./bench/run-bench.js";
export type { BenchInput, Variant } from "./bench/spec.js";
export type { BenchResults, CellState, VariantResults } from "./bench/results.js";
export type { CellFailure, CellOutcome, CellResult } from "./bench/bench-folder.js";
export { benchTable, benchText, orderTable } from "./bench/tables.js";
export { demoTasks } from "./demo/tasks.js";
export { matrixTable, comparisonTable } from "./report/tables.js";
export { createReport, type Report } from "./report/report.js";
export type { Comparison, ReportFigures, VariantFigures } from "./report/figures/figures.js";
