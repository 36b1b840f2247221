/**
 * The addon's whole surface, in one file. A test compares it with what the addon exports.
 *
 * Rules that hold for everything here:
 * - All libtorch work runs on one compute thread, in the order of the calls. A method that returns `void` or a handle only
 *   enqueues; a method that returns a promise settles when its work is done.
 * - Arguments are checked at the call (`INVALID_ARGUMENT`, `DISPOSED` thrown synchronously as errors with a `code`). What
 *   fails later on the compute thread (out of memory, a libtorch error) rejects the next promise.
 * - `dispose()` is idempotent; it releases the memory after the work already enqueued. Any later use throws `DISPOSED`.
 */

/** How this addon was built. */
export interface BuildInfo {
  /** libtorch version compiled against, such as "2.15.0". */
  readonly libtorch: string;
  /** Whether the parallel loops were compiled with OpenMP; without it every kernel is serial. */
  readonly openmp: boolean;
  /** Instruction set libtorch dispatches to, such as "AVX512". */
  readonly cpuCapability: string;
}

export interface Disposable {
  dispose(): void;
  readonly disposed: boolean;
}

/** Stops work between layers: the promise of the call it was given to rejects with code `ABORTED`. Thread-safe, never reset. */
export interface AbortFlag {
  abort(): void;
  readonly aborted: boolean;
}

/** A flat fp32 vector in native memory. */
export interface Vector extends Disposable {
  readonly length: number;
  /** Copies `values` (length must match `[offset, offset + values.length)`) at the call; the caller may change them after. */
  set(values: Float32Array, offset?: number): void;
  /** Values `[offset, offset + count)`; everything by default. */
  read(offset?: number, count?: number): Promise<Float32Array>;
  fill(value: number): void;
  copyFrom(other: Vector): void;
  /** A new vector with the same values. */
  copy(): Vector;
  /** this = a - b (the task vector). */
  setDifference(a: Vector, b: Vector): void;
  /** A new vector, this - other. */
  minus(other: Vector): Vector;
  /** this += scale * other. */
  addScaled(other: Vector, scale: number): void;
  /** this += scale * a * b, element by element. */
  addProduct(a: Vector, b: Vector, scale: number): void;
  scale(factor: number): void;
  /** L2 norm in double precision, and how many elements are NaN or infinite (those are left out of the norm). */
  norm(): Promise<{ norm: number; nonFinite: number }>;
}

/** One bit per element, with the thresholds it was made from. */
export interface Mask extends Disposable {
  readonly length: number;
  /** One byte per element, 0 or 1. */
  read(): Promise<Uint8Array>;
  count(): Promise<number>;
  /** One threshold per segment (NaN where the scores held a NaN: that segment's mask is then empty). */
  thresholds(): Promise<Float32Array>;
}

export interface ImportanceOptions {
  /** alpha1 of the paper: decay of the moving average of |w * g|. */
  importanceDecay: number;
  /** alpha2 of the paper: decay of the moving average of the uncertainty. */
  uncertaintyDecay: number;
  /** Where given, elements whose bit is 0 keep their averages. */
  mask?: Mask;
}

/** Moving averages of importance and uncertainty, two different vectors; score = importance * uncertainty. */
export interface ImportanceVectors {
  importance: Vector;
  uncertainty: Vector;
}

/** All different vectors, those of `importance` included. */
export interface AdamWVectors {
  parameters: Vector;
  gradients: Vector;
  /** First and second moments. */
  m: Vector;
  v: Vector;
}

export interface AdamWOptions {
  learningRate: number;
  /** 1-based number of this update, for the bias correction. */
  update: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  weightDecay: number;
  /** Gradients are scaled by min(1, maxGradNorm / (norm + 1e-6)); null: no clipping. */
  maxGradNorm: number | null;
  /** Importance of the clipped gradient, updated in the same pass, from the weight before or after the update. */
  importance?: ImportanceVectors & ImportanceOptions & { reads: "before" | "after" };
}

