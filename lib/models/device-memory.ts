import type { DeviceMemory } from "../native/contract.js";
import { loadAddon } from "../native/load.js";

let gpu: string | undefined;

/** The GPU that was opened, by its name in the addon. */
export function setOpenedGpu(device: string): void {
  gpu = device;
}

/**
 * What this process' models use of the GPU's memory, when the work begun before has been given to the GPU; null where none has been opened.
 * CUDA itself takes some hundred MB beside it.
 */
export async function deviceMemory(): Promise<DeviceMemory | null> {
  return gpu === undefined ? null : loadAddon().deviceMemory(gpu);
}

/** From here on, the peaks of {@link deviceMemory} are those of what follows. Does nothing where no GPU has been opened. */
export function resetPeakDeviceMemory(): void {
  if (gpu !== undefined) loadAddon().resetPeakDeviceMemory(gpu);
}
