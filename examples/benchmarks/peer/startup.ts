/** From the start of a process to its first loss: loading the runtime, the libraries and the model, and one batch. */
import { pairedRatio, relativeDifference, type Ratio } from "./ratios.js";
import type { LossRequest, Way } from "./protocol.js";
import { alternate, batchOf, loadRequest, openPeer, type Setting } from "./setting.js";
import { Side } from "./side.js";

export interface StartupResult {
  here: number[];
  peer: number[];
  ratio: Ratio;
}

/** @throws an error where the losses differ in fp32. */
export async function measureStartup(setting: Setting, way: Way): Promise<StartupResult> {
  const request: LossRequest = { do: "loss", batch: batchOf(setting, 0) };
  const losses = { here: NaN, peer: NaN };
  const seconds = await alternate(
    setting.rounds,
    async () => {
      const started = performance.now();
      await using side = Side.start(setting.threads);
      losses.here = (
        await side.request<{ loss: number }>({ ...loadRequest(setting, null), ...request })
      ).loss;
      return (performance.now() - started) / 1000;
    },
    async () => {
      const started = performance.now();
      await using side = await openPeer(setting, way);
      losses.peer = (await side.request<{ loss: number }>(request)).loss;
      return (performance.now() - started) / 1000;
    },
  );
  if (setting.type === "float32" && !(relativeDifference(losses.here, losses.peer) <= 1e-4)) {
    throw new Error(`${setting.model}: the first loss is ${losses.here} here and ${losses.peer} of the peer`);
  }
  return { ...seconds, ratio: pairedRatio(seconds.peer, seconds.here) };
}
