import { type Condition, findCondition, isConditionTrue, isDeleting } from "../../kernel/kinds/index.js";
import { qualified } from "./hyper-plan.js";
import { unreadinessOf } from "./hyper-readiness.js";
import type { HyperFacts, ObjectState } from "./hyper-status.js";
import type { ConditionDraft, HeadIngress, HyperMLService } from "./kinds.js";

const MAX_NAMED = 3;
/** States that are no failures: they end by themselves. */
const ON_THE_WAY: ReadonlySet<string> = new Set(["Pending", "WaitingForOrder", "Held"]);

/** Everything that is said of a HyperMLService as a whole; each only of what was seen. Pure. */
export function drawConditions(owner: HyperMLService, facts: HyperFacts): ConditionDraft[] {
  const { states, faults } = facts;
  const ready = readinessOf(states, faults);
  const broken = breakages(owner, facts, ready);
  return [
    fullyApplied(facts),
    ready,
    progressing(facts, broken),
    degraded(broken, faults),
    trafficReadiness(facts.heads),
  ];
}

/** What is said while the objects are being removed. */
export function deletingConditions(message: string): ConditionDraft[] {
  const draft = { reason: "Deleting", message };
  return [
    { type: "FullyApplied", status: "False", ...draft },
    { type: "Ready", status: "False", ...draft },
    { type: "Progressing", status: "True", ...draft },
  ];
}

function fullyApplied({ states, faults, rollout }: HyperFacts): ConditionDraft {
  if (faults.length > 0) {
    const message = `the spec is not carried out, everything stays as it was: ${listed(faults)}`;
    return { type: "FullyApplied", status: "False", reason: "InvalidSpec", message };
  }
  const failed = states.filter((state) => !state.isApplied);
  if (failed.length === 0 && rollout !== undefined && rollout.behind.length > 0) {
    const message = `the newest revision is not in ${rollout.behind.join(", ")}: HyperRollout ${rollout.name}: ${rollout.message}`;
    return { type: "FullyApplied", status: "False", reason: `Rollout${rollout.phase}`, message };
  }
  if (failed.length === 0) {
    return {
      type: "FullyApplied",
      status: "True",
      reason: "FullyAppliedSuccess",
      message: "All manifests have been successfully applied",
    };
  }
  const isProgressing = failed.every(isOnTheWay);
  return {
    type: "FullyApplied",
    status: "False",
    reason: isProgressing ? "Progressing" : "FullyAppliedFailed",
    message: `${states.length - failed.length}/${states.length} manifests are applied; ${listed(failed.map(described))}`,
  };
}

function readinessOf(states: readonly ObjectState[], faults: readonly string[]): ConditionDraft {
  const speaking = states.flatMap((state) => {
    const why = unreadinessOf(state);
    return why === undefined ? [] : [{ state, why }];
  });
  const unready = speaking.filter(({ why }) => why !== "");
  if (unready.length > 0) {
    const reasons = unready.map(
      ({ state: { object }, why }) => `${object.cluster}/${object.kind}/${object.name}: ${why}`,
    );
    return {
      type: "Ready",
      status: "False",
      reason: "NotReady",
      message: `${speaking.length - unready.length}/${speaking.length} are ready; ${listed(reasons)}`,
    };
  }
  if (faults.length > 0 || states.some((state) => !state.isApplied)) {
    return { type: "Ready", status: "False", reason: "NotApplied", message: "not everything is applied" };
  }
  const message =
    speaking.length === 0
      ? "everything is applied; none of the objects reports readiness"
      : `all ${speaking.length} are ready`;
  return { type: "Ready", status: "True", reason: "Ready", message };
}

/** One thing that is not as it should be and does not mend by waiting alone. */
interface Breakage {
  readonly reason: string;
  readonly message: string;
}

function breakages(owner: HyperMLService, facts: HyperFacts, ready: ConditionDraft): Breakage[] {
  const { states, faults, silent, rollout } = facts;
  if (faults.length > 0) return [{ reason: "InvalidSpec", message: listed(faults) }];
  const used = new Set(states.map(({ object }) => object.cluster));
  const dead = [...silent].filter(([cluster]) => used.has(cluster));
  const failed = states.filter((state) => !state.isApplied && !isOnTheWay(state) && !silent.has(state.object.cluster));
  return [
    ...dead.map(([cluster, why]) => ({
      reason: "ClusterNotReady",
      message: `cluster ${cluster} does not answer: ${why}`,
    })),
    ...failed.map((state) => ({ reason: "DeliveryFailed", message: described(state) })),
    ...lostReadiness(owner, facts),
    ...(ready.status === "True" ? lostTraffic(owner, facts) : []),
    ...(rollout !== undefined && ["RolledBack", "RollingBack", "Failed"].includes(rollout.phase)
      ? [{ reason: "RolloutFailed", message: `HyperRollout ${rollout.name}: ${rollout.message}` }]
      : []),
  ];
}

/** Whether a condition was true of the present generation, or is known already to be so no longer. */
function wasTrue(owner: HyperMLService, type: string, lossReason: string): boolean {
  const generation = owner.metadata.generation ?? 0;
  const isFresh = (condition: Condition | undefined): boolean => condition?.observedGeneration === generation;
  const before = findCondition(owner.status?.conditions, type);
  const degradation = findCondition(owner.status?.conditions, "Degraded");
  const isKnown = degradation?.status === "True" && degradation.reason === lossReason && isFresh(degradation);
  return isKnown || (before?.status === "True" && isFresh(before));
}

