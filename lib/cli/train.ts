import { resolve } from "node:path";
import type { Command } from "commander";
import { findBenchmark } from "../data/benchmarks/find.js";
import { resolveOrder, resolveOrderIn } from "../data/orders.js";
import { listTasks, readTask } from "../data/tasks.js";
import { RkifError } from "../errors.js";
import { matrixTable } from "../report/tables.js";
import { resolveConfig, resolveDataOptions, splitConfig } from "../training/config.js";
import { Learner } from "../training/learner.js";
import type { DataOptions } from "../training/options.js";
import { Display, interruptSignal } from "./display.js";
import { addConfigFlags, givenOptions, readConfigFile } from "./flags.js";

interface TrainFlags {
  config?: string;
  add?: string;
  json?: boolean;
}

export function trainCommand(program: Command): void {
  const command = program
    .command("train")
    .description("learn tasks one after another; the same command again goes on with an interrupted run")
    .argument("<run>", "folder of the run; made if need be")
    .option("--config <file>", "JSON file of options; flags go before it")
    .option("--add <folder>", "teach a finished run the tasks of this folder as well")
    .option("--json", "print the result as one JSON document on stdout");
  addConfigFlags(command);
  command.action(async (run: string) => train(run, command.opts<TrainFlags>(), givenOptions(command)));
}

async function train(run: string, flags: TrainFlags, given: Record<string, unknown>): Promise<void> {
  const display = new Display();
  const { signal, release } = interruptSignal(display);
  const input = { ...(flags.config ? await readConfigFile(flags.config) : {}), ...given };
  const { learner: options, data } = splitConfig(input);
  const source = flags.config ?? "command line";
  const goesOn = flags.add !== undefined || Object.keys(input).length === 0;
  if (goesOn && Object.keys(options).length > 0) {
    throw new RkifError(
      "CONFIG_INVALID",
      `${source}: ${Object.keys(options).join(", ")} cannot be given with --add: the run goes on as it was configured`,
    );
  }
  const plan = goesOn ? undefined : await fromHere(resolveDataOptions(data, source));
  // Here, so that messages name the file.
  if (plan) resolveConfig(options, source);
  const learner = await (plan
    ? Learner.create({ run, plan, ...options }, { onEvent: display.listener() })
    : Learner.open(run, { onEvent: display.listener() }));
  try {
    if (flags.add !== undefined) {
      const added = { ...learner.plan, benchmark: null, order: null, ...data, data: flags.add };
      await learnAll(learner, await fromHere(resolveDataOptions(added, source)), signal, {
        onlyNew: true,
        onNothingNew: (why) => display.line(why),
      });
    } else {
      await learnAll(learner, plan ?? resolveDataOptions(learner.plan, "config.json"), signal);
    }
    display.stop();
    const { matrix } = learner;
    process.stdout.write(flags.json ? `${JSON.stringify({ run, ...matrix })}\n` : `${matrixTable(matrix)}\n`);
  } finally {
    release();
    display.stop();
    await learner.dispose();
  }
}

/** A run goes on from any working folder, and with the tasks there were when it was begun. */
async function fromHere(plan: DataOptions): Promise<DataOptions> {
  const benchmark = await findBenchmark(plan.data, plan.benchmark);
  const order = resolveOrderIn(benchmark, plan.order ?? [...(await listTasks(plan.data, benchmark)).keys()]);
  return { ...plan, order, data: resolve(plan.data) };
}

/** Learns the tasks of a plan that the run does not know yet, the interrupted one first. */
async function learnAll(
  learner: Learner,
  plan: DataOptions,
  signal: AbortSignal,
  {
    onlyNew = false,
    onNothingNew = () => undefined,
  }: { onlyNew?: boolean; onNothingNew?: (why: string) => void } = {},
): Promise<void> {
  const inFolder = async (): Promise<string[]> => [...(await listTasks(plan.data)).keys()];
  const order = plan.order === null ? await inFolder() : resolveOrder(plan.order);
  const learned = learner.tasks;
  const { unfinished } = learner;
  const ahead = order.filter((task) => !learned.includes(task));
  // The folder of a finished run may be gone: it is not looked into where nothing is left to learn.
  if (ahead.length > 0) resolveOrder(ahead, await inFolder());
  if (onlyNew && ahead.length === 0) {
    onNothingNew(
      `${plan.data}: its tasks (${order.join(", ")}) have been learned already; a further task needs a name of its own`,
    );
  }
  if (onlyNew) ahead.sort((a, b) => Number(b === unfinished) - Number(a === unfinished));
  // A folder of new tasks may hold the earlier ones as well; an order that does not begin with them is another run.
  const differs = learned.findIndex((task, i) => i < order.length && order[i] !== task);
  if (!onlyNew && differs !== -1) {
    throw new RkifError(
      "RUN_CONFLICT",
      `the order is ${order.join(", ")}, but the run has learned ${learned.join(", ")}; expected an order that begins with these`,
    );
  }
  if (unfinished !== null && !order.includes(unfinished)) {
    throw new RkifError(
      "RUN_CONFLICT",
      `task "${unfinished}" was interrupted and comes first, but ${plan.data} is asked for ${order.join(", ")}; ` +
        `give the folder that holds it (rkif train RUN --add FOLDER)`,
    );
  }
  const limits = { trainLimit: plan.trainLimit, devLimit: plan.devLimit, testLimit: plan.testLimit };
  const given = Object.fromEntries(Object.entries(limits).filter(([, limit]) => limit !== null));
  const benchmark = ahead.length > 0 ? await findBenchmark(plan.data, plan.benchmark) : null;
  // All are read before the first is learned: a mistake in the last one's file shows now and not in some hours.
  const tasks = [];
  for (const name of ahead) tasks.push(await readTask(plan.data, name, { ...given, benchmark }));
  await learner.learnAll(tasks, { signal });
}
