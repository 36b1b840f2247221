// The first loss of a process that uses the package as it ships (dist/), without a TypeScript loader. One request on stdin: the
// checkpoint's folder, its adapter, the type, the device, the threads and a batch.
import { createInterface } from "node:readline";
import { loadModel, pack } from "recurrent-kif";

for await (const line of createInterface(process.stdin)) {
  const { folder, adapter, type, device, threads, batch } = JSON.parse(line);
  const trainable = { kind: "none" };
  const { model } = await loadModel({ model: folder, adapter, baseType: type, device, threads, trainable });
  const records = batch.inputIds.map((ids, i) => ({
    inputIds: Int32Array.from(ids),
    labels: Int32Array.from(batch.labels[i]),
    key: batch.firstKey + i,
  }));
  const labels = records.flatMap((record) => [...record.labels]).filter((id) => id !== -100).length;
  const sums = await model.loss(pack(records));
  const loss = sums.reduce((total, sum) => total + sum, 0) / labels;
  process.stdout.write(`${JSON.stringify({ loss })}\n`);
}
