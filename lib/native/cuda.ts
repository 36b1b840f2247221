import { dirname, join } from "node:path";

import { RkifError } from "../errors.js";
import { findAddons, type AddonFiles } from "./addon-files.js";
import {
  architectureProblem,
  describeDriver,
  driverAgeProblem,
  type CudaDevice,
  type CudaDriver,
  type CudaProblem,
} from "./cuda-driver.js";
import { inspectCudaLibrary, type CudaLibrary } from "./cuda-library.js";
import { readEnvironment, type Environment } from "./environment.js";
import { addonSolutions, failureMessage, isClone, packageRoot } from "./failure.js";
import {
  CUDA_LIBRARIES,
  candidateProblem,
  describeCandidate,
  inspectLibtorchCuda,
  libtorchCandidates,
  type Libtorch,
} from "./libtorch-search.js";
import { minorOf, releaseOf } from "./libtorch-version.js";
import { loadAddon, loadPreload, loadedAddon, type LoadedAddon } from "./load.js";

export type { CudaDevice, CudaDriver, CudaProblem } from "./cuda-driver.js";
export type { CudaLibrary } from "./cuda-library.js";

/** Where a model computes: `auto` is `cuda` where everything for it is there, else `cpu`. */
export type DeviceOption = "cpu" | "cuda" | "auto";

export interface CudaOptions {
  /** Folder of libtorch (holds lib/); nothing else is tried then. Default: as for the addon. */
  libtorch?: string | undefined;
}

/** Everything that CUDA needs on this machine, as far as it was found. */
export interface CudaReport {
  readonly driver: CudaDriver;
  readonly library?: CudaLibrary;
  /** The libtorch with CUDA that fits the library. */
  readonly libtorch?: Libtorch & { readonly cuda: string };
  /** The GPU that is used: the first one that the kernels run on. */
  readonly device?: CudaDevice;
  /** All that is missing, in the order in which it is needed; CUDA can be used where this is empty. */
  readonly problems: readonly CudaProblem[];
}

/** CUDA's libraries, open in this process. */
export interface LoadedCuda {
  readonly device: CudaDevice;
  /** librkif_cuda.so, for the addon's `openCudaKernels`. */
  readonly library: CudaLibrary;
  readonly libtorch: Libtorch;
}

interface Place extends CudaOptions {
  readonly root: string;
  readonly environment: Environment;
}

let opened: LoadedCuda | undefined;

/** What of CUDA is there and what is missing. Asks the driver, opens nothing of libtorch. */
export function inspectCuda(options: CudaOptions = {}): CudaReport {
  return inspectCudaAt({ ...options, root: packageRoot, environment: readEnvironment() });
}

/** As {@link inspectCuda}, for a package at `root`. */
export function inspectCudaAt(place: Place): CudaReport {
  const { root, environment } = place;
  const loaded = loadedAddon();
  const addons = loaded === undefined ? findAddons(root) : [loaded.files];
  const [first] = addons;
  if (first === undefined) {
    const found = `there is no addon under ${root}, which asks the driver`;
    return {
      driver: { devices: [] },
      problems: [{ part: "library", found, solutions: addonSolutions(root) }],
    };
  }
  const driver = describeDriver(loadPreload(first, root).probeCudaDriver(), environment);
  const libraries = addons.map((files) => ({ files, ...inspectCudaLibrary(files, root) }));
  const { files, ...found } = libraries.find((entry) => "library" in entry) ?? {
    files: first,
    ...libraries[0],
  };
  const library = "library" in found ? found.library : undefined;
  const libtorch = findCudaLibtorch(place, files, library);
  const device = chooseCard(driver, library);
  const cuda = library?.cuda ?? libtorch.libtorch?.cuda;
  const problems = [
    driver.problem ?? (cuda === undefined ? undefined : driverAgeProblem(driver, cuda)),
    "problem" in found ? found.problem : undefined,
    libtorch.problem,
    device.problem,
  ].filter((problem) => problem !== undefined);
  return {
    driver,
    ...(library === undefined ? {} : { library }),
    ...(libtorch.libtorch === undefined ? {} : { libtorch: libtorch.libtorch }),
    ...(device.device === undefined ? {} : { device: device.device }),
    problems,
  };
}

/**
 * Opens CUDA's half of libtorch and the kernels for GPUs, with the addon where it is not loaded yet; the same at every later call.
 * libtorch asks for its CUDA half once, when it first needs to know: call this before any tensor is computed with.
 *
 * @throws RkifError `CUDA_UNAVAILABLE`, which says which part is missing and what to do; as {@link loadAddon}
 */
export function loadCuda(options: CudaOptions = {}): LoadedCuda {
  if (opened === undefined) {
    opened = openCuda(inspectCuda(options), (libtorch) => {
      loadAddon({ libtorch });
      return loadedAddon() as LoadedAddon;
    });
  } else loadAddon(options);
  return opened;
}

/** As {@link loadCuda}, with what {@link inspectCudaAt} found and the addon that `load` gives for a folder of libtorch. */
export function openCuda(report: CudaReport, load: (libtorch: string) => LoadedAddon): LoadedCuda {
  const { device, library, libtorch, problems } = report;
  if (problems.length > 0 || device === undefined || library === undefined || libtorch === undefined) {
    throw cudaError(problems);
  }
  const { files } = load(libtorch.folder);
  if (dirname(files.addon) !== dirname(library.path)) {
    const found = `${library.path} is not for the addon that is used, ${files.addon}`;
    throw cudaError([{ part: "library", found, solutions: addonSolutions(packageRoot) }]);
  }
  try {
    const paths = CUDA_LIBRARIES.map((name) => join(libtorch.folder, "lib", name));
    loadPreload(files, packageRoot).dlopenCudaLibraries([...paths, library.path]);
  } catch (error) {
    const found = `a library cannot be opened: ${(error as Error).message}`;
    throw cudaError(
      [{ part: "libtorch", found, solutions: installSolutions(packageRoot, libtorch.version) }],
      error,
    );
  }
  return { device, library, libtorch };
}

