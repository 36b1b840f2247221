/**
 * The README's example with types: four tasks in a row, then what is left of each.
 *
 *     npx tsx examples/quickstart.ts
 */
import { Learner, demoTasks, matrixTable } from "../lib/index.js";

const learner = await Learner.create({
  run: "runs/letters", // everything is kept here: the same call later goes on
  model: "embedded", // or the folder of a Hugging Face T5 checkpoint
  method: "recurrent-kif", // or "sequential", "replay"
  epochs: 3,
  learningRate: 3e-3,
  warmupSteps: 5,
  memoryFraction: 0.05,
});
try {
  // Or your own: { name, labels, train, dev, test } with records { instruction?, input, output }; see also readTask().
  for (const task of demoTasks()) {
    if (!learner.tasks.includes(task.name)) await learner.learn(task);
  }
  process.stdout.write(`${matrixTable(learner.matrix)}\n`);
} finally {
  await learner.dispose();
}
