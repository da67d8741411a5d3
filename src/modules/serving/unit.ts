/** One set of pods that serves a model: its Deployment, Service and route are written, its pods looked at, its address asked. Both APIs stand on it. */
import type { ApplyObject } from "../../kernel/client/types.js";
import type { ReconcileContext } from "../../kernel/control/types.js";
import type { Deployment, KubeObject, Pod } from "../../kernel/kinds/index.js";
import { DeploymentKind, IngressKind, ServiceKind } from "../../kernel/kinds/index.js";
import { isObject } from "../../kernel/schema/index.js";
import type { ChildWriter } from "./apply.js";
import { isFault } from "./apply.js";
import { handOver, SCALING, standingOf } from "./autoscaling/index.js";
import type { Fault } from "./diagnosis.js";
import { diagnosePods } from "./diagnosis.js";
import type { BuiltTemplate } from "./pod-template.js";
import type { Probe, ProbeResult } from "./probe.js";

/** What is needed from around it. */
export interface UnitTools {
  readonly context: Pick<ReconcileContext<KubeObject>, "cluster" | "clock" | "signal">;
  readonly writer: ChildWriter;
  readonly probe: Probe;
}

/** One set of pods, as it should be. */
export interface Unit {
  readonly owner: KubeObject;
  /** Without `spec.replicas` where an autoscaler has them. */
  readonly deployment: ApplyObject;
  readonly service: ApplyObject;
  /** Its own address; absent: it has none, or somebody else writes it. */
  readonly ingress?: ApplyObject;
  readonly built: BuiltTemplate;
  /** Where it is asked; absent: its pods' readiness is believed. */
  readonly url: string | undefined;
  readonly pods: () => readonly Pod[];
  /** What may be wrong besides its pods, looked at while they are not ready. */
  readonly check?: () => Promise<Fault | undefined>;
  /** Pods that its maker says it has; absent: an autoscaler says. */
  readonly given: number | undefined;
}

/** How it is. */
export interface UnitOutcome {
  /** Its address answers. */
  readonly answers: boolean;
  /** All its pods are of this generation and ready. */
  readonly settled: boolean;
  readonly fault: Fault | undefined;
  readonly readyReplicas: number;
  readonly totalReplicas: number;
  /** It has no pod, and needs none before the next request, which will be held for one. */
  readonly isHeld?: boolean;
}

/** Writes a unit's objects and looks at its pods and its address. */
export async function reconcileUnit(unit: Unit, tools: UnitTools): Promise<UnitOutcome> {
  const { writer } = tools;
  const { owner } = unit;
  const none = { answers: false, settled: false, readyReplicas: 0, totalReplicas: 0 };
  const deployment = await writer.write(DeploymentKind, owner, unit.deployment);
  if (isFault(deployment)) return { ...none, fault: deployment };
  const isScaledByRequests = deployment.metadata.labels?.[SCALING.autoscaler] !== undefined;
  if (unit.given === undefined && !isScaledByRequests) await handOver(tools.context.cluster, deployment, 1);
  const seen = {
    ...none,
    readyReplicas: deployment.status?.readyReplicas ?? 0,
    totalReplicas: deployment.status?.replicas ?? 0,
  };
  const service = await writer.write(ServiceKind, owner, unit.service);
  if (isFault(service)) return { ...seen, fault: service };
  if (unit.ingress !== undefined) {
    const ingress = await writer.write(IngressKind, owner, unit.ingress);
    if (isFault(ingress)) return { ...seen, fault: ingress };
  }
  return unit.given === 0 ? { ...seen, fault: undefined } : judge(unit, deployment, { seen, tools });
}

