import type { Container, Pod } from "../../../kernel/kinds/index.js";
import { NodeError } from "../errors.js";
import type { PodManager } from "../pods/manager.js";
import { containersOf } from "../pods/roles.js";
import type { ContainerRecord, PodRuntime } from "../runtime/types.js";

/** A container of a pod of this node, with its attempts from the oldest that is kept. */
export interface FoundContainer {
  readonly pod: Pod;
  readonly container: Container;
  readonly records: readonly ContainerRecord[];
}

/** Throws a `NodeError` with code `NotFound`. */
export function findPod(pods: PodManager, namespace: string, name: string): Pod {
  const pod = pods.find(namespace, name)?.pod;
  if (pod === undefined)
    throw new NodeError("NotFound", `pod "${name}" in namespace "${namespace}" does not run on this node`);
  return pod;
}

/** Throws a `NodeError` with code `NotFound`. */
export function findContainer(
  place: { readonly pods: PodManager; readonly runtime: PodRuntime },
  wanted: { readonly namespace: string; readonly pod: string; readonly container: string },
): FoundContainer {
  const pod = findPod(place.pods, wanted.namespace, wanted.pod);
  const container = containersOf(pod).find((each) => each.container.name === wanted.container)?.container;
  if (container === undefined)
    throw new NodeError("NotFound", `container "${wanted.container}" in pod "${wanted.pod}" is not known`);
  const records = place.runtime
    .containers(pod.metadata.uid)
    .filter((record) => record.name === container.name)
    .sort((a, b) => a.attempt - b.attempt);
  return { pod, container, records };
}
