import { createProgress, type Progress } from "../report/progress.js";
import type { LearnerEvent } from "../training/events.js";

/** Shows a learner's events on stderr: a bar on a terminal, plain lines otherwise. */
export class Display {
  readonly #progress: Progress;
  readonly #stream: NodeJS.WriteStream;
  #label = "";

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
    this.#progress = createProgress(stream);
  }

  /** For `onEvent` of a learner. `prefix` stands before every label. */
  listener(prefix: string = ""): (event: LearnerEvent) => void {
    return (event) => {
      if (event.event === "progress") {
        const label = prefix + event.label;
        if (label !== this.#label) this.#progress.start(label, event.total);
        this.#label = label;
        this.#progress.update(
          event.done,
          event.loss === undefined ? undefined : `loss ${event.loss.toFixed(3)}`,
        );
      } else if (event.event === "warning") {
        this.line(`${prefix}${event.message}`);
      } else if (event.event === "task-start" && event.cutSources + event.cutTargets > 0) {
        this.line(
          `${prefix}${event.task}: of ${event.records} training records, ${event.cutSources} prompts and ${event.cutTargets} outputs were cut`,
        );
      } else if (event.event === "step" && !event.applied) {
        this.line(
          `${prefix}${event.task}: step ${event.step} had a loss or gradient that is not finite and was skipped`,
        );
      } else if (event.event === "cycle" && !event.fused) {
        this.line(
          `${prefix}${event.task}: cycle ${event.cycle} had scores that are not finite and was not fused`,
        );
      } else if (event.event === "evaluation") {
        this.line(
          `${prefix}${event.after ? `after ${event.after}` : "untrained"}: ${event.task} ${event.accuracy.toFixed(2)} %`,
        );
      }
    };
  }

  line(text: string): void {
    this.stop();
    this.#stream.write(`${text}\n`);
  }

  stop(): void {
    this.#progress.stop();
    this.#label = "";
  }
}

/** Aborts at the first SIGINT or SIGTERM; a second one ends the process as usual. */
export function interruptSignal(display: Display): { signal: AbortSignal; release: () => void } {
  const controller = new AbortController();
  const stop = (name: NodeJS.Signals): void => {
    display.line(`${name}: saving and stopping (once more: at once)`);
    controller.abort();
    release();
  };
  const release = (): void => {
    process.off("SIGINT", stop);
    process.off("SIGTERM", stop);
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  return { signal: controller.signal, release };
}
