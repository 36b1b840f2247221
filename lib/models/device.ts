import { RkifError } from "../errors.js";
import type { ModelOptions } from "../native/contract.js";
import { chooseDevice, cudaUnavailable, onCpu, type DeviceOption } from "../native/cuda.js";
import { loadAddon } from "../native/load.js";
import { setOpenedGpu } from "./device-memory.js";

/** Where a model goes, and for "auto" why. */
export interface OpenDevice {
  device: NonNullable<ModelOptions["device"]>;
  reason?: string;
}

export interface OpenDeviceOptions {
  /** Bytes of a GPU's memory that the process may take from now on; absent: as before. */
  deviceMemoryLimit?: number | undefined;
}

/**
 * The device that `wanted` comes to on this machine, ready for models. Before anything else is asked of the addon: libtorch looks for its
 * CUDA half once.
 * @throws RkifError `CUDA_UNAVAILABLE` where `wanted` is "cuda" and a part is missing, saying which and what to do; INVALID_ARGUMENT where
 * the limit is no number of bytes, or below what is in use already
 */
export async function openDevice(
  wanted: DeviceOption,
  { deviceMemoryLimit }: OpenDeviceOptions = {},
): Promise<OpenDevice> {
  const limit = deviceMemoryLimit ?? null;
  if (limit !== null && !(Number.isSafeInteger(limit) && limit > 0)) {
    throw new RkifError(
      "INVALID_ARGUMENT",
      `deviceMemoryLimit is ${limit}; expected a number of bytes above 0`,
    );
  }
  const chosen = chooseDevice(wanted);
  const reason = chosen.reason === undefined ? {} : { reason: chosen.reason };
  if (chosen.device === "cpu") return { device: "cpu", ...reason };
  const { device, library } = chosen.cuda;
  const name = `cuda:${device.index}` as const;
  const addon = loadAddon();
  try {
    await addon.openCuda(library.path, name);
  } catch (error) {
    const why = wanted === "auto" ? cudaUnavailable(error) : undefined;
    if (why === undefined) throw error;
    return { device: "cpu", reason: onCpu(why) };
  }
  setOpenedGpu(name);
  if (limit !== null) await addon.limitDeviceMemory(name, limit);
  return { device: name, ...reason };
}
