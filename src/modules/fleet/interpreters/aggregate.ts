import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { asNumber, asObject, asObjects, asString, cloneJson, isObject } from "../../../kernel/schema/index.js";
import { earlierOf, generationOf, laterOf, only, statusOf, withoutEmpty } from "./fields.js";
import type { Interpreter, StatusItem } from "./types.js";

type Aggregate = Interpreter["aggregateStatus"];

/** The statuses that members told. */
export function statusesIn(items: readonly StatusItem[]): JsonObject[] {
  return items.flatMap(({ status }) => (status === undefined ? [] : [status]));
}

function sumOf(statuses: readonly JsonObject[], field: string): number {
  return statuses.reduce((sum, status) => sum + (asNumber(status[field]) ?? 0), 0);
}

/**
 * Sums counters over the members and leaves the rest of the template's status. With `isObserved` the template's generation
 * counts as observed once every member has observed what was made of it.
 */
export function summed(fields: readonly string[], isObserved: boolean): Aggregate {
  return (template, items) => {
    const statuses = statusesIn(items);
    const next: JsonObject = { ...statusOf(template) };
    for (const field of fields) next[field] = sumOf(statuses, field);
    if (isObserved && items.length > 0 && items.every(({ status }) => hasObserved(status, generationOf(template))))
      next["observedGeneration"] = generationOf(template);
    for (const field of fields) if (next[field] === 0) delete next[field];
    return next;
  };
}

function hasObserved(status: JsonObject | undefined, generation: number): boolean {
  if (status === undefined) return false;
  const number = (field: string): number => asNumber(status[field]) ?? 0;
  return number("observedGeneration") >= number("generation") && number("resourceTemplateGeneration") >= generation;
}

/** Addresses of all members, each once, names first. */
export function balanced(hasPorts: (template: JsonObject) => boolean): Aggregate {
  return (template, items) => {
    if (!hasPorts(template)) return undefined;
    const found = new Map<string, JsonObject>();
    for (const status of statusesIn(items)) {
      for (const address of asObjects(asObject(status["loadBalancer"])["ingress"])) {
        const { ports, ...rest } = address;
        const key = ["hostname", "ip", "ipMode"].map((field) => asString(rest[field])).join("\n");
        const before = found.get(key);
        const known = asObjects(before?.["ports"]);
        const more = asObjects(ports).filter((port) => !known.some((other) => portKey(other) === portKey(port)));
        const all = [...known, ...more].toSorted(byPort);
        found.set(key, { ...rest, ...(all.length === 0 ? {} : { ports: all }) });
      }
    }
    const ingress = [...found.values()].toSorted(byAddress).map((address) => cloneJson<Json>(address));
    return { loadBalancer: ingress.length === 0 ? {} : { ingress } };
  };
}

function portKey(port: JsonObject): string {
  return JSON.stringify([port["port"] ?? 0, port["protocol"] ?? "", port["error"] ?? ""]);
}

function byPort(a: JsonObject, b: JsonObject): number {
  const order = (asNumber(a["port"]) ?? 0) - (asNumber(b["port"]) ?? 0);
  return order === 0 ? portKey(a).localeCompare(portKey(b), "en") : order;
}

function byAddress(a: JsonObject, b: JsonObject): number {
  for (const field of ["hostname", "ip", "ipMode"]) {
    const [one, other] = [asString(a[field]), asString(b[field])];
    if (one === other) continue;
    // Addresses with a name come first.
    if (one === "" || other === "") return one === "" ? 1 : -1;
    return one < other ? -1 : 1;
  }
  return 0;
}

/** Which of the phases of members is told of the whole: the first of `order` that one has. Members that say nothing are in `silent`. */
export function worstPhase(order: readonly string[], silent: string): Aggregate {
  return (_template, items) => {
    const phases = new Set(items.map(({ status }) => (status === undefined ? silent : asString(status["phase"]))));
    const phase = order.find((one) => phases.has(one));
    return phase === undefined ? undefined : { phase };
  };
}

