/** Whether requests of a workload go by the activator, and by which ones. */
import { createHash } from "node:crypto";

/** Requests are held where no pod is wanted, or where a burst could not be taken. */
export function isHeld(desired: number, excessBurstCapacity: number): boolean {
  return !(desired > 0 && excessBurstCapacity >= 0);
}

/** How many activators a workload needs: at least two. */
export function activatorCount(
  readyPods: number,
  {
    total,
    targetBurstCapacity,
    activatorCapacity,
  }: { total: number; targetBurstCapacity: number; activatorCapacity: number },
): number {
  if (targetBurstCapacity === 0) return 2;
  return Math.max(2, Math.ceil((readyPods * total + Math.max(targetBurstCapacity, 0)) / activatorCapacity));
}

/** The activators of a workload: the same ones for everyone who asks, spread evenly over workloads; few change when an activator comes or goes. */
export function activatorSubset(activators: readonly string[], count: number, workload: string): readonly string[] {
  const ranked = activators.map((name) => ({
    name,
    rank: createHash("sha256").update(`${workload}\0${name}`).digest("hex"),
  }));
  ranked.sort((a, b) => (a.rank < b.rank ? -1 : 1));
  return ranked
    .slice(0, Math.max(0, count))
    .map(({ name }) => name)
    .toSorted();
}
