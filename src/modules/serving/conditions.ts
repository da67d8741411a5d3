/** What is said of an MLService in its conditions. */
import { asObject, asObjects } from "../../kernel/schema/index.js";
import type { Fault } from "./diagnosis.js";
import { isBuiltInServer } from "./images.js";
import type { MLService, MLServiceStatus } from "./kinds.js";
import { USER_CONTAINER } from "./pod-template.js";
import type { ReleaseOutcome } from "./release.js";
import { conditionsSaying, says, saysHonored } from "./said.js";
import { isPlacedByT9k, NO_SCHEDULER } from "./scheduler.js";
import { ignoredFields } from "./validation.js";

/** What is known of a service. */
export interface Seen {
  readonly url: string;
  /** Why it is not ready. */
  readonly fault: Fault | undefined;
  readonly answers: boolean;
  /** Its next request is held until there is a pod. */
  readonly isHeld: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Releases and transformer. */
  readonly outcomes: readonly ReleaseOutcome[];
  /** What has no effect, beside what can be told from the spec. */
  readonly ignored: readonly string[];
}

/** The conditions, on those that there were. */
export function conditionsOf(service: MLService, seen: Seen): NonNullable<MLServiceStatus["conditions"]> {
  const { url, fault, answers, isHeld, now, outcomes } = seen;
  const { spec } = service;
  const isPlaced = outcomes.every(({ built }) => built === undefined || isPlacedByT9k(built.template));
  const isScheduled = spec.scheduler?.t9kScheduler === undefined || isPlaced;
  const names = outcomes.filter(isBuiltIn).map(({ name }) => name);
  const ignored = [
    ...ignoredFields(service, (name) => names.includes(name)),
    ...(isScheduled ? [] : [NO_SCHEDULER]),
    ...seen.ignored,
  ];
  const fine = isHeld
    ? `no request, no pod: the next one to ${url} is held until there is one; the model answered when it last ran`
    : `the model answers at ${url}`;
  const isPaused = spec.runMode === "Pause";
  const running = isPaused ? undefined : { reason: "Running", message: "runMode is Immediate" };
  const silent = answers ? undefined : { reason: "NotAnswering", message: `${url} does not answer` };
  const updates = [
    says("Ready", fault, ["Answers", fine]),
    says("Answering", silent, ["Answers", `${url} answers, be it with pods of an earlier generation`]),
    says("Paused", running, ["RunMode", "runMode is Pause: no pods run"]),
    saysHonored(ignored),
  ];
  if (spec.scheduler?.t9kScheduler !== undefined) {
    const missing = isScheduled ? undefined : { reason: "SchedulerNotFound", message: NO_SCHEDULER };
    updates.push(says("SchedulerFound", missing, ["SchedulerFound", "the pods are placed by t9k-scheduler"]));
  }
  return conditionsSaying(service, updates, now);
}

/** Whether its requests are answered by Argosy's own model server. */
function isBuiltIn({ built }: ReleaseOutcome): boolean {
  const containers = asObjects(asObject(built?.template["spec"])["containers"]);
  const main = containers.find(({ name }) => name === USER_CONTAINER) ?? containers[0];
  return main !== undefined && isBuiltInServer(main);
}
