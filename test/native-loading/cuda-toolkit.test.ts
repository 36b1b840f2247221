import { expect } from "chai";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { RkifError } from "../../lib/errors.js";
import { findCudaToolkit, installCudaToolkit } from "../../lib/native/cuda-toolkit.js";
import { currentPlatform } from "../../lib/native/platform.js";
import { Registry, Scratch } from "./fakes.js";

const nvcc = (version: string): string =>
  `#!/bin/sh\necho "Cuda compilation tools, release ${version}, V${version}.86"\n`;

describe("finding nvcc", () => {
  let scratch: Scratch;
  beforeEach(() => {
    scratch = new Scratch();
  });
  afterEach(() => scratch.remove());

  const find = (cuda: string, variables: NodeJS.ProcessEnv = {}): ReturnType<typeof findCudaToolkit> =>
    findCudaToolkit({ cuda, environment: scratch.environment(variables) });

  function toolkit(folder: string, version: string): string {
    scratch.program(join("..", folder, "bin", "nvcc"), nvcc(version));
    return scratch.path(folder);
  }

  it("takes CUDA_HOME of the same major version, nvcc on the PATH and in the cache of the same version", () => {
    const home = toolkit("home-toolkit", "13.0");
    const onPath = toolkit("path-toolkit", "13.2");
    const cached = toolkit(
      `home/.cache/recurrent-kif/cuda-toolkit/13.2-${currentPlatform().name}/nvidia/cu13`,
      "13.2",
    );
    const PATH = join(onPath, "bin");
    expect(find("13.2", { CUDA_HOME: home, PATH }).toolkit).to.deep.equal({
      folder: home,
      version: "13.0",
      origin: "CUDA_HOME",
    });
    expect(find("13.2", { PATH }).toolkit?.folder).to.equal(onPath);
    expect(find("13.2").toolkit?.folder).to.equal(cached);
    expect(find("13.0").toolkit).to.equal(undefined);
  });

  it("says what it passed over", () => {
    const home = toolkit("old", "12.4");
    const { toolkit: none, attempts } = find("13.2", {
      CUDA_HOME: home,
      PATH: join(toolkit("p", "13.0"), "bin"),
    });
    expect(none).to.equal(undefined);
    expect(attempts).to.deep.equal([
      `CUDA_HOME (${home}): CUDA 12.4; libtorch has CUDA 13.2`,
      `nvcc on the PATH (${scratch.path("p")}): CUDA 13.0; libtorch has CUDA 13.2`,
      "cache: nothing there",
    ]);
    expect(find("13.2", { CUDA_HOME: scratch.path("nowhere") }).attempts[0]).to.contain("it has no bin/nvcc");
  });

  describe("or fetching it", () => {
    let registry: Registry;
    before(function () {
      if (Registry.realPython === undefined || process.platform !== "linux") this.skip();
    });
    beforeEach(() => {
      registry = new Registry(scratch);
      registry.python('cp "$REGISTRY"/*.whl "$dest"');
    });

    const install = (cuda: string): ReturnType<typeof installCudaToolkit> =>
      installCudaToolkit({ cuda, environment: scratch.environment() });
    const cache = (): string => scratch.path("home", ".cache", "recurrent-kif", "cuda-toolkit");

    it("keeps the wheels of libtorch's CUDA version whole, and programs executable", async () => {
      registry.wheel("nvidia_cuda_nvcc-13.2", {
        "nvidia/cu13/bin/nvcc": nvcc("13.2"),
        "nvidia/cu13/include/cuda_runtime.h": "",
      });
      const found = await install("13.2");
      expect(found.version).to.equal("13.2");
      expect(existsSync(join(found.folder, "include", "cuda_runtime.h"))).to.equal(true);
      expect(registry.calls().find((call) => call.includes("pip download"))).to.contain(
        "cuda-toolkit[nvcc,cccl]==13.2.*",
      );
      const before = registry.calls().length;
      expect(await install("13.2")).to.deep.equal(found);
      expect(registry.calls()).to.have.length(before);
      expect(readdirSync(cache())).to.deep.equal([`13.2-${currentPlatform().name}`]);
    });

    it("leaves nothing behind where the wheels hold no nvcc, or pip fails, and tells what to do", async () => {
      registry.wheel("nvidia_cuda_nvcc_cu12-12.8", { "nvidia/cuda_nvcc/bin/ptxas": "" });
      const failure = async (cuda: string): Promise<RkifError> => {
        const error: unknown = await install(cuda).catch((thrown: unknown) => thrown);
        expect(error).to.be.instanceOf(RkifError);
        return error as RkifError;
      };
      expect((await failure("12.8")).message).to.contain("hold no bin/nvcc");
      registry.python('echo "ERROR: no network"; exit 1');
      const error = await failure("13.2");
      expect(error.code).to.equal("LIBTORCH_INSTALL");
      expect(error.message).to.contain("could not download nvcc").and.contain("ERROR: no network");
      expect(error.message).to.contain("export CUDA_HOME=");
      expect(readdirSync(cache())).to.deep.equal([]);
    });
  });
});
