import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import { Chance } from "../fuzz/chance.js";
import { makePod, type Theme, themes } from "./pods.js";
import type { Scenario, Trial, Write } from "./types.js";
import { makeBudgets, makeNodes, makeServices, makeVolumes, type World } from "./world.js";

/** The namespaces of all scenarios, with their labels. They are made once, because nobody here ends them. */
export const namespaces: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  one: { team: "a", stage: "test" },
  two: { team: "b" },
};

const podsPath = (pod: JsonObject): string =>
  `/api/v1/namespaces/${(pod["metadata"] as JsonObject)["namespace"] as string}/pods`;

/** Pods that run already: made with their node, and said to run since a moment of their own. */
function running(chance: Chance, world: World, active: ReadonlySet<Theme>): Write[] {
  const taken = new Set<string>();
  return Array.from({ length: chance.int(9) }, (_, index) => {
    const node = chance.pick(world.nodes);
    const pod = makePod(chance, world, { name: `old${index}-s${world.seed}`, active, isRunning: true });
    const spec = pod["spec"] as JsonObject & { containers: JsonObject[]; initContainers?: JsonObject[] };
    spec["nodeName"] = node.name;
    // Two that run on one node never have the same port.
    if (taken.has(node.name))
      for (const one of [...spec.containers, ...(spec.initContainers ?? [])]) delete one["ports"];
    taken.add(node.name);
    const startTime = `2026-01-01T00:00:${String(10 + index)}Z`;
    const status = { phase: "Running", startTime, conditions: [{ type: "Ready", status: "True" }] };
    const { name } = pod["metadata"] as { name: string };
    return [
      { method: "POST", path: podsPath(pod), body: pod },
      { method: "PATCH", path: `${podsPath(pod)}/${name}/status`, body: { status } },
    ] as const;
  }).flat();
}

/** What may change while a pod waits. */
function change(chance: Chance, world: World, pod: JsonObject): Write[] {
  const node = chance.pick(world.nodes);
  const nodePath = `/api/v1/nodes/${node.name}`;
  const { name } = pod["metadata"] as { name: string };
  const more = { cpu: "16", memory: "64Gi", pods: "110", "ephemeral-storage": "100Gi", "nvidia.com/gpu": "8" };
  const labels = { zone: chance.pick(["z1", "z2"]), disk: chance.pick(["ssd", "hdd"]), rack: "r1" };
  return chance.weighted<Write[]>([
    [2, [{ method: "PATCH", path: `${nodePath}/status`, body: { status: { allocatable: more, capacity: more } } }]],
    [2, [{ method: "PATCH", path: nodePath, body: { spec: { taints: null, unschedulable: null } } }]],
    [2, [{ method: "PATCH", path: nodePath, body: { metadata: { labels } } }]],
    [3, [{ method: "PATCH", path: `${podsPath(pod)}/${name}`, body: { spec: { schedulingGates: null } } }]],
  ]);
}

/** The same scenario for the same seed. */
export function generate(seed: number): Scenario {
  const chance = new Chance(seed);
  const active = new Set(themes.filter(() => chance.maybe(0.45)));
  const { nodes, writes } = makeNodes(chance, seed, active);
  const { claims, writes: volumes } = makeVolumes(chance, seed, active, nodes);
  const world: World = { seed, nodes, claims };
  const old = running(chance, world, active);
  const budgets = active.has("preemption") ? makeBudgets(chance, seed) : [];
  const services = chance.maybe(0.3) ? makeServices(chance, seed) : [];
  const trials = Array.from({ length: 2 + chance.int(4) }, (_, index): Trial => {
    const pod = makePod(chance, world, { name: `new${index}-s${seed}`, active, isRunning: false });
    return { pod, changes: chance.maybe(0.3) ? change(chance, world, pod) : [] };
  });
  return { seed, nodes: nodes.length, setup: [...writes, ...volumes, ...services, ...budgets, ...old], trials };
}
