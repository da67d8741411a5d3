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
  /** Lines that it shows in, beside the other lines of its case. */
  readonly shows: (line: string, lines: readonly string[]) => boolean;
}

const matching =
  (pattern: RegExp): KnownDifference["shows"] =>
  (line) =>
    pattern.test(line);

/** Where something goes, and with how many replicas: of a binding, of what its Works and members have, of what the template is told. */
const BOUND =
  /^. binding \S+ (clusters|affinity|requiredBy|evictions|condition (Scheduled|FullyApplied)|in member\d): /;
/** What a binding says of itself that found a place: the placement of that decision, and what goes along. */
const PLACED =
  /"(policy\.karmada\.io\/applied-placement|resourcebinding\.karmada\.io\/dependencies)":"(?:[^"\\]|\\.)*",?/g;
const COUNTS = /"(replicas|completions|parallelism)":\d+/g;

/**
 * Another placement, and nothing else: a thing that a member has in one fleet only, or has in both with other counts. What a policy or an
 * override makes of it is looked at all the same.
 */
function placedOtherwise(line: string, lines: readonly string[]): boolean {
  if (BOUND.test(line) || /^. hub \S+ status: /.test(line)) return true;
  if (/^. binding \S+ annotations: /.test(line)) {
    const without = (text: string): string => text.slice(1).replaceAll(PLACED, "").replace(",}", "}");
    return without(line).endsWith(": {}") || lines.some((one) => one !== line && without(one) === without(line));
  }
  const [, sign = "", thing = "", rest = ""] = /^(.) ((?:work )?member\d \S+) (.*)$/.exec(line) ?? [];
  if (thing === "") return false;
  const others = lines.filter((one) => !one.startsWith(sign) && one.slice(2).startsWith(`${thing} `));
  const isWhole = (one: string): boolean =>
    one === `${sign} ${thing} is there` || one.startsWith(`${sign} ${thing} marks: `);
  if (rest === "is leaving" || others.some((one) => one.endsWith(" is leaving"))) return true;
  if (others.length === 0) return lines.some(isWhole);
  const masked = (text: string): string => text.slice(2).replaceAll(COUNTS, "N");
  return /^(status|statuses|condition \S+): /.test(rest) || others.some((one) => masked(one) === masked(line));
}

const OF_A_POLICY = /"propagationpolicy\.karmada\.io\/[^"]+":"[^"]*",?/g;
const OF_NEEDS = /"resourcebinding\.karmada\.io\/(depended-by-\w+|dependencies)":"(?:[^"\\]|\\.)*",?/g;

/** Whether a line says the same as one of the other fleet, but for some marks; what has no other marks has no line. */
function isTwin(line: string, lines: readonly string[], marks: RegExp): boolean {
  const without = (text: string): string => text.slice(1).replaceAll(marks, "").replace(",}", "}");
  const said = without(line);
  return said.endsWith(": {}") || lines.some((one) => one.charAt(0) !== line.charAt(0) && without(one) === said);
}

/** Bindings of what an object without a place needs, and what that says of them. */
function neededByNobody(line: string, lines: readonly string[]): boolean {
  const [, binding = "", rest = ""] = /^. (binding \S+) (.*)$/.exec(line) ?? [];
  if (/^(annotations|labels): /.test(rest) && isTwin(line, lines, OF_NEEDS)) return true;
  const seekers = lines.find((one) => one.startsWith(`- ${binding} requiredBy: `));
  if (binding === "" || seekers === undefined || /"clusters":\[[^\]]/.test(seekers)) return false;
  const isAlone = !lines.some((one) => one.startsWith(`+ ${binding} `));
  return line === seekers || (isAlone && /^(conflictResolution|finalizers|labels|name): /.test(rest));
}

const constraintsOf = (placement: JsonObject): JsonObject[] => [...asObjects(placement["spreadConstraints"])];
const divisionOf = (placement: JsonObject): JsonObject => asObject(placement["replicaScheduling"]);
const isDivided = (placement: JsonObject): boolean => divisionOf(placement)["replicaSchedulingType"] === "Divided";

export const knownDifferences: readonly KnownDifference[] = [
  {
    name: "which of several reasons keeps a cluster out",
    why: "Karmada's filters run in an order that is drawn when its scheduler starts",
    isAbout: () => true,
    shows: matching(/^. binding \S+ condition Scheduled: \["False","NoClusterFit","0\/4 clusters are available: /),
  },
  {
    name: "an override that does not fit",
    why: "no silent gaps: Karmada says nothing at all of a binding without any Work",
    isAbout: ({ text }) => text.includes('OverridePolicy"'),
    shows: matching(/^\+ binding \S+ condition FullyApplied: \["False"/),
  },
  {
    name: "marks of a policy that is gone",
    why: "Karmada takes them off the template and lets its Works be until they are made anew",
    isAbout: ({ text }) => /"remove":\{"apiVersion":"policy|"path":"\/spec\/resourceSelectors"/.test(text),
    shows: matching(/^. (work )?member\d \S+ (labels|annotations|marks): /),
  },
  {
    name: "an object that is relabelled, so that its policy does not mean it any more",
    why: "it is let go, and another policy may have it; Karmada leaves it claimed",
    isAbout: ({ text }) => text.includes('"labelSelector"') && text.includes('"with":{"metadata":{"labels"'),
    shows: (line, lines) =>
      /^. (binding|hub) \S+ (labels|annotations): /.test(line) && isTwin(line, lines, OF_A_POLICY),
  },
  {
    name: "what an object needs that has no place",
    why: "it goes nowhere with either; Karmada notes it when that object is changed, and not when it is made",
    isAbout: ({ text }) => text.includes('"propagateDeps":true'),
    shows: neededByNobody,
  },
  {
    name: "labels of a Job's pods",
    why: "a Job that a policy means is marked as it is made; one without any label has those of its pods",
    isAbout: ({ text }) => text.includes('"kind":"Job"'),
    shows: matching(/^. hub Job\/\S+ labels: /),
  },
  {
    name: "a Job that is deleted with nothing said of what it owns",
    why: "Kubernetes' default for Jobs orphans what they own: Karmada keeps their binding, and what members have",
    isAbout: ({ text }) => text.includes('"remove":{"apiVersion":"batch/v1","kind":"Job"'),
    shows: matching(/^- (binding|(work )?member\d) Job\//),
  },
  {
    name: "spread by zone, provider or label",
    why: "it is in the API; Karmada ignores it or says that it cannot",
    isAbout: ({ text }) => /"spreadByField":"(zone|provider)"|"spreadByLabel"/.test(text),
    shows: placedOtherwise,
  },
  {
    name: "spread without an upper bound",
    why: "no maxGroups is no bound; Karmada takes it for none at all",
    isAbout: ({ placements }) => placements.flatMap(constraintsOf).some(({ maxGroups }) => maxGroups === undefined),
    shows: placedOtherwise,
  },
  {
    name: "more regions than clusters",
    why: "what cannot be kept to is said; Karmada takes a cluster of each region, however few are allowed",
    isAbout: ({ placements }) => placements.some(wantsMoreGroupsThanClusters),
    shows: placedOtherwise,
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
    shows: placedOtherwise,
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
    shows: placedOtherwise,
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
    const known = possible.find((one) => one.shows(line, lines));
    if (known === undefined) return undefined;
    found.add(known);
  }
  return [...found];
}