/** Services that were ready as they are asked for now, and are not any more; those that are just being changed do not count. */
function lostReadiness(owner: HyperMLService, { states, rollout }: HyperFacts): Breakage[] {
  if (!wasTrue(owner, "Ready", "ReadinessLost")) return [];
  return states.flatMap((state) => {
    const why = unreadinessOf(state);
    if (why === undefined || why === "" || !state.isApplied) return [];
    const { cluster, kind, name } = state.object;
    if (rollout?.updating.has(cluster) === true) return [];
    return [{ reason: "ReadinessLost", message: `${cluster}/${kind}/${name}: ${why}` }];
  });
}

/** HeadIngresses that had somewhere to send requests, and have not, or not everywhere, any more. */
function lostTraffic(owner: HyperMLService, { heads }: HyperFacts): Breakage[] {
  if (!wasTrue(owner, "TrafficReady", "TrafficImpaired")) return [];
  return unserved(heads).map((message) => ({ reason: "TrafficImpaired", message }));
}

function unserved(heads: readonly HeadIngress[]): string[] {
  return heads.flatMap((head) => {
    const ready = findCondition(head.status?.conditions, "Ready");
    if (ready === undefined || ready.reason === "Serving" || isDeleting(head)) return [];
    return [`HeadIngress ${head.metadata.name}: ${ready.message}`];
  });
}

function degraded(broken: readonly Breakage[], faults: readonly string[]): ConditionDraft {
  const [first] = broken;
  if (first === undefined)
    return { type: "Degraded", status: "False", reason: "AsExpected", message: "nothing is known to be broken" };
  const message = listed(broken.map((one) => one.message));
  return {
    type: "Degraded",
    status: "True",
    reason: first.reason,
    message: faults.length > 0 ? `spec: ${message}` : message,
  };
}

function progressing(
  { states, leaving, rollout, faults, heads }: HyperFacts,
  broken: readonly Breakage[],
): ConditionDraft {
  const draft = (status: "True" | "False", reason: string, message: string): ConditionDraft => ({
    type: "Progressing",
    status,
    reason,
    message,
  });
  if (faults.length > 0) return draft("False", "InvalidSpec", "the spec is not carried out");
  if (rollout !== undefined && ["Progressing", "Baking", "RollingBack"].includes(rollout.phase))
    return draft("True", "RollingOut", `HyperRollout ${rollout.name}: ${rollout.message}`);
  const waiting = states.filter((state) => !state.isApplied && isOnTheWay(state) && state.reason !== "Held");
  if (waiting.length > 0) return draft("True", "Delivering", listed(waiting.map(described)));
  if (leaving.length > 0)
    return draft("True", "Leaving", listed(leaving.map(({ cluster, message }) => `${cluster}: ${message}`)));
  // Both wait for a person: to resume it, or to promote a wave.
  if (rollout !== undefined && rollout.phase === "Paused")
    return draft("False", "Paused", `HyperRollout ${rollout.name}: ${rollout.message}`);
  if (rollout !== undefined && rollout.phase === "Waiting" && rollout.behind.length > 0 && broken.length === 0)
    return draft("False", "Stalled", `HyperRollout ${rollout.name}: ${rollout.message}`);
  const unready = states.flatMap((state) => {
    const why = unreadinessOf(state) ?? "";
    return why === "" || !state.isApplied
      ? []
      : [`${state.object.cluster}/${state.object.kind}/${state.object.name}: ${why}`];
  });
  const waited = unready.length > 0 ? unready : unserved(heads);
  if (waited.length > 0 && broken.length === 0) return draft("True", "GettingReady", listed(waited));
  if (broken.length > 0) return draft("False", "Stalled", listed(broken.map((one) => one.message)));
  return draft("False", "Complete", "everything is as it was asked for");
}

/** Whether requests to the public addresses have somewhere to go, as the HeadIngresses say; of several, all must. */
function trafficReadiness(heads: readonly HeadIngress[]): ConditionDraft {
  const draft = (status: "True" | "False" | "Unknown", reason: string, message: string): ConditionDraft => ({
    type: "TrafficReady",
    status,
    reason,
    message,
  });
  const standing = heads.filter((head) => !isDeleting(head));
  if (standing.length === 0) return draft("Unknown", "NoHeadIngress", "no HeadIngress leads here");
  const says = standing.map((head) => {
    const ready = findCondition(head.status?.conditions, "Ready");
    const isFresh = ready?.observedGeneration === (head.metadata.generation ?? 0);
    const { name } = head.metadata;
    if (ready === undefined || !isFresh)
      return { isReady: false, reason: "Pending", text: `HeadIngress ${name} has not reported yet` };
    const isReady = isConditionTrue([ready], "Ready");
    return { isReady, reason: ready.reason, text: `HeadIngress ${name}: ${ready.message}` };
  });
  const poor = says.find(({ isReady }) => !isReady);
  const [first] = says;
  const text = listed(says.map((one) => one.text));
  if (poor !== undefined) return draft("False", poor.reason, text);
  const impaired = says.find(({ reason }) => reason !== "Serving");
  return draft("True", impaired?.reason ?? first?.reason ?? "Serving", text);
}

function isOnTheWay(state: ObjectState): boolean {
  return ON_THE_WAY.has(state.reason);
}

function described({ object, message }: ObjectState): string {
  return `${object.cluster}/${object.kind}/${qualified(object)}: ${message}`;
}

function listed(items: readonly string[]): string {
  const more = items.length - MAX_NAMED;
  return `${items.slice(0, MAX_NAMED).join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
}
