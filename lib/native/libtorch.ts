/** Finding, checking and fetching libtorch. */
export { describeAddon, findAddons, prebuiltLibtorch, type AddonFiles } from "./addon-files.js";
export { packageRoot } from "./failure.js";
export { readEnvironment, type Environment } from "./environment.js";
export { installLibtorch, type InstallOptions, type LibtorchExtent } from "./libtorch-install.js";
export {
  describeCandidate,
  findLibtorch,
  inspectLibtorch,
  inspectLibtorchCuda,
  libtorchCache,
  libtorchCandidates,
  searchLibtorch,
  type Libtorch,
  type LibtorchCandidate,
  type SearchOptions,
} from "./libtorch-search.js";
export { DEFAULT_LIBTORCH, SUPPORTED_LIBTORCH, minorOf, releaseOf } from "./libtorch-version.js";
export type { InstallProgress } from "./wheels.js";
