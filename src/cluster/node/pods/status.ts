import type { JsonObject } from "../../../kernel/kinds/index.js";
import {
  type Container,
  type ContainerState,
  type ContainerStatus,
  findCondition,
  type Pod,
  type PodCondition,
  type PodStatus,
  timeOf,
  withCondition,
} from "../../../kernel/kinds/index.js";
import { isObject } from "../../../kernel/schema/index.js";
import { type ContainerRecord, containerIdOf } from "../runtime/types.js";
import type { ContainerRole } from "./roles.js";

/** What a status is made from, of one container. */
export interface ContainerView {
  readonly name: string;
  readonly role: ContainerRole;
  readonly image: string;
  /** Its volumes as the pod mounts them. */
  readonly mounts: NonNullable<Container["volumeMounts"]>;
  readonly latest: ContainerRecord | undefined;
  readonly previous: ContainerRecord | undefined;
  readonly waiting: { readonly reason: string; readonly message: string } | undefined;
  readonly started: boolean;
  readonly ready: boolean;
  /** Termination message by attempt. */
  readonly messages: ReadonlyMap<number, string>;
}

/** What a status is made from. */
export interface PodView {
  readonly pod: Pod;
  /** What was last published: newer than what the API has told us of it. */
  readonly published: PodStatus | undefined;
  readonly runtimeName: string;
  readonly containers: readonly ContainerView[];
  readonly podIp: string | undefined;
  readonly hostIp: string;
  readonly startedAtMs: number;
  readonly nowMs: number;
  readonly isInitialized: boolean;
  /** The pod is being deleted or has failed, and nothing runs any more. */
  readonly isOver: boolean;
  /** Why the pod failed as a whole: deadline, refusal. */
  readonly failure: { readonly reason: string; readonly message: string } | undefined;
  /** Why containers keep the resources that they have. */
  readonly resize: string | undefined;
}

/** As kubelet bounds the termination messages of a pod. */
const maxMessages = 12 * 1024;

type Phase = "Pending" | "Running" | "Succeeded" | "Failed";

/** The pod's status as kubelet would write it. */
export function podStatusOf(view: PodView): PodStatus {
  const phase = phaseOf(view);
  const of = (...roles: ContainerRole[]): ContainerStatus[] =>
    view.containers.filter((each) => roles.includes(each.role)).map((each) => containerStatusOf(each, view));
  const inits = of("init", "sidecar");
  const ephemeral = of("ephemeral");
  const { pod, podIp, hostIp, failure } = view;
  return {
    ...generationOf(pod),
    phase,
    conditions: conditionsOf(view, phase),
    hostIP: hostIp,
    hostIPs: [{ ip: hostIp }],
    ...(podIp === undefined ? {} : { podIP: podIp, podIPs: [{ ip: podIp }] }),
    startTime: view.published?.startTime ?? pod.status?.startTime ?? timeOf(view.startedAtMs),
    ...(inits.length === 0 ? {} : { initContainerStatuses: inits }),
    containerStatuses: of("main"),
    ...(ephemeral.length === 0 ? {} : { ephemeralContainerStatuses: ephemeral }),
    ...(pod.status?.qosClass === undefined ? {} : { qosClass: pod.status.qosClass }),
    ...(failure === undefined ? {} : failure),
  };
}

/** Which spec the status is about; the types of Kubernetes 1.30 do not have it. */
function generationOf({ metadata }: Pod): { observedGeneration?: number } {
  return metadata.generation === undefined ? {} : { observedGeneration: metadata.generation };
}

/** The phase by the states of the containers (kubelet's `getPhase`). */
export function phaseOf(view: PodView): Phase {
  if (view.failure !== undefined && view.isOver) return "Failed";
  const counted = view.containers.filter((each) => each.role === "main");
  const exits = counted.map((each) => each.latest).filter((each) => each?.state === "exited");
  const succeeded = exits.filter((each) => each?.exitCode === 0).length;
  if (view.isOver) return exits.length === counted.length && succeeded === counted.length ? "Succeeded" : "Failed";
  if (!view.isInitialized) return hasFailedForGood(view) ? "Failed" : "Pending";
  const running = counted.filter((each) => each.latest?.state === "running").length;
  const waiting = counted.filter((each) => isWaiting(each) && each.latest?.state !== "exited").length;
  if (waiting > 0) return "Pending";
  if (running > 0 || exits.length === 0) return "Running";
  if ((view.pod.spec.restartPolicy ?? "Always") === "Always") return "Running";
  const sidecars = view.containers.some((each) => each.role === "sidecar" && each.latest?.state === "running");
  if (sidecars) return "Running";
  if (succeeded === counted.length) return "Succeeded";
  return view.pod.spec.restartPolicy === "Never" ? "Failed" : "Running";
}

