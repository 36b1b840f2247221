/** This side's memory on a GPU. */
import * as library from "../../../lib/index.js";
import type { DeviceMemory } from "./protocol.js";

interface Measured {
  peakAllocated: number;
  peakReserved: number;
}

/** Since the process began; null where it uses no GPU. */
export async function peakDeviceMemory(): Promise<DeviceMemory | null> {
  const { deviceMemory } = library as { deviceMemory?: () => Promise<Measured | null> };
  const found = await deviceMemory?.();
  return found ? { allocated: found.peakAllocated, reserved: found.peakReserved } : null;
}
