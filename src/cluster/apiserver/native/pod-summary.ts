import type { JsonObject } from "../../../kernel/kinds/object.js";
import { humanDuration } from "../registry/ages.js";
import { asNumber, asObject, asObjects, asString, at } from "../registry/read.js";

/** The three columns in which kubectl sums up a pod. */
export interface PodSummary {
  /** Ready containers of all, `1/2`. */
  readonly ready: string;
  /** Phase, or what the containers say that is more telling. */
  readonly status: string;
  /** `3 (5m ago)`. */
  readonly restarts: string;
}

interface Tally {
  status: string;
  ready: number;
  restarts: number;
  lastRestart: number;
}

/** Sums up a pod; `now` is for the time since the last restart. */
export function podSummary(pod: JsonObject, now: number): PodSummary {
  const spec = asObject(pod["spec"]);
  const status = asObject(pod["status"]);
  const sidecars = asObjects(spec["initContainers"]).filter((one) => one["restartPolicy"] === "Always");
  const total = asObjects(spec["containers"]).length + sidecars.length;
  const phase = asString(status["phase"]);
  const tally: Tally = { status: asString(status["reason"]) || phase, ready: 0, restarts: 0, lastRestart: 0 };
  if (conditionOf(status, "PodScheduled")?.["reason"] === "SchedulingGated") tally.status = "SchedulingGated";
  const initializing = countInit(spec, status, tally);
  if (!initializing || conditionOf(status, "Initialized")?.["status"] === "True")
    countMain(status, tally, new Set(sidecars.map((one) => one["name"])));
  if (at(pod, "metadata", "deletionTimestamp") !== undefined) {
    if (status["reason"] === "NodeLost") tally.status = "Unknown";
    else if (phase !== "Succeeded" && phase !== "Failed") tally.status = "Terminating";
  }
  const ago = tally.restarts > 0 && tally.lastRestart > 0 ? ` (${humanDuration(now - tally.lastRestart)} ago)` : "";
  return { ready: `${tally.ready}/${total}`, status: tally.status, restarts: `${tally.restarts}${ago}` };
}

function conditionOf(status: JsonObject, type: string): JsonObject | undefined {
  return asObjects(status["conditions"]).find((one) => one["type"] === type);
}

function countRestarts(container: JsonObject, tally: Tally): void {
  tally.restarts += asNumber(container["restartCount"]) ?? 0;
  const finished = Date.parse(asString(at(container, "lastState", "terminated", "finishedAt")));
  if (finished > tally.lastRestart) tally.lastRestart = finished;
}

function endWords(terminated: JsonObject): string {
  const reason = asString(terminated["reason"]);
  if (reason !== "") return reason;
  const signal = asNumber(terminated["signal"]) ?? 0;
  return signal === 0 ? `ExitCode:${asNumber(terminated["exitCode"]) ?? 0}` : `Signal:${signal}`;
}

/** Whether init containers are still at it. */
function countInit(spec: JsonObject, status: JsonObject, tally: Tally): boolean {
  const declared = asObjects(spec["initContainers"]);
  const statuses = asObjects(status["initContainerStatuses"]);
  for (const [index, container] of statuses.entries()) {
    countRestarts(container, tally);
    const state = asObject(container["state"]);
    const terminated = state["terminated"];
    const isSidecar = declared.some((one) => one["name"] === container["name"] && one["restartPolicy"] === "Always");
    if (terminated !== undefined && at(terminated, "exitCode") === 0 && !isSidecar) continue;
    if (isSidecar && container["started"] === true) {
      if (container["ready"] === true) tally.ready += 1;
      continue;
    }
    const waiting = asString(at(state, "waiting", "reason"));
    if (terminated !== undefined) tally.status = `Init:${endWords(asObject(terminated))}`;
    else if (waiting !== "" && waiting !== "PodInitializing") tally.status = `Init:${waiting}`;
    else tally.status = `Init:${index}/${declared.length}`;
    return true;
  }
  return false;
}

function countMain(status: JsonObject, tally: Tally, sidecars: ReadonlySet<unknown>): void {
  tally.restarts = 0;
  tally.lastRestart = 0;
  for (const container of asObjects(status["initContainerStatuses"]))
    if (sidecars.has(container["name"])) countRestarts(container, tally);
  let isRunning = false;
  for (const container of asObjects(status["containerStatuses"]).toReversed()) {
    countRestarts(container, tally);
    const state = asObject(container["state"]);
    const waiting = asString(at(state, "waiting", "reason"));
    if (waiting !== "") tally.status = waiting;
    else if (state["terminated"] !== undefined) tally.status = endWords(asObject(state["terminated"]));
    else if (container["ready"] === true && state["running"] !== undefined) {
      isRunning = true;
      tally.ready += 1;
    }
  }
  if (tally.status === "Completed" && isRunning)
    tally.status = conditionOf(status, "Ready")?.["status"] === "True" ? "Running" : "NotReady";
}