export interface StepReport {
  /** Norm of all gradients before clipping. NaN or infinite where the gradient is. */
  gradNorm: number;
  /** Count of NaN or infinite gradients. */
  nonFinite: number;
  /** False where the gradient was not finite, or a loss added to the same {@link StepSlot}: then nothing was changed. */
  applied: boolean;
}

/** One step's place in {@link StepReports}. */
export interface StepSlot {
  reports: StepReports;
  /** From 0 to below the capacity. */
  index: number;
}

/** A step's report as it is taken. */
export interface TakenStep extends StepReport {
  /** Sum of the losses added to the slot. */
  lossSum: number;
  /** Updates of the step's optimizer so far, this one included where it was applied. */
  updates: number;
}

/** What steps found out, where the model is: until it is taken, nobody waits for the device. */
export interface StepReports extends Disposable {
  readonly capacity: number;
  /** Where they are: "cpu", or a GPU such as "cuda:0". */
  readonly device: string;
  /** The first `count` reports, once the device has them. All slots are then as new. */
  take(count: number): Promise<TakenStep[]>;
}

export interface SelectOptions {
  /** Share of weights to keep, 0..1 (1 - delta of the paper). */
  keepFraction: number;
  /**
   * "quantile": score `compare` the (1 - keepFraction) quantile, linear interpolation as torch.quantile, rank in double precision.
   * "top-k": exactly round(keepFraction * n) elements, the largest; equal scores by lower index first.
   */
  by: "quantile" | "top-k";
  /** Only for "quantile". */
  compare: ">=" | ">";
  /** Lengths of consecutive parts that get a threshold each; they add up to the vector's length. Default: one part. */
  segments?: number[];
}

/** [weight of tauIn, weight of tauOut]. */
export type WeightPair = readonly [number, number];

export interface FusionTable {
  onlyIn: WeightPair;
  onlyOut: WeightPair;
  both: WeightPair;
  neither: WeightPair;
}

export interface FusionVectors {
  /** Written: start + (wIn * tauIn + wOut * tauOut). May be the model's parameters, and `start`; may not be a task vector. */
  parameters: Vector;
  start: Vector;
  tauIn: Vector;
  tauOut: Vector;
}

export interface FusionReport {
  /** False where a threshold or score is NaN: then parameters = start. */
  fused: boolean;
  onlyIn: number;
  onlyOut: number;
  both: number;
  neither: number;
}

export interface TensorLayout {
  /** PEFT key for an adapter ("base_model.model....lora_A.weight"), Hugging Face name in full-parameter mode. */
  readonly name: string;
  readonly shape: number[];
  /** First element in the flat vector. */
  readonly offset: number;
}

/** What keeps an adapter's A apart from those of the frozen adapters. */
export interface OrthogonalityOptions {
  /** Weight of the sum over modules and entries of |A_frozen A^T|, or of the entries' squares. */
  l1: number;
  /** Weight of the sum of the Frobenius norms of every A and B. */
  l2: number;
  form: "absolute" | "squared";
}

/** Activations by their names here: "gelu" is exact, "gelu_new" the tanh approximation. */
export type Activation = "relu" | "gelu" | "gelu_new" | "silu";

/** T5's hyperparameters, resolved from either form of config.json. */
export interface T5Config {
  vocabSize: number;
  dModel: number;
  dKv: number;
  dFf: number;
  numHeads: number;
  numLayers: number;
  numDecoderLayers: number;
  relativeAttentionNumBuckets: number;
  relativeAttentionMaxDistance: number;
  layerNormEpsilon: number;
  dropoutRate: number;
  activation: Activation;
  /** False: wi; true: wi_0, wi_1. */
  gated: boolean;
  /** True: the head is the embedding; a "lm_head.weight" in the file is then unexpected unless equal. */
  tieWordEmbeddings: boolean;
  /** Multiply the decoder's output by dModel ** -0.5 before the head. */
  scaleDecoderOutputs: boolean;
  padTokenId: number;
  decoderStartTokenId: number;
}

