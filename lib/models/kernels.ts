import { loadAddon } from "../native/load.js";
import type { Addon } from "../native/contract.js";

// The method's kernels as plain functions; what each computes is documented in native/contract.ts.
export const select: Addon["select"] = (...args) => loadAddon().select(...args);
export const fuse: Addon["fuse"] = (...args) => loadAddon().fuse(...args);
export const fuseAdaptive: Addon["fuseAdaptive"] = (...args) => loadAddon().fuseAdaptive(...args);
export const score: Addon["score"] = (...args) => loadAddon().score(...args);
export const updateImportance: Addon["updateImportance"] = (...args) => loadAddon().updateImportance(...args);
export const adamwStep = ((...args: Parameters<Addon["adamwStep"]>) =>
  loadAddon().adamwStep(...args)) as Addon["adamwStep"];
export const quantiles: Addon["quantiles"] = (...args) => loadAddon().quantiles(...args);
export const maskRows: Addon["maskRows"] = (...args) => loadAddon().maskRows(...args);
export const createVector: Addon["createVector"] = (...args) => loadAddon().createVector(...args);
export const createStepReports: Addon["createStepReports"] = (...args) =>
  loadAddon().createStepReports(...args);
export const createAbortFlag: Addon["createAbortFlag"] = () => loadAddon().createAbortFlag();