function isWaiting(view: ContainerView): boolean {
  return view.latest === undefined || view.latest.state === "starting";
}

function hasFailedForGood(view: PodView): boolean {
  if (view.pod.spec.restartPolicy !== "Never") return false;
  return view.containers.some(
    (each) => each.role === "init" && each.latest?.state === "exited" && each.latest.exitCode !== 0,
  );
}

/** One entry of containerStatuses. */
export function containerStatusOf(view: ContainerView, pod: PodView): ContainerStatus {
  const { latest, previous } = view;
  const isWaitingAgain = view.waiting !== undefined && latest?.state !== "running";
  const current = isWaitingAgain || latest === undefined || latest.state === "starting" ? undefined : latest;
  const last = current === undefined ? (latest?.state === "exited" ? latest : previous) : previous;
  const shown = latest?.state === "starting" ? (previous ?? latest) : latest;
  const isRunning = current?.state === "running";
  return {
    name: view.name,
    image: view.image,
    imageID: shown?.imageId ?? "",
    ...(shown === undefined ? {} : { containerID: idOf(shown, pod.runtimeName) }),
    restartCount: latest?.attempt ?? 0,
    ready: readinessOf(view, isRunning),
    started: view.role === "init" ? isRunning : isRunning && view.started,
    state: current === undefined ? { waiting: waitingOf(view, pod) } : stateOf(current, view, pod),
    lastState: last === undefined ? {} : stateOf(last, view, pod),
    ...resourcesOf(shown),
    ...userOf(shown),
    ...(view.mounts.length === 0 ? {} : { volumeMounts: view.mounts.map(mountStatus) }),
  };
}

/** What the container was started with. */
function resourcesOf(record: ContainerRecord | undefined): Pick<ContainerStatus, "allocatedResources" | "resources"> {
  const resources = record?.state === "running" && isObject(record.resources) ? record.resources : undefined;
  if (resources === undefined) return {};
  const { requests } = resources;
  const allocated = isObject(requests) ? quantitiesOf(requests) : undefined;
  const limits = isObject(resources["limits"]) ? quantitiesOf(resources["limits"]) : undefined;
  const parts = {
    ...(limits === undefined ? {} : { limits }),
    ...(allocated === undefined ? {} : { requests: allocated }),
  };
  return { ...(allocated === undefined ? {} : { allocatedResources: allocated }), resources: parts };
}

/** Who it runs as; the types of Kubernetes 1.30 do not have it. */
function userOf(record: ContainerRecord | undefined): object {
  const identity = record?.state === "running" ? record.identity : undefined;
  if (identity === undefined) return {};
  const { uid, gid, groups } = identity;
  return { user: { linux: { uid, gid, supplementalGroups: [...groups] } } };
}

function quantitiesOf(object: JsonObject): Record<string, string> {
  return Object.fromEntries(
    Object.entries(object).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]),
  );
}

type Mount = ContainerView["mounts"][number];

function mountStatus({ name, mountPath, readOnly, recursiveReadOnly }: Mount): VolumeMountStatus {
  if (readOnly !== true) return { name, mountPath };
  // `IfPossible` is possible here.
  const isRecursive = recursiveReadOnly === "Enabled" || recursiveReadOnly === "IfPossible";
  return { name, mountPath, readOnly, recursiveReadOnly: isRecursive ? "Enabled" : "Disabled" };
}

interface VolumeMountStatus {
  readonly name: string;
  readonly mountPath: string;
  readonly readOnly?: boolean;
  readonly recursiveReadOnly?: string;
}

function readinessOf(view: ContainerView, isRunning: boolean): boolean {
  if (view.role === "init") return view.latest?.state === "exited" && view.latest.exitCode === 0;
  return isRunning && view.started && view.ready;
}

function waitingOf(view: ContainerView, pod: PodView): { reason: string; message?: string } {
  if (view.waiting !== undefined) {
    return view.waiting.message === "" ? { reason: view.waiting.reason } : { ...view.waiting };
  }
  const hasInits = pod.containers.some((each) => each.role === "init" || each.role === "sidecar");
  const isLater = view.role === "main" || view.latest === undefined;
  return { reason: hasInits && isLater && !pod.isInitialized ? "PodInitializing" : "ContainerCreating" };
}

