/** A GPU's memory, on a machine where none has been opened. */
import { expect } from "chai";
import { deviceMemory, resetPeakDeviceMemory } from "../../lib/models/device-memory.js";
import { addon, refused, rejected } from "./addon.js";

const names = ["deviceMemory", "limitDeviceMemory", "resetPeakDeviceMemory"] as const;

/** A call with arguments that TypeScript would refuse. */
const call = (name: (typeof names)[number], ...args: unknown[]): unknown =>
  (addon()[name] as (...args: unknown[]) => unknown)(...args);

describe("native/device memory", () => {
  it("is null where no GPU has been opened", async () => {
    expect(await deviceMemory()).to.equal(null);
    resetPeakDeviceMemory();
    await addon().getThreads();
  });

  it("asked of the addon all the same, is an error", async () => {
    const words = ["no GPU has been opened"] as const;
    await rejected(addon().deviceMemory("cuda"), "INVALID_ARGUMENT", ...words);
    await rejected(addon().limitDeviceMemory("cuda:1", 1e9), "INVALID_ARGUMENT", ...words);
    await rejected(addon().limitDeviceMemory("cuda", null), "INVALID_ARGUMENT", ...words);
    addon().resetPeakDeviceMemory("cuda");
    await rejected(addon().getThreads(), "INVALID_ARGUMENT", ...words);
  });

  it("refuses what is no GPU and no number of bytes", () => {
    for (const name of names) {
      refused(
        () => call(name, "cpu"),
        "INVALID_ARGUMENT",
        `${name}: device is the string "cpu", expected a GPU`,
      );
      for (const device of ["gpu", 0, undefined])
        refused(() => call(name, device), "INVALID_ARGUMENT", `${name}: device is`);
    }
    for (const bytes of [0, -1, 1.5, NaN, "8GB", undefined])
      refused(
        () => call("limitDeviceMemory", "cuda", bytes),
        "INVALID_ARGUMENT",
        "limitDeviceMemory: bytes is",
      );
  });
});