/** A pod's: the phase that is worst, and the containers of all members. */
export const podStatus: Aggregate = (template, items, now) => {
  if (items.length === 0) return undefined;
  const phase = worstPhase(["Failed", "Pending", "Running", "Succeeded"], "Pending")(template, items, now);
  const containers = (field: string): Json[] =>
    statusesIn(items).flatMap((status) =>
      asObjects(status[field]).map((container) => ({
        name: asString(container["name"]),
        image: asString(container["image"]),
        imageID: asString(container["imageID"]),
        ready: container["ready"] === true,
        restartCount: asNumber(container["restartCount"]) ?? 0,
        ...(isObject(container["state"]) ? { state: container["state"] } : {}),
      })),
    );
  return withoutEmpty({
    ...only(statusOf(template), ["qosClass"]),
    ...phase,
    containerStatuses: containers("containerStatuses"),
    initContainerStatuses: containers("initContainerStatuses"),
  });
};

/** A CronJob's: what runs anywhere, and the last times. */
export const cronJobStatus: Aggregate = (_template, items) => {
  const statuses = statusesIn(items);
  const last = (field: string): string =>
    statuses.map((status) => asString(status[field])).reduce((one, other) => laterOf(one, other), "");
  return withoutEmpty({
    active: statuses.flatMap((status) => asObjects(status["active"]).map((job) => cloneJson<Json>(job))),
    lastScheduleTime: last("lastScheduleTime"),
    lastSuccessfulTime: last("lastSuccessfulTime"),
  });
};

/** A disruption budget's: sums, and disrupted pods as `cluster/pod`. */
export const disruptionStatus: Aggregate = (template, items, now) => {
  const fields = ["currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed"];
  const disrupted: JsonObject = {};
  for (const { clusterName, status } of items)
    for (const [pod, time] of Object.entries(asObject(status?.["disruptedPods"])))
      disrupted[`${clusterName}/${pod}`] = time;
  const sums = summed(fields, false)({ ...template, status: {} }, items, now) ?? {};
  const zeros = Object.fromEntries(fields.map((field) => [field, 0]));
  return { ...zeros, ...sums, ...(Object.keys(disrupted).length === 0 ? {} : { disruptedPods: disrupted }) };
};

/** A condition that holds, kept with its times where the template has it already. */
function conditionOf(template: JsonObject, now: string, type: string, [reason, message]: [string, string]): JsonObject {
  const before = asObjects(statusOf(template)["conditions"]).find(
    (condition) => condition["type"] === type && condition["status"] === "True",
  );
  const times = before === undefined ? {} : only(before, ["lastProbeTime", "lastTransitionTime"]);
  return { type, status: "True", reason, message, lastProbeTime: now, lastTransitionTime: now, ...times };
}

function holds(status: JsonObject, type: string): boolean {
  return asObjects(status["conditions"]).some(
    (condition) => condition["type"] === type && condition["status"] === "True",
  );
}

/**
 * A Job's. It has failed once nothing runs anywhere and one member's has failed, and is complete when all are; in between a failure is
 * told as to come, as the API demands. Once finished it is not touched.
 */
export const jobStatus: Aggregate = (template, items, now) => {
  const old = statusOf(template);
  if (holds(old, "Complete") || holds(old, "Failed")) return undefined;
  const statuses = statusesIn(items);
  const failed = items.filter(({ status }) => status !== undefined && holds(status, "Failed"));
  const complete = statuses.filter((status) => holds(status, "Complete"));
  const active = sumOf(statuses, "active");
  const conditions: JsonObject[] = [];
  if (failed.length > 0) {
    const names = failed.map(({ clusterName }) => clusterName).join(",");
    const words: [string, string] = ["JobFailed", `Job executed failed in member clusters ${names}`];
    conditions.push(conditionOf(template, now, "FailureTarget", words));
    if (active === 0 && failed.length + complete.length === items.length)
      conditions.push(conditionOf(template, now, "Failed", words));
  } else if (items.length > 0 && complete.length === items.length) {
    conditions.push(
      conditionOf(template, now, "SuccessCriteriaMet", [
        "CompletionsReached",
        "All member clusters have met success criteria",
      ]),
      conditionOf(template, now, "Complete", ["Completed", "Job completed"]),
    );
  }
  const time = (field: string, choose: (a: string, b: string) => string): string =>
    statuses.map((status) => asString(status[field])).reduce((one, other) => choose(one, other), "");
  return withoutEmpty({
    active,
    succeeded: sumOf(statuses, "succeeded"),
    failed: sumOf(statuses, "failed"),
    conditions,
    startTime: asString(old["startTime"]) === "" ? time("startTime", earlierOf) : old["startTime"],
    completionTime: conditions.some(({ type }) => type === "Complete") ? time("completionTime", laterOf) : "",
  });
};

