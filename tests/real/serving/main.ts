import type { Built } from "../home/karmada.js";
import { type Scenario, scenarios } from "./scenarios.js";
import { openStage } from "./stage.js";

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/**
 * Models in containers of a real cluster: kube-apiserver, all controllers, two nodes with kubelet and containerd, Argosy's own images, and its agent with the rights that
 * it prints. Throws what does not hold, when all was tried.
 */
export async function runServing(built: Built, only?: RegExp): Promise<void> {
  const chosen = scenarios.filter(({ name }) => only?.test(name) ?? true);
  const stage = await openStage(built, say);
  const failed: string[] = [];
  const play = async ({ name, run }: Scenario): Promise<void> => {
    const began = Date.now();
    try {
      const told = await run(stage);
      say(`✔ ${name}: ${told} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
    } catch (error) {
      failed.push(name);
      say(`✖ ${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  try {
    // Most of these is waiting.
    const beside = Promise.all(chosen.filter(({ place }) => place === "beside").map(play));
    for (const one of chosen.filter(({ place }) => place === undefined)) await play(one);
    await beside;
    for (const one of chosen.filter(({ place }) => place === "last")) await play(one);
  } finally {
    await stage.close();
  }
  if (failed.length > 0) throw new Error(`serving on a real cluster failed: ${failed.join(", ")}`);
}
