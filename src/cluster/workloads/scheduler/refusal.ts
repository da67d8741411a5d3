import type { Obstacle } from "./snapshot.js";

/** `0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable.`, as kubectl users know it. */
export function refusalText(nodes: number, obstacles: readonly Obstacle[]): string {
  const counts = new Map<string, number>();
  for (const { reasons } of obstacles) for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const parts = [...counts].map(([reason, count]) => `${count} ${reason}`).toSorted((a, b) => (a < b ? -1 : 1));
  return `0/${nodes} nodes are available:${parts.length === 0 ? "" : ` ${parts.join(", ")}.`}`;
}
