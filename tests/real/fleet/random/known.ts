import type { JsonObject } from "../../../../src/kernel/kinds/object.js";
import { asObject, asObjects } from "../../../../src/kernel/schema/index.js";
import { placementsIn } from "./placements.js";
import { type FleetCase, WORLD_PHASE } from "./types.js";

/** What differences are judged by. */
interface Facts {
  readonly placements: readonly JsonObject[];
  /** The case's writes as JSON. */
  readonly text: string;
  readonly phase: number;
}

/** What is done otherwise than a real Karmada does it, and why (docs/policies.md). Such differences are counted apart. */
export interface KnownDifference {
  readonly name: string;
  readonly why: string;
  /** Whether it can show in a case. */
  readonly isAbout: (facts: Facts) => boolean;
  /** Lines that it shows in; absent: all. */
  readonly line?: RegExp;
}

const constraintsOf = (placement: JsonObject): JsonObject[] => [...asObjects(placement["spreadConstraints"])];
const divisionOf = (placement: JsonObject): JsonObject => asObject(placement["replicaScheduling"]);
const isDivided = (placement: JsonObject): boolean => divisionOf(placement)["replicaSchedulingType"] === "Divided";

export const knownDifferences: readonly KnownDifference[] = [
  {
    name: "which of several reasons keeps a cluster out",
    why: "Karmada's filters run in an order that is drawn when its scheduler starts",
    isAbout: () => true,
    line: /^. binding \S+ condition Scheduled: \["False","NoClusterFit","0\/4 clusters are available: /,
  },
  {
    name: "an override that does not fit",
    why: "no silent gaps: Karmada says nothing at all of a binding without any Work",
    isAbout: ({ text }) => text.includes('OverridePolicy"'),
    line: /^\+ binding \S+ condition FullyApplied: \["False"/,
  },
  {
    name: "marks of a policy that is gone",
    why: "Karmada takes them off the template and lets its Works be until they are made anew",
    isAbout: ({ text }) => text.includes('"remove":{"apiVersion":"policy'),
    line: /^. (work )?member\d \S+ (labels|annotations|marks): /,
  },
  {
    name: "labels of a Job's pods",
    why: "a Job that a policy means is marked as it is made; one without any label has those of its pods",
    isAbout: ({ text }) => text.includes('"kind":"Job"'),
    line: /^. hub Job\/\S+ labels: /,
  },
  {
    name: "spread by zone, provider or label",
    why: "it is in the API; Karmada ignores it or says that it cannot",
    isAbout: ({ text }) => /"spreadByField":"(zone|provider)"|"spreadByLabel"/.test(text),
  },
  {
    name: "spread without an upper bound",
    why: "no maxGroups is no bound; Karmada takes it for none at all",
    isAbout: ({ placements }) => placements.flatMap(constraintsOf).some(({ maxGroups }) => maxGroups === undefined),
  },
  {
    name: "more regions than clusters",
    why: "what cannot be kept to is said; Karmada takes a cluster of each region, however few are allowed",
    isAbout: ({ placements }) => placements.some(wantsMoreGroupsThanClusters),
  },
  {
    name: "spread beside static weights",
    why: "the policy says so; Karmada ignores it in silence",
    isAbout: ({ placements }) =>
      placements.some(
        (placement) =>
          constraintsOf(placement).length > 0 &&
          isDivided(placement) &&
          divisionOf(placement)["replicaDivisionPreference"] !== "Aggregated" &&
          asObject(divisionOf(placement)["weightPreference"])["dynamicWeight"] === undefined,
      ),
  },
  {
    name: "a divided object in a cluster that is not meant any more",
    why: "the policy says so; Karmada leaves it there when labels and places of clusters change",
    isAbout: ({ placements, phase }) =>
      phase >= WORLD_PHASE &&
      placements.some(
        (placement) =>
          isDivided(placement) &&
          /"(labelSelector|fieldSelector)"/.test(
            JSON.stringify([placement["clusterAffinity"], placement["clusterAffinities"]]),
          ),
      ),
  },
];

function wantsMoreGroupsThanClusters(placement: JsonObject): boolean {
  const constraints = constraintsOf(placement);
  const most = constraints.find(({ spreadByField }) => spreadByField === "cluster")?.["maxGroups"];
  return typeof most === "number" && constraints.some(({ minGroups }) => Number(minGroups) > most);
}

/** The known differences that account for all of these lines; `undefined` when some line is not accounted for. */
export function accountFor(
  { phases }: FleetCase,
  phase: number,
  lines: readonly string[],
): KnownDifference[] | undefined {
  const facts = { text: JSON.stringify(phases), placements: placementsIn(phases), phase };
  const possible = knownDifferences.filter(({ isAbout }) => isAbout(facts));
  const found = new Set<KnownDifference>();
  for (const line of lines) {
    const known = possible.find((one) => one.line?.test(line) !== false);
    if (known === undefined) return undefined;
    found.add(known);
  }
  return [...found];
}
