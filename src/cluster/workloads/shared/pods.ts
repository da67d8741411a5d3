import type { Informer } from "../../../kernel/control/index.js";
import {
  controllerOf,
  findCondition,
  isConditionTrue,
  isDeleting,
  type KubeObject,
  ownerReferenceTo,
  type Pod,
  type PodSpec,
  type PodTemplateSpec,
} from "../../../kernel/kinds/index.js";
import { asObject, asString } from "../../../kernel/schema/index.js";

const controllerIndex = "controller-uid";
const orphanIndex = "orphan-namespace";

/** Makes an informer answer who is owned by whom; idempotent. */
export function indexByController<T extends KubeObject>(informer: Informer<T>): void {
  informer.addIndex(controllerIndex, (object) => {
    const owner = controllerOf(object);
    return owner === undefined ? [] : [owner.uid];
  });
  informer.addIndex(orphanIndex, (object) =>
    controllerOf(object) === undefined ? [object.metadata.namespace ?? ""] : [],
  );
}

/** Objects whose managing controller has this uid. */
export function ownedBy<T extends KubeObject>(informer: Informer<T>, uid: string): readonly T[] {
  indexByController(informer);
  return informer.byIndex(controllerIndex, uid);
}

/** Objects of a namespace that no controller manages. */
export function orphansIn<T extends KubeObject>(informer: Informer<T>, namespace: string): readonly T[] {
  indexByController(informer);
  return informer.byIndex(orphanIndex, namespace);
}

/** Whether the pod's containers have all ended for good. */
export function isTerminal(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

/** Whether the pod counts: neither ended nor being deleted. */
export function isActive(pod: Pod): boolean {
  return !isTerminal(pod) && !isDeleting(pod);
}

/** Whether the pod said that it is ready. */
export function isReady(pod: Pod): boolean {
  return isConditionTrue(pod.status?.conditions, "Ready");
}

/** When the pod last became ready, in milliseconds; `undefined` when it is not ready. */
export function readySinceMs(pod: Pod): number | undefined {
  const condition = findCondition(pod.status?.conditions, "Ready");
  if (condition?.status !== "True") return undefined;
  return condition.lastTransitionTime === undefined ? 0 : Date.parse(condition.lastTransitionTime);
}

/** Milliseconds until a ready pod has been ready for `minReadySeconds`: 0 when it is available, `undefined` when it is not ready. */
export function untilAvailableMs(pod: Pod, minReadySeconds: number, nowMs: number): number | undefined {
  const sinceMs = readySinceMs(pod);
  return sinceMs === undefined ? undefined : Math.max(0, sinceMs + minReadySeconds * 1000 - nowMs);
}

/** Whether the pod has been ready for long enough. */
export function isAvailable(pod: Pod, minReadySeconds: number, nowMs: number): boolean {
  return untilAvailableMs(pod, minReadySeconds, nowMs) === 0;
}

/** Shortest wait after which a ready pod becomes available, if one waits. */
export function nextAvailabilityMs(pods: readonly Pod[], minReadySeconds: number, nowMs: number): number | undefined {
  const waits = pods.map((pod) => untilAvailableMs(pod, minReadySeconds, nowMs) ?? 0).filter((ms) => ms > 0);
  return waits.length === 0 ? undefined : Math.min(...waits);
}

/** What a pod asks for as a whole (`spec.resources.requests`, KEP-2837). */
export function podLevelRequests(pod: Pod): Readonly<Record<string, string>> {
  // The field is younger than our types.
  const requests = asObject(asObject(asObject(pod.spec)["resources"])["requests"]);
  return Object.fromEntries(Object.entries(requests).map(([name, amount]) => [name, asString(amount)]));
}

/** What differs between pods of one template. */
export interface PodExtras {
  readonly name?: string;
  readonly generateName?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly spec?: Partial<PodSpec>;
}

/** A pod of a template, managed by `owner`. A name goes before generateName, which then only says where the name comes from. */
export function podFromTemplate(template: PodTemplateSpec, owner: KubeObject, extras: PodExtras) {
  const naming =
    extras.name === undefined
      ? { generateName: extras.generateName ?? `${owner.metadata.name}-` }
      : { name: extras.name, ...(extras.generateName === undefined ? {} : { generateName: extras.generateName }) };
  const finalizers = [...(template.metadata?.finalizers ?? []), ...(extras.finalizers ?? [])];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...naming,
      ...(owner.metadata.namespace === undefined ? {} : { namespace: owner.metadata.namespace }),
      labels: { ...template.metadata?.labels, ...extras.labels },
      annotations: { ...template.metadata?.annotations, ...extras.annotations },
      ...(finalizers.length === 0 ? {} : { finalizers }),
      ownerReferences: [ownerReferenceTo(owner)],
    },
    spec: { containers: [], ...template.spec, ...extras.spec },
  };
}