/** Rotary position embedding (Su et al., arXiv 2104.09864) and how its frequencies are scaled for longer texts. */
export interface RopeConfig {
  theta: number;
  scaling:
    | null
    /** Positions divided by `factor`. */
    | { type: "linear"; factor: number }
    /** NTK-aware: theta grows with the longest sequence of a call beyond `maxPositions`. */
    | { type: "dynamic"; factor: number; maxPositions: number }
    /** Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between. */
    | {
        type: "llama3";
        factor: number;
        lowFreqFactor: number;
        highFreqFactor: number;
        originalMaxPositions: number;
      };
}

/** LLaMA, Mistral, Qwen 2, Qwen 3: pre-norm decoders with rotary positions and a gated feed-forward layer. */
export interface DecoderConfig {
  vocabSize: number;
  hiddenSize: number;
  intermediateSize: number;
  numLayers: number;
  numHeads: number;
  /** Divides `numHeads`; groups of heads share keys and values. */
  numKeyValueHeads: number;
  /** Even. Need not be hiddenSize / numHeads. */
  headSize: number;
  normEpsilon: number;
  activation: Activation;
  rope: RopeConfig;
  /** Per layer: how many of the last positions, its own included, a token attends to; null: all before it. */
  slidingWindows: (number | null)[];
  /** RMS norm of every head's query and key before the rotation (Qwen 3). */
  queryKeyNorm: boolean;
  /** Biases of the q, k, v projections; of the o projection; of the feed-forward layers. */
  queryKeyValueBias: boolean;
  outputBias: boolean;
  mlpBias: boolean;
  attentionDropout: number;
  tieWordEmbeddings: boolean;
}

/** BERT, RoBERTa, DistilBERT: post-norm encoders whose mean-pooled, normalised states are compared by cosine. */
export interface EncoderConfig {
  /** How the checkpoint names its tensors. */
  naming: "bert" | "roberta" | "distilbert";
  vocabSize: number;
  hiddenSize: number;
  intermediateSize: number;
  numLayers: number;
  numHeads: number;
  /** Rows of the position table. */
  maxPositions: number;
  /** Row of the first token: 0, RoBERTa: padding id + 1. */
  firstPosition: number;
  /** Rows of the token type table; 0: there is none (DistilBERT). All tokens have type 0. */
  typeVocabSize: number;
  normEpsilon: number;
  activation: Activation;
  hiddenDropout: number;
  attentionDropout: number;
  /** Logits are this times the cosine similarity of text and label. */
  similarityScale: number;
}

/** A family with its hyperparameters. */
export type ModelFamily =
  | { family: "t5"; config: T5Config }
  | { family: "decoder"; config: DecoderConfig }
  | { family: "encoder"; config: EncoderConfig };

/** A linear layer that gets a low-rank adapter: y = W x + scale * B (A x). */
export interface AdaptedModule {
  /** Its path, as `linearModules` lists them. */
  module: string;
  r: number;
  /** alpha / r, or alpha / sqrt(r) for rsLoRA. */
  scale: number;
}

/**
 * Types of the frozen base weights in memory. With "bfloat16", linear layers take their input and give their output rounded to it.
 * "int8": one scale for each output of a linear layer, quantised at load; the layer computes as with "bfloat16", its weights
 * dequantised a block at a time. Embeddings are then bfloat16. The head, norms, attention, the adapter and the loss are fp32
 * whatever the type.
 */
export type BaseType = "float32" | "bfloat16" | "int8";

