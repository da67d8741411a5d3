import { readFileSync } from "node:fs";
import { load } from "js-yaml";
import { InputError } from "../../src/kernel/errors/index.js";
import type { Json, JsonObject } from "../../src/kernel/kinds/index.js";
import {
  applyDefaults,
  asObject,
  asObjects,
  asString,
  cloneJson,
  didYouMean,
  type Infer,
  knownNames,
  prune,
  s,
  toJson,
  validateValue,
} from "../../src/kernel/schema/index.js";

const duration = () => s.string({ pattern: "^(\\d+(ms|s|m|h))+$" });
const share = () => s.number({ min: 0, max: 1 });

const weather = s.object({
  latency: duration().default("10ms").describe("There and back."),
  jitter: duration().default("10ms").describe("Added by chance, up to this."),
  loss: share().default(0).describe("Share of exchanges whose request or answer is lost."),
});

const clusters = s.object({
  name: s
    .string({ pattern: "^[a-z]([a-z0-9-]*[a-z0-9])?$", max: 40 })
    .describe("Of the group; its clusters are called `<name>-<n>`."),
  count: s.integer({ min: 1, max: 10_000 }),
  labels: s.map(s.string()).optional().describe("Of the Cluster objects."),
  provider: s.string().optional(),
  region: s.string().optional(),
  zones: s.integer({ min: 1 }).optional().describe("Clusters are dealt out over so many zones of the region."),
  nodes: s.integer({ min: 0, max: 1000 }).default(2),
  capacity: s.map(s.quantity()).default({ cpu: "16", memory: "64Gi", pods: "110" }).describe("Of a node."),
  network: weather.optional().describe("Instead of the scenario's."),
  skew: s
    .string({ pattern: "^-?(\\d+(ms|s|m|h))+$" })
    .default("0s")
    .describe("How far their clocks are ahead of the hub's."),
  readyAfter: duration().default("2s").describe("How long their workloads take until they are ready."),
});

const workloads = s.object({
  name: s
    .string({ pattern: "^[a-z]([a-z0-9-]*[a-z0-9])?$", max: 40 })
    .describe("Of the group; its objects are called `<name>-<n>`."),
  kind: s.enum("ConfigMap", "Deployment", "HyperMLService"),
  count: s.integer({ min: 1, max: 100_000 }),
  replicas: s.integer({ min: 0 }).default(1).describe("Of a Deployment."),
  cpu: s.quantity().default("100m").describe("What a replica of a Deployment asks for."),
  bytes: s.integer({ min: 0, max: 500_000 }).default(100).describe("Of data in a ConfigMap."),
  placement: s
    .preserveUnknown()
    .optional()
    .describe(
      "As in a PropagationPolicy, which is made for each object; absent: nothing goes anywhere. Not for a HyperMLService.",
    ),
  spread: s
    .integer({ min: 1 })
    .optional()
    .describe("A HyperMLService goes to so many clusters, each to the next ones."),
});

const which = {
  of: s.string().optional().describe("A group; absent: all."),
  share: share().optional().describe("So much of them, picked by the seed; absent: all."),
  count: s.integer({ min: 1 }).optional().describe("So many of them."),
};
const selection = s.object(which);
const lasting = { ...which, for: duration().optional().describe("Absent: to the end.") };

const event = s.object({
  at: duration().describe("In virtual time, since all clusters had joined and the workloads were made."),
  cut: s
    .object({ ...lasting, how: s.enum("silent", "refused").default("silent") })
    .optional()
    .describe("Clusters that cannot be reached: nothing comes back, or connections are refused."),
  freeze: s
    .object(lasting)
    .optional()
    .describe("Clusters that stand still: nothing is answered, nothing gets on in them."),
  slow: s
    .object({ ...lasting, by: duration() })
    .optional()
    .describe("Each way takes so much longer."),
  lose: s
    .object({ ...lasting, loss: share() })
    .optional()
    .describe("So much of what is sent gets lost."),
  confuse: s
    .object({ ...lasting, answers: share() })
    .optional()
    .describe("So many answers are errors, broken off, or something else."),
  refuse: s
    .object({ ...lasting, manifests: share(), status: s.integer({ min: 400, max: 599 }).default(403) })
    .optional()
    .describe("Clusters that take no manifest of some names."),
  meddle: s
    .object({ ...which, objects: share(), how: s.enum("delete", "change").default("delete") })
    .optional()
    .describe("Somebody in the clusters removes or changes delivered objects."),
  killHub: s
    .object({ for: duration().default("0s") })
    .optional()
    .describe("The hub's controllers are killed, those that lead, and others start after a while."),
  deafen: s
    .object({ for: duration().optional().describe("Absent: to the end.") })
    .optional()
    .describe("The controllers that lead cannot reach the hub's API any more; members they do reach."),
  join: clusters.optional().describe("Clusters that come later, all at once."),
  leave: selection.optional().describe("Clusters whose Cluster object is deleted."),
  label: s
    .object({ ...which, labels: s.map(s.string()) })
    .optional()
    .describe("Labels that Cluster objects are given."),
  rotate: s
    .object({ ...which, after: duration().default("0s") })
    .optional()
    .describe("Clusters take new credentials only; the hub has them so much later."),
  add: workloads.optional().describe("Workloads that come later."),
  change: selection.optional().describe("Workloads whose content changes."),
  remove: selection.optional().describe("Workloads that are deleted."),
  look: s
    .object({
      notReady: s.integer({ min: 0 }).optional().describe("So many Clusters are said to be not ready."),
      applied: s
        .object({ min: share().default(0), max: share().default(1) })
        .optional()
        .describe("Share of the Works that are applied."),
    })
    .optional()
    .describe("What must hold at that time."),
});

