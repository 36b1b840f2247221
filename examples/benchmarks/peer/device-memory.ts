/** This side's memory on a GPU. */
import { deviceMemory } from "../../../lib/index.js";
import type { DeviceMemory } from "./protocol.js";

/** Since the process began; null where it uses no GPU. */
export async function peakDeviceMemory(): Promise<DeviceMemory | null> {
  const found = await deviceMemory();
  return found && { allocated: found.peakAllocated, reserved: found.peakReserved };
}
