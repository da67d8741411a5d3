import {
  findCondition,
  isDeleting,
  type Pod,
  quantityToMillis,
  tryParseQuantity,
} from "../../../kernel/kinds/index.js";
import { isReady, podLevelRequests } from "../shared/pods.js";
import { NoProposalError, type PodReadings, type Reading } from "./readings.js";

/** By how much use may differ from the target before anything is done, as upstream. */
export const defaultTolerance = 0.1;
/** Use of CPU while a pod starts says nothing of its load. */
const cpuStartMs = 300_000;
const firstReadinessMs = 30_000;
const maxInt32 = 2_147_483_647;

/** What a proposal is made for. */
export interface Scene {
  /** Pods that the target's selector finds. */
  readonly pods: readonly Pod[];
  readonly specReplicas: number;
  readonly statusReplicas: number;
  readonly nowMs: number;
  /** By how much use may be above and below the target before anything is done. */
  readonly tolerance: { readonly up: number; readonly down: number };
}

/** How many replicas a metric asks for, and what was measured: thousandths, and percent where that is the target. */
export interface Proposal {
  readonly replicas: number;
  readonly usage: number;
  readonly utilization?: number;
}

const isWithin = ({ tolerance }: Scene, ratio: number): boolean =>
  ratio >= 1 - tolerance.down && ratio <= 1 + tolerance.up;

interface Groups {
  readonly readyCount: number;
  readonly unready: readonly string[];
  readonly missing: readonly string[];
  /** Readings of pods that count. */
  readonly counted: Map<string, number>;
}

function isStarting(pod: Pod, reading: Reading, nowMs: number): boolean {
  const condition = findCondition(pod.status?.conditions, "Ready");
  const startTime = pod.status?.startTime;
  if (condition === undefined || startTime === undefined) return true;
  const startedMs = Date.parse(startTime);
  const changedMs = Date.parse(condition.lastTransitionTime ?? pod.metadata.creationTimestamp);
  const isUnready = condition.status === "False";
  if (startedMs + cpuStartMs > nowMs) return isUnready || reading.atMs < changedMs + reading.windowMs;
  // Unready, and never was anything else.
  return isUnready && startedMs + firstReadinessMs > changedMs;
}

function groupPods({ pods, nowMs }: Scene, readings: PodReadings, isCpu: boolean): Groups {
  const unready: string[] = [];
  const missing: string[] = [];
  const counted = new Map([...readings].map(([name, { milli }]) => [name, milli]));
  let readyCount = 0;
  for (const pod of pods) {
    const { name } = pod.metadata;
    const reading = readings.get(name);
    if (isDeleting(pod) || pod.status?.phase === "Failed") counted.delete(name);
    else if ((pod.status?.phase ?? "Pending") === "Pending") {
      unready.push(name);
      counted.delete(name);
    } else if (reading === undefined) missing.push(name);
    else if (isCpu && isStarting(pod, reading, nowMs)) {
      unready.push(name);
      counted.delete(name);
    } else readyCount += 1;
  }
  return { readyCount, unready, missing, counted };
}

/** How the use of pods is compared with a target. */
interface Yardstick {
  readonly rate: (counted: ReadonlyMap<string, number>) => {
    readonly ratio: number;
    readonly usage: number;
    readonly utilization?: number;
  };
  /** What a pod without readings is taken to use when less is needed. */
  readonly assume: (pod: string) => number;
}

/**
 * Upstream's rule for metrics of pods: the ratio of use to target, times the pods that are ready. Pods without readings, or
 * not ready, are taken for what holds the change back; where that turns its direction nothing changes.
 */
function proposeByPods(scene: Scene, readings: PodReadings, isCpu: boolean, stick: Yardstick): Proposal {
  if (scene.pods.length === 0)
    throw new NoProposalError("no pods returned by selector while calculating replica count");
  const { readyCount, unready, missing, counted } = groupPods(scene, readings, isCpu);
  if (counted.size === 0)
    throw new NoProposalError("did not receive metrics for targeted pods (pods might be unready)");
  const { ratio, ...measured } = stick.rate(counted);
  const stay: Proposal = { replicas: scene.specReplicas, ...measured };
  const growsWithUnready = unready.length > 0 && ratio > 1;
  if (!growsWithUnready && missing.length === 0)
    return isWithin(scene, ratio) ? stay : { replicas: Math.ceil(ratio * readyCount), ...measured };
  fillGaps({ counted, missing, unready }, ratio, stick.assume);
  const careful = stick.rate(counted).ratio;
  if (isWithin(scene, careful) || (ratio < 1 && careful > 1) || (ratio > 1 && careful < 1)) return stay;
  const replicas = Math.ceil(careful * counted.size);
  const turns = (careful < 1 && replicas > scene.specReplicas) || (careful > 1 && replicas < scene.specReplicas);
  return turns ? stay : { replicas, ...measured };
}