/** The device to compute on, and for `auto` why it was chosen. */
export type ChosenDevice =
  | { readonly device: "cpu"; readonly reason?: string }
  | { readonly device: "cuda"; readonly cuda: LoadedCuda; readonly reason?: string };

/**
 * What `wanted` comes to on this machine, with CUDA's libraries opened where it is a GPU. `auto` takes the CPU where anything for the GPU
 * is missing; `reason` is then a line for the person, such as "device auto: the CPU, since ...".
 *
 * @throws RkifError `CUDA_UNAVAILABLE` where `wanted` is `cuda` and a part is missing
 */
export function chooseDevice(wanted: DeviceOption, options: CudaOptions = {}): ChosenDevice {
  if (wanted === "cpu") return { device: "cpu" };
  if (wanted === "cuda") return { device: "cuda", cuda: loadCuda(options) };
  const cpu = (why: string): ChosenDevice => ({ device: "cpu", reason: onCpu(why) });
  const [problem] = opened === undefined ? inspectCuda(options).problems : [];
  if (problem !== undefined) return cpu(problem.found);
  try {
    const cuda = loadCuda(options);
    return { device: "cuda", cuda, reason: `device auto: ${describeDevice(cuda.device)}` };
  } catch (error) {
    const why = cudaUnavailable(error);
    if (why === undefined) throw error;
    return cpu(why);
  }
}

/** The line that `auto` tells where it takes the CPU. */
export function onCpu(why: string): string {
  return `device auto: the CPU, since ${why}`;
}

/** The first line of an error that says that no GPU can be used; undefined for any other error. The addon's are no instances of RkifError. */
export function cudaUnavailable(error: unknown): string | undefined {
  const { code, message } = error as { code?: unknown; message: string };
  return code === "CUDA_UNAVAILABLE" ? message.split("\n", 1).join() : undefined;
}

/** "NVIDIA H200 (architecture 9.0, 140 GiB)". */
export function describeDevice({ name, architecture, memory }: CudaDevice): string {
  return `${name} (architecture ${architecture}, ${(memory / 2 ** 30).toFixed(0)} GiB)`;
}

/** The libtorch in use where there is one, else the first that fits the addon and has CUDA. */
function findCudaLibtorch(
  place: Place,
  files: AddonFiles,
  library: CudaLibrary | undefined,
): { libtorch?: Libtorch & { cuda: string }; problem?: CudaProblem } {
  const used = loadedAddon()?.libtorch;
  const candidates = used === undefined ? libtorchCandidates(place) : [{ ...used, named: false }];
  const minor = minorOf(files.info.libtorch);
  const tried: string[] = [];
  for (const candidate of candidates) {
    const { folder, version, origin } = candidate;
    let problem = candidateProblem(candidate, [minor], "the addon is built for");
    if (problem === undefined && folder !== undefined && version !== undefined) {
      const { cuda, problem: lacking } = inspectLibtorchCuda(folder);
      problem = lacking ?? majorProblem(cuda, library?.cuda);
      if (problem === undefined && cuda !== undefined) return { libtorch: { folder, version, origin, cuda } };
    }
    tried.push(describeCandidate(candidate, problem));
  }
  const found =
    used === undefined
      ? `found no libtorch ${minor} with CUDA`
      : `the libtorch that this process uses (${used.folder}) has no CUDA that can be used`;
  return {
    problem: { part: "libtorch", found, tried, solutions: installSolutions(place.root, files.info.libtorch) },
  };
}

function majorProblem(libtorch: string | undefined, library: string | undefined): string | undefined {
  if (libtorch === undefined || library === undefined) return undefined;
  if (parseInt(libtorch, 10) === parseInt(library, 10)) return undefined;
  return `it is built with CUDA ${libtorch}, the kernels with ${library}`;
}

function installSolutions(root: string, version: string): string[] {
  const rkif = isClone(root) ? "node dist/cli/main.js" : "npx rkif";
  const release = releaseOf(version);
  return [
    `fetch libtorch with CUDA into the cache (2.7 GB to download): ${rkif} libtorch install --cuda ${release}`,
    `install PyTorch for python3: python3 -m pip install torch==${release}`,
    "name one with CUDA that is already there: export RKIF_LIBTORCH=/path/to/site-packages/torch",
  ];
}

function chooseCard(
  driver: CudaDriver,
  library: CudaLibrary | undefined,
): { device?: CudaDevice; problem?: CudaProblem } {
  if (library === undefined || driver.devices.length === 0) return {};
  const problems = driver.devices.map((device) =>
    architectureProblem(device, library.architectures, library.cuda, driver),
  );
  const device = driver.devices[problems.indexOf(undefined)];
  if (device !== undefined) return { device };
  return problems[0] === undefined ? {} : { problem: problems[0] };
}

function cudaError(problems: readonly CudaProblem[], cause?: unknown): RkifError {
  const message = failureMessage(
    `no GPU can be used: ${problems.map(({ found }) => found).join("; ")}`,
    problems.flatMap(({ tried }) => tried ?? []),
    [...new Set(problems.flatMap(({ solutions }) => solutions))],
  );
  return new RkifError("CUDA_UNAVAILABLE", message, cause === undefined ? undefined : { cause });
}
