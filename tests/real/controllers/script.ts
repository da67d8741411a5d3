import { setTimeout as sleep } from "node:timers/promises";
import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import type { Stage } from "./stage.js";

/** What is done to both clusters, one step after the other; after each the two are compared. */
export interface Scenario {
  readonly name: string;
  readonly steps: readonly (readonly [say: string, act: (stage: Stage) => Promise<unknown>])[];
}

/** The same, and the time that it takes. */
export async function thenWait(work: Promise<unknown>, ms: number): Promise<void> {
  await work;
  await sleep(ms);
}

/** A pod template with one container. */
export const template = (labels: JsonObject, more: JsonObject = {}, image = "app:1"): JsonObject => ({
  metadata: { labels },
  spec: { containers: [{ name: "main", image }], ...more },
});
