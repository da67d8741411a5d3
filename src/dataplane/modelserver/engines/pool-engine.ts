/** Several copies of one model, so that as many runs are under way at once. */
import type { TensorValue } from "../../../kernel/tensors/index.js";
import type { Engine } from "./types.js";

/** Copies of a model behind one engine; each run goes to the copy with the fewest under way. */
export function poolEngines(copies: readonly [Engine, ...Engine[]]): Engine {
  const [first] = copies;
  if (copies.length === 1) return first;
  const busy = new Map<Engine, number>(copies.map((copy) => [copy, 0]));
  return {
    platform: first.platform,
    inputs: first.inputs,
    outputs: first.outputs,
    batchable: first.batchable,
    concurrency: copies.reduce((sum, copy) => sum + copy.concurrency, 0),
    get memoryBytes() {
      return copies.reduce((sum, copy) => sum + copy.memoryBytes, 0);
    },
    async run(inputs: readonly TensorValue[]) {
      let chosen = first;
      for (const copy of copies) if ((busy.get(copy) ?? 0) < (busy.get(chosen) ?? 0)) chosen = copy;
      busy.set(chosen, (busy.get(chosen) ?? 0) + 1);
      try {
        return await chosen.run(inputs);
      } finally {
        busy.set(chosen, (busy.get(chosen) ?? 1) - 1);
      }
    },
    async close() {
      await Promise.all(copies.map((copy) => copy.close()));
    },
  };
}
