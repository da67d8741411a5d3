/** Placement alone: how many decisions a second one core makes. */
import { type ClusterFacts, type Demand, type Placement, place } from "../../src/modules/fleet/placement/index.js";
import { round } from "./loads.js";

/** Placements as people write them: everywhere, divided by fixed weights, by free capacity, and spread over regions. */
const placements: Readonly<Record<string, Placement>> = {
  duplicated: { clusterAffinity: { labelSelector: { matchLabels: { tier: "gold" } } } },
  staticWeights: divided({
    staticWeightList: [0, 1, 2].map((index) => ({
      targetCluster: { clusterNames: [`cluster-${index}`] },
      weight: index + 1,
    })),
  }),
  dynamicWeights: divided({ dynamicWeight: "AvailableReplicas" }),
  aggregatedOverRegions: {
    spreadConstraints: [
      { spreadByField: "region", minGroups: 1, maxGroups: 2 },
      { spreadByField: "cluster", minGroups: 1, maxGroups: 10 },
    ],
    replicaScheduling: { replicaSchedulingType: "Divided", replicaDivisionPreference: "Aggregated" },
  },
};

function divided(
  weightPreference: NonNullable<Placement["replicaScheduling"]>["weightPreference"] & object,
): Placement {
  return {
    replicaScheduling: {
      replicaSchedulingType: "Divided",
      replicaDivisionPreference: "Weighted",
      weightPreference,
    },
  };
}

/** Decisions a second, by number of clusters and rule. Every one must find a place. */
export function decisions(milliseconds: number): Record<string, Record<string, number>> {
  const results: Record<string, Record<string, number>> = {};
  for (const count of [3, 50, 200]) {
    const clusters = Array.from({ length: count }, (_, index) => cluster(index));
    const rates: Record<string, number> = {};
    for (const [name, placement] of Object.entries(placements)) rates[name] = rateOf(placement, clusters, milliseconds);
    results[`clusters${count}`] = rates;
  }
  return results;
}

function rateOf(placement: Placement, clusters: readonly ClusterFacts[], milliseconds: number): number {
  let made = 0;
  const run = (limit: number): number => {
    const begun = performance.now();
    made = 0;
    while (performance.now() - begun < limit) {
      for (let index = 0; index < 10; index++) {
        made += 1;
        if (!place(demand(made), placement, clusters).isPlaced)
          throw new Error("a decision that was to be made was not");
      }
    }
    return performance.now() - begun;
  };
  run(milliseconds / 4); // warm-up
  const took = run(milliseconds);
  return round((made / took) * 1000, 0);
}

const gibibyte = 1024n ** 3n * 1000n;
const kinds = new Set(["apps/v1/Deployment", "batch/v1/Job", "v1/ConfigMap", "v1/Secret", "v1/Service"]);

function cluster(index: number): ClusterFacts {
  const region = `region-${index % 5}`;
  return {
    name: `cluster-${index}`,
    labels: { tier: "gold", region },
    provider: "somebody",
    region,
    zones: [`${region}-a`],
    taints: [],
    kinds,
    knowsAllKinds: true,
    isLeaving: false,
    capacity: {
      free: new Map([
        ["cpu", BigInt(8 + (index % 7)) * 100_000n],
        ["memory", BigInt(64 + index) * gibibyte],
        ["pods", 1_100_000n],
      ]),
      grades: [],
    },
  };
}

function demand(index: number): Demand {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    uid: `uid-${index}`,
    replicas: 3 + (index % 5),
    requests: new Map([
      ["cpu", 500n],
      ["memory", gibibyte],
    ]),
    assigned: [],
    evicting: new Set(),
    isFresh: false,
  };
}
