import type { ModelOptions } from "../native/contract.js";
import { chooseDevice, cudaUnavailable, onCpu, type DeviceOption } from "../native/cuda.js";
import { loadAddon } from "../native/load.js";

/** Where a model goes, and for "auto" why. */
export interface OpenDevice {
  device: NonNullable<ModelOptions["device"]>;
  reason?: string;
}

/**
 * The device that `wanted` comes to on this machine, ready for models. Before anything else is asked of the addon: libtorch looks for its
 * CUDA half once.
 * @throws RkifError `CUDA_UNAVAILABLE` where `wanted` is "cuda" and a part is missing, saying which and what to do
 */
export async function openDevice(wanted: DeviceOption): Promise<OpenDevice> {
  const chosen = chooseDevice(wanted);
  const reason = chosen.reason === undefined ? {} : { reason: chosen.reason };
  if (chosen.device === "cpu") return { device: "cpu", ...reason };
  const { device, library } = chosen.cuda;
  const name = `cuda:${device.index}` as const;
  try {
    await loadAddon().openCuda(library.path, name);
  } catch (error) {
    const why = wanted === "auto" ? cudaUnavailable(error) : undefined;
    if (why === undefined) throw error;
    return { device: "cpu", reason: onCpu(why) };
  }
  return { device: name, ...reason };
}
