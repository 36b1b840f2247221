import type { Command } from "commander";
import { findBenchmark } from "../data/benchmarks/find.js";
import { openFormat } from "../data/formats/open-format.js";
import { resolveOrderIn } from "../data/orders.js";
import { listTasks, readTask } from "../data/tasks.js";
import { RkifError } from "../errors.js";
import { mean } from "../evaluation/metrics.js";
import { userTokenCache } from "../models/token-cache.js";
import { loadModel } from "../models/trained-model.js";
import { renderTable, formatScore } from "../report/table.js";
import { resolveDataOptions, resolvePart, splitConfig } from "../training/config.js";
import { evaluatedBy, evaluateLearned, labelsOf } from "../training/evaluate-learned.js";
import { loadOptions } from "../training/load-options.js";
import { evaluationOptions, formatOptions, modelOptions, runtimeOptions } from "../training/options.js";
import { Display } from "./display.js";
import { addConfigFlags, givenOptions } from "./flags.js";

const used = [
  ...["model", "baseType", "copyWeights", "memory", "threads", "device", "deviceMemoryLimit", "tokenCache"],
  ...["promptTemplate", "sourceTokens", "cutoffTokens", "encoderText"],
  ...["evaluateBy", "metric", "maxNewTokens", "evaluationTokens"],
  ...["data", "benchmark", "order", "testLimit"],
];

export function evalCommand(program: Command): void {
  const command = program
    .command("eval")
    .description("evaluate a checkpoint, with or without an adapter, on the test records of tasks")
    .option("--adapter <folder>", "adapter in PEFT form, such as RUN/adapter")
    .option("--json", "print the result as one JSON document on stdout");
  addConfigFlags(command, used);
  command.action(async () => evaluate(command.opts<{ json?: boolean }>(), givenOptions(command)));
}

async function evaluate(flags: { json?: boolean }, given: Record<string, unknown>): Promise<void> {
  const display = new Display();
  const { learner, data } = splitConfig(given);
  const plan = resolveDataOptions(data, "command line");
  const config = {
    ...resolvePart(modelOptions, learner, "command line"),
    ...resolvePart(formatOptions, learner, "command line"),
    ...resolvePart(evaluationOptions, learner, "command line"),
    ...resolvePart(runtimeOptions, learner, "command line"),
  };
  const benchmark = await findBenchmark(plan.data, plan.benchmark);
  const names = resolveOrderIn(benchmark, plan.order ?? [...(await listTasks(plan.data, benchmark)).keys()]);
  const tokenCache = userTokenCache(config.tokenCache, (message) => display.line(message));
  const loaded = await loadModel({ ...loadOptions(config), trainable: { kind: "none" }, tokenCache });
  for (const warning of loaded.warnings) display.line(warning);
  try {
    evaluatedBy(config.evaluateBy, loaded.config.family);
    const format = await openFormat(loaded, config);
    const tasks = await Promise.all(
      names.map((name) =>
        readTask(plan.data, name, {
          trainMayBeMissing: true,
          benchmark,
          ...(plan.testLimit === null ? {} : { testLimit: plan.testLimit }),
        }),
      ),
    );
    const candidates = labelsOf(tasks);
    const results = [];
    for (const task of tasks) {
      if (task.test.length === 0)
        throw new RkifError("DATA_INVALID", `${plan.data}: task "${task.name}" has no test records`);
      const { prompts, cut } = await format.encodePrompts(task.test);
      if (cut > 0) display.line(`${task.name}: ${cut} of ${prompts.length} prompts were cut`);
      const label = `${task.name}: evaluating`;
      const listener = display.listener();
      const { predictions: _, ...result } = await evaluateLearned(
        loaded,
        format,
        { ...task, test: prompts, references: task.test.map(({ output }) => output) },
        {
          config,
          candidates,
          onProgress: (done, total) =>
            listener({ event: "progress", task: task.name, stage: "evaluate", label, done, total }),
        },
      );
      results.push({ task: task.name, ...result });
    }
    display.stop();
    const average = mean(results.map(({ accuracy }) => accuracy));
    if (flags.json) {
      process.stdout.write(`${JSON.stringify({ tasks: results, mean: average })}\n`);
    } else {
      const rows = results.map(({ task, accuracy, correct, total }) => [
        task,
        formatScore(accuracy),
        `${correct}/${total}`,
      ]);
      process.stdout.write(
        `${renderTable(["task", "accuracy (%)", "correct"], [...rows, ["mean", formatScore(average), ""]], "text")}\n`,
      );
    }
  } finally {
    display.stop();
    loaded.model.dispose();
  }
}