/**
 * A training job's: replicas by role, first start, last end; `Failed` when one member's has failed, `Succeeded` when all have. `kind` is
 * in the words.
 */
export function trainingStatus(kind: string): Aggregate {
  return (template, items, now) => {
    const statuses = statusesIn(items);
    if (statuses.length === 0) return undefined;
    const failed = items.filter(({ status }) => status !== undefined && holds(status, "Failed"));
    const isDone = statuses.length === items.length && statuses.every((status) => holds(status, "Succeeded"));
    const names = failed.map(({ clusterName }) => clusterName).join(", ");
    const conditions = [
      ...(failed.length > 0
        ? [
            conditionOf(template, now, "Failed", [
              `${kind}Failed`,
              `${kind} executed failed in member clusters: ${names}`,
            ]),
          ]
        : []),
      ...(isDone ? [conditionOf(template, now, "Succeeded", ["Completed", `${kind} completed successfully`])] : []),
      ...(failed.length === 0 && !isDone && statuses.some((status) => holds(status, "Running"))
        ? [
            conditionOf(template, now, "Running", [
              `${kind}Running`,
              `${kind} is running in ${statuses.filter((status) => holds(status, "Running")).length} of ${items.length} member clusters`,
            ]),
          ]
        : []),
    ];
    const time = (field: string, choose: (a: string, b: string) => string): string =>
      statuses.map((status) => asString(status[field])).reduce((one, other) => choose(one, other), "");
    return withoutEmpty({
      replicaStatuses: rolesOf(statuses),
      conditions,
      startTime: time("startTime", earlierOf),
      lastReconcileTime: time("lastReconcileTime", laterOf),
      completionTime: isDone ? time("completionTime", laterOf) : "",
    });
  };
}

function rolesOf(statuses: readonly JsonObject[]): JsonObject {
  const roles = new Map<string, JsonObject[]>();
  for (const status of statuses)
    for (const [role, counts] of Object.entries(asObject(status["replicaStatuses"])))
      roles.set(role, [...(roles.get(role) ?? []), asObject(counts)]);
  return Object.fromEntries(
    [...roles].map(([role, counts]) => [
      role,
      withoutEmpty(Object.fromEntries(["active", "succeeded", "failed"].map((field) => [field, sumOf(counts, field)]))),
    ]),
  );
}

/**
 * For kinds with a `Ready` condition: true when it is so in every member; else it names those where it is not. Counters are summed, all
 * else is of the first member that tells it.
 */
export function readyEverywhere(counters: readonly string[]): Aggregate {
  return (template, items, now) => {
    const statuses = statusesIn(items);
    if (statuses.length === 0) return undefined;
    if (items.length === 1) return cloneJson<JsonObject>(statuses[0] ?? {});
    const sick = items.filter(({ status }) => status === undefined || !holds(status, "Ready"));
    const before = asObjects(statusOf(template)["conditions"]).find(({ type }) => type === "Ready");
    const status = sick.length === 0 ? "True" : "False";
    const ready: JsonObject = {
      type: "Ready",
      status,
      reason: sick.length === 0 ? "ReadyInAllClusters" : "NotReadyInSomeClusters",
      message:
        sick.length === 0
          ? `ready in ${items.length} clusters`
          : `not ready in ${sick.map(({ clusterName }) => clusterName).join(", ")}`,
      lastTransitionTime: before?.["status"] === status ? (before["lastTransitionTime"] ?? now) : now,
    };
    const rest = Object.assign({}, ...statuses.toReversed().map((one) => cloneJson<JsonObject>(one)));
    const next: JsonObject = { ...rest, conditions: [ready] };
    for (const field of counters) next[field] = sumOf(statuses, field);
    return next;
  };
}

/** `status.releases` of model services in several clusters: replicas by release, ready when it is so everywhere. */
export function releasesOf(statuses: readonly JsonObject[]): JsonObject[] {
  const releases = new Map<string, JsonObject[]>();
  for (const status of statuses)
    for (const release of asObjects(status["releases"])) {
      const name = asString(release["name"]);
      releases.set(name, [...(releases.get(name) ?? []), release]);
    }
  return [...releases].map(([name, parts]) => ({
    ...(parts[0] ?? {}),
    name,
    ready: parts.length === statuses.length && parts.every((part) => part["ready"] === true),
    readyReplicas: sumOf(parts, "readyReplicas"),
    totalReplicas: sumOf(parts, "totalReplicas"),
  }));
}