export type ModelOptions = ModelFamily & {
  /** Safetensors files that together hold the weights. */
  files: string[];
  /** By file, tensors in it that are not the checkpoint's (a shard may hold more than its index says). */
  skip?: Record<string, string[]>;
  baseType: BaseType;
  /**
   * What trains: an adapter (its tensors in the order of `linearModules`, whatever the order of `modules`; none: nothing trains), or
   * every weight (then `baseType` must be "float32").
   */
  trainable: { kind: "lora"; dropout: number; modules: AdaptedModule[] } | { kind: "full" };
  /** Overrides the config's dropout rates in training. */
  baseDropout?: number;
  /** Read all weights at load instead of mapping the files. */
  copyWeights?: boolean;
  /**
   * Keep frozen linear layers (not of int8) in the layout of the machine's matrix products: faster, and from the first training step on,
   * which needs a second one for the backward pass, for twice these layers' memory; on a bf16 base and a CPU that multiplies bf16, steps
   * then read a copy of the head in bf16, too. Where weights would else be read from the mapped files, they are in memory of their own then.
   * Layers stay as they are where libtorch or the CPU has no such layout. Default false.
   */
  prepack?: boolean;
  /** Where the weights are and all is computed. Default "cpu"; "cuda" is the first GPU. Needs {@link Addon.openCuda}. */
  device?: "cpu" | "cuda" | `cuda:${number}`;
  /**
   * In training, layers keep their inputs only and are computed again in the backward pass (Chen et al., arXiv 1604.06174): activations take
   * about as much memory as one layer's, for a third more time. Gradients differ by rounding at most. Default false.
   */
  gradientCheckpointing?: boolean;
};

/**
 * Records laid end to end. Labels of -100 are not predicted.
 * T5: `inputIds` are the encoder's, `labels` the decoder's targets.
 * Decoder: `labels` run parallel to `inputIds` (`labelLengths` equal `inputLengths`): the label at a position is predicted from the
 * tokens before it, so a record's first label never is.
 * Encoder: every record has one label, the index of its candidate; the candidates are texts of their own.
 */
export interface PackedBatch {
  inputIds: Int32Array;
  /** Tokens of each record; every one at least 1. */
  inputLengths: Int32Array;
  labels: Int32Array;
  labelLengths: Int32Array;
  /** One key per record, so that dropout belongs to the record wherever it stands in a batch. */
  recordKeys: Uint32Array;
  /** Encoder only: the candidates' tokens end to end, and the tokens of each. */
  candidateIds?: Int32Array;
  candidateLengths?: Int32Array;
}

/** The counters that dropout is a function of. */
export interface DropoutCounters {
  seed: number;
  task: number;
  loop: number;
  step: number;
}

export interface AccumulateOptions {
  /** The loss is the sum over label tokens divided by this: the label tokens of the whole step. */
  divisor: number;
  /** Multiplies the loss before the backward pass; the reported loss is without it. */
  lossScale: number;
  /** null: no dropout anywhere. */
  dropout: DropoutCounters | null;
  /**
   * For every row of the adapter's tensors, in the order of `layout`: the sum over tokens of |A x| (x after dropout) or of |B (A x)|,
   * without `scale`, is added. Its length is that of all rows. LoRA only.
   */
  outputSums?: Vector;
  /** Where the losses are added, instead of being read: nothing then waits for the device. */
  into?: StepSlot;
  abort?: AbortFlag;
}

export interface LossReport {
  /** Sum of the cross entropies over label tokens, in double precision. */
  lossSum: number;
  labelTokens: number;
}

export interface Sampling {
  /** Above 0; logits are divided by it. */
  temperature: number;
  /** Above 0, at most 1: the most probable tokens that together reach this probability are drawn from. */
  topP: number;
  /** Draws are a function of it, the prompt's key and the position. */
  seed: number;
  /** One key for each prompt, so that draws belong to it whatever call it is in. Default: its index in the call. */
  keys?: Uint32Array;
}