function stateOf(record: ContainerRecord, view: ContainerView, pod: PodView): ContainerState {
  if (record.state !== "exited") return { running: { startedAt: timeOf(record.startedAtMs) } };
  const message = (view.messages.get(record.attempt) || record.message)?.slice(0, messageLimitOf(pod));
  return {
    terminated: {
      exitCode: record.exitCode ?? 0,
      reason: record.reason ?? "Error",
      ...(message === undefined || message === "" ? {} : { message }),
      startedAt: timeOf(record.startedAtMs),
      finishedAt: timeOf(record.finishedAtMs ?? record.startedAtMs),
      containerID: idOf(record, pod.runtimeName),
    },
  };
}

/** Letters of each container's message: all of a pod's together have a limit. */
function messageLimitOf({ containers }: PodView): number {
  return Math.floor(maxMessages / Math.max(1, containers.length));
}

/** The id as the API shows it. */
export function idOf(record: ContainerRecord, runtimeName: string): string {
  return `argosy-${runtimeName}://${containerIdOf(record)}`;
}

interface Verdict {
  readonly type: string;
  readonly status: "True" | "False";
  readonly reason?: string;
  readonly message?: string;
}

function conditionsOf(view: PodView, phase: Phase): PodCondition[] {
  const { pod, nowMs } = view;
  const isDone = phase === "Succeeded";
  const isEnded = isDone || phase === "Failed";
  const containers = containersReady(view, phase);
  const verdicts: Verdict[] = [
    { type: "PodReadyToStartContainers", status: view.podIp !== undefined && !isEnded ? "True" : "False" },
    initialized(view, isDone),
    readiness(view, containers),
    containers,
    { type: "PodScheduled", status: "True" },
  ];
  // Our own conditions as we last said them (the API may still show older ones), the others as the API has them.
  const isOurs = (each: PodCondition): boolean =>
    each.type === "PodResizePending" || verdicts.some((verdict) => verdict.type === each.type);
  const told = pod.status?.conditions ?? [];
  const base = view.published?.conditions;
  let conditions: PodCondition[] =
    base === undefined ? [...told] : [...base.filter(isOurs), ...told.filter((each) => !isOurs(each))];
  if (view.failure?.reason === "Evicted")
    verdicts.push({
      type: "DisruptionTarget",
      status: "True",
      reason: "TerminationByKubelet",
      message: view.failure.message,
    });
  if (view.resize === undefined) conditions = conditions.filter((each) => each.type !== "PodResizePending");
  else verdicts.push({ type: "PodResizePending", status: "True", reason: "Infeasible", message: view.resize });
  for (const verdict of verdicts) {
    if (verdict.type === "PodScheduled" && findCondition(conditions, "PodScheduled")?.status === "True") continue;
    conditions = withCondition(conditions, { ...verdict, ...generationOf(pod) }, nowMs);
  }
  return conditions;
}

function initialized(view: PodView, isDone: boolean): Verdict {
  if (isDone) return { type: "Initialized", status: "True", reason: "PodCompleted" };
  if (view.isInitialized) return { type: "Initialized", status: "True" };
  const open = view.containers.filter(
    (each) => (each.role === "init" && !readinessOf(each, false)) || (each.role === "sidecar" && !each.started),
  );
  const names = open.map((each) => each.name).join(" ");
  return {
    type: "Initialized",
    status: "False",
    reason: "ContainersNotInitialized",
    message: `containers with incomplete status: [${names}]`,
  };
}

function containersReady(view: PodView, phase: Phase): Verdict {
  const type = "ContainersReady";
  if (phase === "Succeeded") return { type, status: "False", reason: "PodCompleted" };
  if (phase === "Failed") return { type, status: "False", reason: "PodFailed" };
  const counted = view.containers.filter((each) => each.role === "main" || each.role === "sidecar");
  const open = counted.filter(
    (each) => !readinessOf(each, each.latest?.state === "running" && each.waiting === undefined),
  );
  if (open.length === 0 && view.isInitialized) return { type, status: "True" };
  const names = open.map((each) => each.name).join(" ");
  return { type, status: "False", reason: "ContainersNotReady", message: `containers with unready status: [${names}]` };
}

function readiness(view: PodView, containers: Verdict): Verdict {
  if (containers.status === "False") return { ...containers, type: "Ready" };
  const conditions = view.pod.status?.conditions;
  const open = (view.pod.spec.readinessGates ?? [])
    .map((gate) => gate.conditionType)
    .filter((type) => findCondition(conditions, type)?.status !== "True");
  if (open.length === 0) return { type: "Ready", status: "True" };
  const message = open
    .map((type) => `corresponding condition of pod readiness gate "${type}" does not exist.`)
    .join(", ");
  return { type: "Ready", status: "False", reason: "ReadinessGatesNotReady", message };
}
