import type { Command } from "commander";
import { describeDevice, inspectCuda, type CudaReport } from "../native/cuda.js";
import {
  describeAddon,
  findAddons,
  packageRoot,
  searchLibtorch,
  type AddonFiles,
  type Libtorch,
} from "../native/libtorch.js";

export function infoCommand(program: Command, version: string): void {
  program
    .command("info")
    .description("show what is used on this machine: the addon, libtorch, and what there is for GPUs")
    .option("--json", "print the result as one JSON document on stdout")
    .action(({ json }: { json?: boolean }) => {
      const addons = findAddons(packageRoot);
      const libtorch = searchLibtorch().libtorch ?? null;
      const cuda = inspectCuda();
      const text = json
        ? JSON.stringify({ version, addon: addons[0] ?? null, libtorch, cuda })
        : describe(version, addons, libtorch, cuda).join("\n");
      process.stdout.write(`${text}\n`);
    });
}

function describe(
  version: string,
  addons: readonly AddonFiles[],
  libtorch: Libtorch | null,
  cuda: CudaReport,
): string[] {
  const found = (value: string | undefined): string => value ?? "none";
  const { driver, library, device, problems } = cuda;
  const [addon] = addons;
  return [
    `recurrent-kif  ${version}`,
    `addon          ${found(addon && `${describeAddon(addon)}: ${addon.addon}`)}`,
    `libtorch       ${libtorch === null ? "none" : describeLibtorch(libtorch)}`,
    `NVIDIA driver  ${found(driver.version && `supports CUDA up to ${driver.version}`)}`,
    ...driver.devices.map((gpu) => `GPU ${gpu.index}          ${describeDevice(gpu)}`),
    `CUDA kernels   ${found(library && `CUDA ${library.cuda}: ${library.path}`)}`,
    `CUDA libtorch  ${found(cuda.libtorch && describeLibtorch(cuda.libtorch))}`,
    device === undefined || problems.length > 0
      ? `device cuda    not here:\n${problems.map((problem) => `  - ${problem.found}`).join("\n")}`
      : `device cuda    GPU ${device.index}`,
    ...(problems.length === 0
      ? []
      : ["To use a GPU:", ...problems.flatMap(({ solutions }) => solutions).map((line) => `  - ${line}`)]),
  ];
}

function describeLibtorch({ version, origin, folder }: Libtorch): string {
  return `${version} (${origin}): ${folder}`;
}