export interface GenerateOptions {
  inputIds: Int32Array;
  inputLengths: Int32Array;
  maxNewTokens: number;
  /** The end tokens cannot be chosen for the first n new tokens. Default 0. */
  minNewTokens?: number;
  /** A sequence ends with any of these; empty: only at `maxNewTokens`. */
  endTokenIds: number[];
  /** Absent: the best token is taken (greedy). */
  sampling?: Sampling;
  /**
   * Most prompt tokens that are computed and kept at a time; a longer prompt goes alone. Where answers end, the next prompts enter, the
   * longest first. Memory is bounded by it and by `batchRows`, not by the number of prompts. Absent: all prompts at once.
   */
  batchTokens?: number;
  /** Most prompts that are answered at a time. Absent: as many as `batchTokens` allows. */
  batchRows?: number;
  /** Told the new tokens after each step: the indices of the prompts that got one, and the tokens. */
  onTokens?: (prompts: Int32Array, tokens: Int32Array) => void;
  /** Told, after that, the indices of the prompts whose answers have ended. */
  onEnded?: (prompts: Int32Array) => void;
  abort?: AbortFlag;
}

export interface ScoreOptions {
  inputIds: Int32Array;
  inputLengths: Int32Array;
  /** All options' tokens end to end. */
  optionIds: Int32Array;
  optionLengths: Int32Array;
  /** For each option, the index of its prompt. */
  optionPrompts: Int32Array;
  abort?: AbortFlag;
}

export interface EmbedOptions {
  inputIds: Int32Array;
  inputLengths: Int32Array;
  abort?: AbortFlag;
}

export interface Model extends Disposable {
  /** The tensors of the flat vector: adapter tensors in PEFT's state-dict order, or all weights. */
  readonly layout: TensorLayout[];
  /** The trainable parameters; the same handle at every access, owned by the model. */
  readonly parameters: Vector;
  readonly gradients: Vector;
  /** Adds d(lossScale * lossSum / divisor) / d(parameters) to `gradients`. */
  accumulate(
    batch: PackedBatch,
    options: AccumulateOptions & { into: StepSlot },
  ): Promise<Pick<LossReport, "labelTokens">>;
  accumulate(batch: PackedBatch, options: AccumulateOptions): Promise<LossReport>;
  /** Per record: sum of the cross entropies over its label tokens. No dropout, no gradients. */
  loss(batch: PackedBatch, abort?: AbortFlag): Promise<Float64Array>;
  /**
   * No dropout, row by row. T5: logits at every label position, also of -100 labels, [label tokens, vocabulary]. Decoder: what follows
   * every input token, [input tokens, vocabulary]. Encoder: [records, candidates].
   */
  logits(batch: PackedBatch): Promise<Float32Array>;
  /**
   * The new tokens of each prompt, up to and including the end token. Not with an encoder (INVALID_ARGUMENT). How a prompt's sums are rounded
   * depends on how many prompts a call has: between tokens of all but the same probability the choice may.
   */
  generate(options: GenerateOptions): Promise<Int32Array[]>;
  /** Sum of log p(token | prompt, earlier option tokens) for each option. Not with an encoder (INVALID_ARGUMENT). */
  scoreOptions(options: ScoreOptions): Promise<Float64Array>;
  /** Encoder only: the mean of every text's states, scaled to length 1, [texts, hiddenSize]. No dropout. */
  embed(texts: EmbedOptions): Promise<Float32Array>;
  /** Adapters that were frozen: every layer adds scale * B (A x) of each, with the dropout of the one that trains. */
  readonly frozenAdapters: number;
  /** Freezes a copy of the adapter as it is, beside those frozen before; the one that trains keeps its values. LoRA only. */
  freezeAdapter(): void;
  /** A new vector: the frozen adapters one after another, each laid out as `parameters`. */
  copyFrozen(): Vector;
  /** These adapters, as {@link copyFrozen} gives them, in place of those that are frozen; null: none. LoRA only. */
  setFrozen(adapters: Vector | null): void;
  /** Adds the gradient of what {@link OrthogonalityOptions} describe to `gradients`; its value. LoRA only. */
  addOrthogonalityGradient(options: OrthogonalityOptions): Promise<number>;
  /**
   * Adds the gradient of `weight` times the sum over modules of ||W * F||^2 (elementwise) to `gradients`, W = scale B A and F the same of
   * the frozen adapters together; its value. LoRA only.
   */
  addOverlapGradient(weight: number): Promise<number>;
  /**
   * Folds the adapter, and those that are frozen, into the base weights (rounded to `baseType`). Until unmerged, training is refused, and
   * changes of the parameters or of what is frozen have no effect on what the model computes. LoRA only.
   */
  mergeAdapter(): void;
  /** Restores the base weights bit for bit. */
  unmergeAdapter(): void;
}

