/** Every code an {@link RkifError} can carry. Codes are stable; messages may change. */
export type ErrorCode =
  | "ABORTED" // the caller's AbortSignal or an interrupt stopped the work; everything is kept
  | "ADDON_MISSING" // no built or prebuilt addon fits this machine
  | "ADDON_FAILED" // the addon was found and could not be loaded
  | "LIBTORCH_MISSING" // no usable libtorch was found
  | "LIBTORCH_UNSUPPORTED" // an explicitly named libtorch has a version this build cannot use
  | "LIBTORCH_INSTALL" // fetching libtorch failed
  | "CHECKPOINT_INVALID" // a safetensors, index or tokenizer file breaks its format
  | "CHECKPOINT_MISMATCH" // tensors are missing, unexpected or of the wrong shape
  | "CONFIG_INVALID" // config.json or a run configuration is not what is expected
  | "CONFIG_UNSUPPORTED" // a known option this package cannot honour
  | "CUDA_UNAVAILABLE" // a GPU was asked for, and driver, card or a library for it is missing or does not fit
  | "DATA_INVALID" // a task folder, file, record or field is not what is expected
  | "DISPOSED" // a handle was used after dispose()
  | "INVALID_ARGUMENT" // a call's argument has the wrong type, length or range
  | "NATIVE" // libtorch reported an error
  | "NON_FINITE" // too many steps in a row had a non-finite loss or gradient, or generation non-finite logits
  | "OUT_OF_MEMORY"
  | "RUN_CONFLICT" // a run folder belongs to another configuration or process
  | "RUN_INVALID"; // a run folder is missing, incomplete or damaged

/** The one error type of this package. `code` is stable and meant for programs, `message` for people. */
export class RkifError extends Error {
  override readonly name: string = "RkifError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** True for the error that a stopped run ends with. */
export function isAborted(error: unknown): boolean {
  return error instanceof Error && (error as { code?: unknown }).code === "ABORTED";
}