/** Pods that nothing is known of, or that do not count yet, are taken for what speaks against the change. */
function fillGaps(
  { counted, missing, unready }: Pick<Groups, "counted" | "missing" | "unready">,
  ratio: number,
  assume: Yardstick["assume"],
): void {
  if (ratio < 1) for (const pod of missing) counted.set(pod, assume(pod));
  if (ratio > 1) for (const pod of [...missing, ...unready]) counted.set(pod, 0);
}

/** For an average amount per pod, in thousandths. */
export function proposeByAmount(
  scene: Scene,
  readings: PodReadings,
  target: { readonly milli: number; readonly isCpu: boolean },
): Proposal {
  return proposeByPods(scene, readings, target.isCpu, {
    rate(counted) {
      const usage = Math.trunc(sumOf(counted) / counted.size);
      return { ratio: usage / target.milli, usage };
    },
    assume: () => target.milli,
  });
}

/** For a percentage of what pods (or one container of them) request. */
export function proposeByUtilization(
  scene: Scene,
  readings: PodReadings,
  target: { readonly percent: number; readonly resource: string; readonly container?: string | undefined },
): Proposal {
  let requests: ReadonlyMap<string, number> | undefined;
  const requestOf = (pod: string): number | undefined => {
    requests ??= requestsOf(scene.pods, target.resource, target.container);
    return requests.get(pod);
  };
  return proposeByPods(scene, readings, target.resource === "cpu", {
    rate(counted) {
      const known = [...counted].flatMap(([pod, milli]) => {
        const request = requestOf(pod);
        return request === undefined ? [] : [{ milli, request }];
      });
      const requested = known.reduce((sum, { request }) => sum + request, 0);
      if (requested === 0) throw new NoProposalError("no metrics returned matched known pods");
      const used = known.reduce((sum, { milli }) => sum + milli, 0);
      const utilization = Math.trunc((used * 100) / requested);
      return { ratio: utilization / target.percent, utilization, usage: Math.trunc(used / known.length) };
    },
    assume: (pod) => Math.trunc(((requestOf(pod) ?? 0) * Math.max(100, target.percent)) / 100),
  });
}

function requestsOf(pods: readonly Pod[], resource: string, container: string | undefined): Map<string, number> {
  return new Map(
    pods.map((pod) => {
      const sidecars = (pod.spec.initContainers ?? []).filter((one) => one.restartPolicy === "Always");
      const all = [...pod.spec.containers, ...sidecars];
      const meant = container === undefined ? all : all.filter((one) => one.name === container);
      const sum = meant.reduce((total, one) => total + requestIn(one, resource, pod), 0);
      return [pod.metadata.name, podLevelRequest(pod, resource, container) ?? sum];
    }),
  );
}

function requestIn(container: Pod["spec"]["containers"][number], resource: string, pod: Pod): number {
  const request = tryParseQuantity(container.resources?.requests?.[resource] ?? "");
  if (request !== undefined || podLevelRequest(pod, resource, undefined) !== undefined)
    return request === undefined ? 0 : quantityToMillis(request);
  throw new NoProposalError(
    `missing request for ${resource} in container ${container.name} of Pod ${pod.metadata.name}`,
  );
}

/** `spec.resources` of the pod as a whole. */
function podLevelRequest(pod: Pod, resource: string, container: string | undefined): number | undefined {
  const request = tryParseQuantity(podLevelRequests(pod)[resource] ?? "");
  return container !== undefined || request === undefined ? undefined : quantityToMillis(request);
}

/** For one value of something else, in thousandths: the target is its whole amount. */
export function proposeByValue(scene: Scene, usage: number, targetMilli: number): Proposal {
  const ratio = usage / targetMilli;
  if (scene.specReplicas === 0) return { replicas: Math.ceil(ratio), usage };
  if (isWithin(scene, ratio)) return { replicas: scene.specReplicas, usage };
  if (scene.pods.length === 0)
    throw new NoProposalError(
      "unable to calculate ready pods: no pods returned by selector while calculating replica count",
    );
  const ready = scene.pods.filter((pod) => pod.status?.phase === "Running" && isReady(pod)).length;
  return { replicas: Math.ceil(ratio * ready), usage };
}

/** For one value of something else: the target is what each replica may take of it. */
export function proposeByShare(scene: Scene, usage: number, targetMilli: number): Proposal {
  const { statusReplicas } = scene;
  const ratio = usage / (targetMilli * statusReplicas);
  const replicas = isWithin(scene, ratio) ? statusReplicas : Math.min(Math.ceil(usage / targetMilli), maxInt32);
  // Without replicas the share is endless; upstream shows the largest number then.
  const share = statusReplicas === 0 ? Number.MAX_SAFE_INTEGER : Math.ceil(usage / statusReplicas);
  return { replicas, usage: share };
}

function sumOf(counted: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const milli of counted.values()) sum += milli;
  return sum;
}
