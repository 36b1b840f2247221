import type { Environment } from "./environment.js";

/** What the preloader tells of the driver: native/preload/cuda_driver.h. */
export interface DriverProbe {
  readonly missing: string;
  readonly failed: string;
  readonly error: number;
  readonly reason: string;
  readonly version: number;
  readonly devices: readonly { name: string; major: number; minor: number; memory: number }[];
}

/** A GPU as the driver describes it. */
export interface CudaDevice {
  /** Its number in this process: `CUDA_VISIBLE_DEVICES` and `CUDA_DEVICE_ORDER` are taken into account. */
  readonly index: number;
  /** Such as "NVIDIA H200". */
  readonly name: string;
  /** Compute capability, such as "9.0". */
  readonly architecture: string;
  /** Bytes. */
  readonly memory: number;
}

/** A part that CUDA needs and that is missing or does not fit. */
export interface CudaProblem {
  readonly part: "driver" | "library" | "libtorch" | "architecture";
  /** What was found and what was expected. */
  readonly found: string;
  /** Places that were looked at in vain. */
  readonly tried?: readonly string[];
  /** What to do, in words and commands. */
  readonly solutions: readonly string[];
}

export interface CudaDriver {
  /** The newest CUDA that it supports, such as "13.2". */
  readonly version?: string;
  readonly devices: readonly CudaDevice[];
  readonly problem?: CudaProblem;
}

/** `CUDA_ERROR_NO_DEVICE`: the driver works and sees no GPU. */
const NO_DEVICE = 100;
/** Driver releases for Linux that brought a major version of CUDA. */
const DRIVER_RELEASES: Readonly<Record<string, string>> = { "12": "525", "13": "580" };

const LOOK = "see what the driver says: nvidia-smi";

/** The driver that was probed, with what keeps it from being used. */
export function describeDriver(probe: DriverProbe, environment: Environment): CudaDriver {
  const devices = probe.devices.map(({ name, major, minor, memory }, index) => ({
    index,
    name,
    architecture: `${major}.${minor}`,
    memory,
  }));
  const version = probe.version > 0 ? versionText(probe.version) : undefined;
  const known = version === undefined ? { devices } : { version, devices };
  const problem = driverProblem(probe, environment);
  return problem === undefined ? known : { ...known, problem };
}

/** 13020 -> "13.2". */
function versionText(version: number): string {
  return `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`;
}

function driverProblem(probe: DriverProbe, environment: Environment): CudaProblem | undefined {
  const part = "driver";
  if (probe.missing !== "") {
    return {
      part,
      found: `there is no usable NVIDIA driver: ${probe.missing}`,
      solutions: [
        "install the NVIDIA driver of your system (580 or newer), and load it: nvidia-smi must list the card",
        "in a container: start it with the GPU (docker run --gpus all), which brings libcuda.so.1 in",
      ],
    };
  }
  if (probe.failed !== "" && probe.error !== NO_DEVICE) {
    return {
      part,
      found: `the NVIDIA driver does not work: ${probe.failed} failed with ${probe.error} (${probe.reason})`,
      solutions: [LOOK, "after an update of the driver: restart the machine"],
    };
  }
  if (probe.failed === "" && probe.devices.length > 0) return undefined;
  const visible = environment.variables["CUDA_VISIBLE_DEVICES"];
  return visible === undefined
    ? { part, found: "the NVIDIA driver sees no GPU", solutions: [LOOK] }
    : {
        part,
        found: `the NVIDIA driver sees no GPU with CUDA_VISIBLE_DEVICES="${visible}"`,
        solutions: ["let the process see a card: unset CUDA_VISIBLE_DEVICES, or set it to 0", LOOK],
      };
}

/** What keeps `driver` from running what was built with CUDA `cuda`: every minor version of one major version runs on its drivers. */
export function driverAgeProblem(driver: CudaDriver, cuda: string): CudaProblem | undefined {
  const [major = ""] = cuda.split(".");
  if (driver.version === undefined || parseInt(driver.version, 10) >= Number(major)) return undefined;
  const release = DRIVER_RELEASES[major];
  return {
    part: "driver",
    found: `the NVIDIA driver is too old: it supports CUDA up to ${driver.version}, and CUDA ${cuda} is needed`,
    solutions: [
      `update the NVIDIA driver${release === undefined ? "" : `: CUDA ${major} needs version ${release} or newer`}`,
    ],
  };
}

/** What keeps `device` from running kernels with machine code for `architectures` (80 for 8.0), made by CUDA `cuda`. */
export function architectureProblem(
  device: CudaDevice,
  architectures: readonly number[],
  cuda: string,
  driver: CudaDriver,
): CudaProblem | undefined {
  const wanted = Number(device.architecture.replace(".", ""));
  const oldest = Math.min(...architectures);
  const where = `${device.name} has architecture ${device.architecture}`;
  if (wanted < oldest) {
    return {
      part: "architecture",
      found: `${where}; the kernels need ${dotted(oldest)} (Ampere) or newer`,
      solutions: ["use a newer card, or the CPU: device cpu"],
    };
  }
  const hasCode = architectures.some(
    (own) => Math.floor(own / 10) === Math.floor(wanted / 10) && own <= wanted,
  );
  if (hasCode || driver.version === undefined || Number(driver.version) >= Number(cuda)) return undefined;
  return {
    part: "architecture",
    found: `${where}, for which the driver compiles the kernels itself: it supports CUDA up to ${driver.version}, and they were made with ${cuda}`,
    solutions: ["update the NVIDIA driver"],
  };
}

function dotted(architecture: number): string {
  return `${Math.floor(architecture / 10)}.${architecture % 10}`;
}
