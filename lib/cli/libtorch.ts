import type { Command } from "commander";
import {
  DEFAULT_LIBTORCH,
  installLibtorch,
  packageRoot,
  prebuiltLibtorch,
  searchLibtorch,
  type InstallProgress,
} from "../native/libtorch.js";
import { createProgress } from "../report/progress.js";
import { Display, interruptSignal } from "./display.js";

export function libtorchCommand(program: Command): void {
  const command = program.command("libtorch").description("find libtorch on this machine, or fetch it");
  command
    .command("find")
    .description("print the folder of the libtorch that is used, and on stderr what was passed over")
    .option("--json", "print the result as one JSON document on stdout")
    .action(({ json }: { json?: boolean }) => {
      const { libtorch, attempts } = searchLibtorch();
      if (json) process.stdout.write(`${JSON.stringify({ libtorch: libtorch ?? null, attempts })}\n`);
      else {
        for (const attempt of attempts) process.stderr.write(`${attempt}\n`);
        if (libtorch) process.stdout.write(`${libtorch.folder}\n`);
      }
      if (libtorch) return;
      process.stderr.write("there is no usable libtorch; fetch one with: rkif libtorch install\n");
      process.exitCode = 1;
    });
  command
    .command("install")
    .description("fetch libtorch with pip into the user's cache")
    .argument("[version]", "release of libtorch; by default the one the prebuilt addon was built with")
    .option("--cuda", "with all that GPUs need: 2.7 GB to download, 3.9 GB to keep")
    .option("--json", "print the result as one JSON document on stdout")
    .action(async (version: string | undefined, { cuda, json }: { cuda?: boolean; json?: boolean }) => {
      const display = new Display();
      const { signal, release } = interruptSignal(display);
      try {
        const libtorch = await installLibtorch({
          version: version ?? prebuiltLibtorch(packageRoot) ?? DEFAULT_LIBTORCH,
          extent: cuda ? "cuda" : "cpu",
          signal,
          onProgress: showProgress(),
        });
        process.stdout.write(`${json ? JSON.stringify({ libtorch }) : libtorch.folder}\n`);
      } finally {
        release();
      }
    });
}

function showProgress(): (progress: InstallProgress) => void {
  const progress = createProgress(process.stderr);
  let current = "";
  return ({ stage, item, bytes, total }) => {
    const label = `${stage} ${item} (MB)`;
    const megabytes = (count: number): number => Math.round(count / 1e6);
    if (label !== current) progress.start(label, megabytes(total));
    current = label;
    progress.update(megabytes(bytes));
    if (bytes >= total) progress.stop();
  };
}
