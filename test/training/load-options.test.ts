import { expect } from "chai";
import { resolveConfig } from "../../lib/training/config.js";
import { loadOptions } from "../../lib/training/load-options.js";
import { failure } from "../models/tiny-safetensors.js";

describe("training/load-options", () => {
  it("reads sizes, and leaves out what is not limited", () => {
    const unlimited = loadOptions(resolveConfig({}));
    expect(unlimited).to.not.have.any.keys("memory", "deviceMemoryLimit");
    const limited = loadOptions(resolveConfig({ memory: "16GB", deviceMemoryLimit: "40GiB" }));
    expect(limited).to.include({ memory: 16e9, deviceMemoryLimit: 40 * 2 ** 30 });
  });

  it("refuses what is no size, by the option's name", async () => {
    for (const size of ["much", "-1GB", "0"]) {
      const error = await failure(() => loadOptions(resolveConfig({ deviceMemoryLimit: size })));
      expect(error).to.have.property("code", "INVALID_ARGUMENT");
      expect((error as Error).message).to.match(/^deviceMemoryLimit is ".*"; expected a size such as 5GB/);
    }
  });
});