export type StoredType = "F64" | "F32" | "F16" | "BF16" | "I64" | "I32" | "I16" | "I8" | "U8" | "BOOL";

export interface StoredTensor {
  readonly name: string;
  readonly type: string;
  readonly shape: number[];
  readonly byteLength: number;
}

/** A memory-mapped safetensors file, checked as a whole when opened. */
export interface SafetensorsFile extends Disposable {
  readonly path: string;
  /** In file order of their data. */
  readonly tensors: StoredTensor[];
  readonly metadata: Record<string, string>;
  /** Values converted to fp32 (floating types and integers). */
  readFloat32(name: string): Promise<Float32Array>;
  /** The stored bytes, copied. */
  readBytes(name: string): Promise<Uint8Array>;
  /** Converts and copies into `vector` at `offset`. */
  readInto(name: string, vector: Vector, offset: number): void;
}

export interface TensorToWrite {
  name: string;
  shape: number[];
  /** Values are rounded to nearest even for F16 and BF16. */
  type: "F32" | "F16" | "BF16";
  /** A vector's slice starting at `offset` (default 0), or values copied at the call. */
  from: Vector | Float32Array;
  offset?: number;
}

/** A tensor of an open file under a name of its own choice: its bytes as they are stored, whatever the type. */
export interface TensorToCopy {
  name: string;
  from: SafetensorsFile;
  /** Its name in the file; default `name`. */
  tensor?: string;
  /** Added to it in fp32; the sum is rounded once to the stored type, which must be F32, F16 or BF16. */
  add?: LowRankProduct;
}

/** scale * B A, of two tensors of an open file. */
export interface LowRankProduct {
  from: SafetensorsFile;
  /** Name of A, [r, in]. */
  a: string;
  /** Name of B, [out, r]. */
  b: string;
  scale: number;
}

/** What a GPU's memory is used for by this process' pool, in bytes; what libraries take by themselves is not in it. */
export interface DeviceMemory {
  /** Of tensors, and of kernels under way. */
  readonly allocated: number;
  /** What the pool has taken of the card for them, and keeps. */
  readonly reserved: number;
  /** The most at once since the beginning, or since the peaks were last reset. */
  readonly peakAllocated: number;
  readonly peakReserved: number;
}

/** What an operator took while a profile was measured. */
export interface OperatorTime {
  /**
   * Of libtorch ("aten::mm") or a loop of the addon's own ("rkif::attention"). "rkif::wait" is what reads values that a GPU computed and
   * waits for it; on the CPU, where it would.
   */
  readonly name: string;
  /** Without the operators it called. */
  readonly seconds: number;
  readonly calls: number;
}

export interface Addon {
  readonly build: BuildInfo;
  /** Threads used inside one operation, 1..1024. Takes effect for the work enqueued after it. */
  setThreads(threads: number): void;
  getThreads(): Promise<number>;
  /**
   * Measures where the compute thread's time goes, and that of the threads of a GPU's backward passes, of the work enqueued after it; every
   * operator is then a little slower. Of a GPU's operators it is the time to hand them to the GPU.
   */
  startProfile(): void;
  /** Ends what {@link startProfile} began, after the work already enqueued. Longest first; empty where none was begun. */
  endProfile(): Promise<OperatorTime[]>;
  /**
   * Opens the library of CUDA kernels at `path`, whose own libraries are loaded already, for models on `device` (default "cuda", the first
   * GPU). Before anything is computed on the CPU; nothing is changed where it fails.
   *
   * @throws RkifError `CUDA_UNAVAILABLE` where the process has computed before libtorch's CUDA half was open, or the GPU does not work
   */
  openCuda(path: string, device?: "cuda" | `cuda:${number}`): Promise<void>;
  /**
   * The pool of a GPU's memory takes no more than `bytes` from now on; null, or as much as the card has: all of it. A computation that needs
   * more is rejected with `OUT_OF_MEMORY`. Needs {@link openCuda}, as all three.
   *
   * Rejected with `INVALID_ARGUMENT` where more is in use already.
   */
  limitDeviceMemory(device: string, bytes: number | null): Promise<void>;
  /** What the pool holds when the work already enqueued has been given to the GPU. */
  deviceMemory(device: string): Promise<DeviceMemory>;
  /** From here on the peaks are those of what follows. */
  resetPeakDeviceMemory(device: string): void;
  createAbortFlag(): AbortFlag;
  /** A vector of zeros, on the device of `like` (absent: in the CPU's memory). */
  createVector(length: number, like?: Vector): Vector;