/** Looks at the pods and the address of what is written. */
async function judge(
  unit: Unit,
  deployment: Deployment,
  { seen, tools }: { readonly seen: Omit<UnitOutcome, "fault">; readonly tools: UnitTools },
): Promise<UnitOutcome> {
  const { url, built, given } = unit;
  const cluster = tools.context.cluster.name;
  if (given === undefined && seen.readyReplicas === 0) {
    const held = heldOutcome(deployment, unit.pods(), cluster);
    if (held !== undefined) return { ...seen, ...held };
  }
  const replicas = given ?? deployment.spec.replicas ?? 1;
  const settled = given === undefined ? isRolledOut(deployment) : isSettled(deployment, replicas);
  const ask = seen.readyReplicas > 0 && url !== undefined;
  const unanswered = ask ? await asks(`${url}${built.probePath}`, built.anyAnswer, tools) : undefined;
  const answers = seen.readyReplicas > 0 && unanswered === undefined;
  if (settled) return { ...seen, answers, settled, fault: unanswered };
  const fault = (await unit.check?.()) ?? diagnosePods(cluster, unit.pods(), deployment) ?? unanswered;
  return {
    ...seen,
    answers,
    settled,
    fault: fault ?? { reason: "Starting", message: `${seen.readyReplicas} of ${replicas} pods are ready` },
  };
}

/** A unit without a ready pod whose requests are held: fine while nothing is wrong with the pods that are on their way. Undefined where it has not run as it is declared now. */
function heldOutcome(
  deployment: Deployment,
  pods: readonly Pod[],
  cluster: string,
): Pick<UnitOutcome, "answers" | "settled" | "isHeld" | "fault"> | undefined {
  const standing = standingOf(deployment);
  if (standing?.hasRun !== true) return undefined;
  const fault = standing.isAsleep ? undefined : diagnosePods(cluster, pods, deployment);
  if (fault !== undefined && !ON_ITS_WAY.has(fault.reason)) return undefined;
  return { answers: true, settled: true, isHeld: true, fault: undefined };
}

const ON_ITS_WAY: ReadonlySet<string> = new Set(["Starting", "Loading", "Fetching"]);

/** Every pod is of this generation, and one is ready; how many there are is the autoscaler's affair. */
function isRolledOut(deployment: Deployment): boolean {
  const { status, metadata } = deployment;
  const { observedGeneration = 0, replicas = 0, updatedReplicas = 0, readyReplicas = 0 } = status ?? {};
  const isSeen = observedGeneration >= (metadata.generation ?? 0);
  // A number that has just been changed is no other generation of pods.
  return (isSeen || standingOf(deployment)?.hasRun === true) && updatedReplicas === replicas && readyReplicas > 0;
}

/** The template that a Deployment's annotation keeps. */
export function readBuilt(text: string | undefined): BuiltTemplate | undefined {
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (!isObject(value) || !isObject(value["template"])) return undefined;
    const { template, port, probePath, anyAnswer } = value;
    if (typeof port !== "number" || typeof probePath !== "string" || typeof anyAnswer !== "boolean") return undefined;
    const { workers } = value;
    const known = { template, port, probePath, anyAnswer };
    if (!isObject(workers) || !isObject(workers["template"]) || typeof workers["count"] !== "number") return known;
    return { ...known, workers: { template: workers["template"], count: workers["count"] } };
  } catch {
    return undefined;
  }
}

function isSettled(deployment: Deployment, replicas: number): boolean {
  const { status, metadata } = deployment;
  return (
    (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0) &&
    status?.replicas === replicas &&
    status.updatedReplicas === replicas &&
    status.readyReplicas === replicas
  );
}

/** Asks an address, twice before it is given up. `undefined` when it answered. */
export async function asks(
  url: string,
  anyAnswer: boolean,
  { probe, context }: Pick<UnitTools, "probe" | "context">,
): Promise<Fault | undefined> {
  const good = (result: ProbeResult): boolean =>
    "status" in result && result.status < (anyAnswer ? 500 : 400) && result.gateway === undefined;
  let result = await probe(url, context.signal);
  if (good(result)) return undefined;
  await context.clock.sleep(100, context.signal);
  result = await probe(url, context.signal);
  if (good(result)) return undefined;
  const said =
    "error" in result
      ? result.error
      : `status ${result.status}${result.body.trim() === "" ? "" : `: ${result.body.trim().slice(0, 200)}`}`;
  const hint =
    anyAnswer && "status" in result
      ? "; give the runtime's user-container a readinessProbe with httpGet to say where its model answers"
      : "";
  return { reason: "NotAnswering", message: `cluster ${context.cluster.name}: ${url} does not answer: ${said}${hint}` };
}