const scenario = s.object({
  name: s.string(),
  about: s.string().describe("What it shows."),
  seed: s.integer({ min: 0 }).default(1),
  large: s
    .boolean()
    .default(false)
    .describe("Takes minutes of computing: `npm run test:scale` runs it, `npm test` does not."),
  hubs: s
    .integer({ min: 1, max: 4 })
    .default(1)
    .describe("So many processes have the hub's controllers; of several one leads, by a lease."),
  grid: duration()
    .default("1ms")
    .describe("Everything on the network happens at multiples of this: coarser is faster."),
  callTimeout: duration().default("5s").describe("Of the hub's calls to members."),
  network: weather.default({ latency: "10ms", jitter: "10ms", loss: 0 }),
  clusters: s.array(clusters),
  workloads: s.array(workloads).default([]),
  timeline: s.array(event).default([]),
  expect: s.object({
    convergedWithin: duration().describe(
      "After the last event; everything is as declared, and nothing moves any more.",
    ),
    works: s.integer({ min: 0 }).optional().describe("So many there are then, at least."),
    unapplied: s.integer({ min: 0 }).default(0).describe("So many of them cannot be applied, at most and at least."),
    repeats: s
      .integer({ min: 0 })
      .default(0)
      .describe("So many writes to members may say again what was said and heard."),
    requestsPerWork: s
      .number({ min: 0 })
      .optional()
      .describe("So many writes to members are made for each Work, at most."),
  }),
});

export type Scenario = Infer<typeof scenario>;
export type ClusterGroup = Infer<typeof clusters>;
export type WorkloadGroup = Infer<typeof workloads>;
export type TimelineEvent = Infer<typeof event>;
export type Selection = Infer<typeof selection>;
export type WeatherText = Infer<typeof weather>;

/** What a timeline can hold, besides `at`. */
export const ACTIONS: readonly string[] = Object.keys(event.schema.properties ?? {}).filter((name) => name !== "at");

/** Milliseconds of `90s`, `1m30s`, `-5s`; the schema lets nothing else through. */
export function msOf(text: string): number {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  let sum = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+)(ms|s|m|h)/g)) sum += Number(amount) * (units[unit ?? ""] ?? 0);
  return text.startsWith("-") ? -sum : sum;
}

/** Reads a scenario in YAML or JSON. Throws `InputError` with the path of everything that is wrong. */
export function readScenario(text: string, where: string): Scenario {
  const value = cloneJson(toJson(load(text)));
  const faults = validateValue(scenario.schema, value).map(({ field, message }) => `${field}: ${message}`);
  const unknown = prune(scenario.schema, value).map((path) => {
    const known = didYouMean(path.split(".").at(-1) ?? "", knownNames(scenario.schema, path));
    return `${path} is not known${known === undefined ? "" : `; did you mean ${known}?`}`;
  });
  const all = [...faults, ...unknown, ...namesFaults(value)];
  if (all.length > 0) throw new InputError(`${where}: ${all.join("; ")}`);
  applyDefaults(scenario.schema, value);
  return value as unknown as Scenario;
}

/** Reads a scenario's file. */
export function readScenarioFile(path: string): Scenario {
  return readScenario(readFileSync(path, "utf8"), path);
}

/** What the schema cannot say: names are there once, groups that are named are there, an event does something, a policy or clusters. */
function namesFaults(value: Json): string[] {
  const { clusters, workloads, timeline } = asObject(value);
  const events = asObjects(timeline);
  const places = [...asObjects(clusters), ...events.map(({ join }) => asObject(join))].map(({ name }) => name);
  const loads = [...asObjects(workloads), ...events.map(({ add }) => asObject(add))];
  const names = loads.map(({ name }) => name);
  return [
    ...twiceIn("clusters", places),
    ...twiceIn("workloads", names),
    ...loads.flatMap(workloadFaults),
    ...events.flatMap((event, index) => eventFaults(event, `timeline[${index}]`, { places, names })),
  ];
}

type Names = readonly (Json | undefined)[];

function twiceIn(what: string, list: Names): string[] {
  const twice = list.filter((name, index) => name !== undefined && list.indexOf(name) !== index);
  return twice.length === 0 ? [] : [`${what}: the name ${twice.map(asString).join(", ")} is there twice`];
}

function workloadFaults({ name, kind, spread, placement }: JsonObject): string[] {
  const isHyper = kind === "HyperMLService";
  return isHyper !== (spread !== undefined) || (isHyper && placement !== undefined)
    ? [`workloads ${asString(name)}: a HyperMLService has spread, others have placement`]
    : [];
}

function eventFaults(event: JsonObject, path: string, { places, names }: { places: Names; names: Names }): string[] {
  const faults = ACTIONS.some((action) => event[action] !== undefined) ? [] : [`${path}: nothing happens`];
  for (const action of ACTIONS) {
    const { of: group } = asObject(event[action]);
    const known = action === "change" || action === "remove" ? names : places;
    if (group !== undefined && !known.includes(group))
      faults.push(`${path}.${action}.of: there is no group ${asString(group)}`);
  }
  return faults;
}