  /** Updates both averages from |weights * gradients|. */
  updateImportance(
    into: ImportanceVectors,
    weights: Vector,
    gradients: Vector,
    options: ImportanceOptions,
  ): void;
  /** A new vector: importance * uncertainty. */
  score(of: ImportanceVectors): Vector;
  /** Exact quantiles (0..1 each) of one vector, torch.quantile's linear interpolation. */
  quantiles(values: Vector, at: number[]): Promise<Float64Array>;
  select(scores: Vector, options: SelectOptions): Mask;
  /**
   * Zeros the rows of every tensor whose sum lies below the tensor's quantile `at` of its rows' sums (0..1, linear interpolation); all of
   * a tensor's where a sum is NaN.
   * @param sums - one for each row of the tensors, in their order
   * @param tensors - matrices that together are the vector
   */
  maskRows(values: Vector, sums: Vector, tensors: readonly TensorLayout[], at: number): void;
  /** A mask from given bytes (0 or 1), without thresholds, on the device of `like` (absent: in the CPU's memory). */
  createMask(bits: Uint8Array, like?: Vector): Mask;
  /** Empty reports of so many steps, on the device of `like` (absent: in the CPU's memory). */
  createStepReports(capacity: number, like?: Vector): StepReports;
  fuse(vectors: FusionVectors, masks: { in: Mask; out: Mask }, table: FusionTable): Promise<FusionReport>;
  /**
   * Weights softmax over {in, out} of the min-max normalised scores at temperature `temperature`. Where `weights` is given, they are
   * written there as well: two vectors that have no other part in this fusion but `scores`.
   */
  fuseAdaptive(
    vectors: FusionVectors,
    scores: { in: Vector; out: Vector },
    temperature: number,
    weights?: { in: Vector; out: Vector },
  ): Promise<{ fused: boolean }>;
  /** Norm, clip, AdamW and, where asked, importance. Nothing changes where a gradient is not finite. */
  adamwStep(vectors: AdamWVectors, options: AdamWOptions): Promise<StepReport>;
  /**
   * The same without waiting for the device: the report goes into a slot, whose losses also decide whether the update is applied. `after`
   * is the slot of this optimizer's last step where that has not been taken yet: the update's number follows from it instead of `update`.
   */
  adamwStep(vectors: AdamWVectors, options: AdamWOptions & { into: StepSlot & { after?: number } }): void;

  /** Paths of the linear layers an adapter can be put on, in the order of the Hugging Face state dict; the head is none of them. */
  linearModules(model: ModelFamily): string[];
  loadModel(options: ModelOptions): Promise<Model>;
  openSafetensors(path: string): Promise<SafetensorsFile>;
  /**
   * Writes beside `path` and renames; a reader of the old file keeps the old content. Tensors of files go through tensor by tensor, so
   * that a checkpoint larger than the memory can be copied.
   */
  writeSafetensors(
    path: string,
    tensors: (TensorToWrite | TensorToCopy)[],
    metadata?: Record<string, string>,
  ): Promise<void>;
}
