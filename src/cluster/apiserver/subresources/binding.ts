import type { Clock } from "../../../kernel/clock/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { conflict, failure, notFound } from "../failures.js";
import { copy, isObject, metadataOf, objectAt, stringAt } from "../fields.js";
import { objectKey } from "../store/keys.js";
import type { Store, SubresourceHandler, VirtualResource } from "../types.js";
import { isDryRun, json, readObject, success, timestamp } from "./answers.js";

const pods = { group: "", plural: "pods" };
const about = { group: "", plural: "pods/binding" };

export interface BindingOptions {
  readonly store: Store;
  readonly clock: Clock;
}

/** `pods/binding`: the scheduler's word on which node a pod runs. */
export function podBinding(options: BindingOptions): SubresourceHandler {
  return {
    path: "pods/binding",
    async handle({ request, info }) {
      const binding = readObject(request);
      await bind(options, binding, { namespace: info.namespace, name: info.name, dryRun: isDryRun(request) });
      return json(201, success(201));
    },
  };
}

/** `POST /api/v1/namespaces/x/bindings`: the same by the older way. */
export function bindingResource(options: BindingOptions): VirtualResource {
  return {
    group: "",
    version: "v1",
    plural: "bindings",
    async create({ object, namespace }) {
      const name = stringAt(objectAt(object, "metadata"), "name");
      await bind(options, object, { namespace, name, dryRun: false });
      return success(201);
    },
  };
}

async function bind(
  { store, clock }: BindingOptions,
  binding: JsonObject,
  at: { namespace: string; name: string; dryRun: boolean },
): Promise<void> {
  const target = objectAt(binding, "target");
  const node = stringAt(target, "name");
  checkTarget(target);
  const key = objectKey(pods, at.namespace, at.name);
  const stored = store.get(key);
  if (stored === undefined) throw notFound(pods, at.name);
  const uid = stringAt(objectAt(binding, "metadata"), "uid");
  const ownUid = stringAt(objectAt(stored.value, "metadata"), "uid");
  if (uid !== "" && uid !== ownUid)
    throw conflict(pods, at.name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${ownUid}`);
  checkPod(stored.value, at.name);
  const pod = copy(stored.value);
  objectAt(pod, "spec")["nodeName"] = node;
  const annotations = objectAt(objectAt(binding, "metadata"), "annotations");
  if (Object.keys(annotations).length > 0) {
    const metadata = metadataOf(pod);
    metadata["annotations"] = { ...objectAt(metadata, "annotations"), ...annotations };
  }
  setScheduled(pod, timestamp(clock.now()));
  if (!at.dryRun) await store.update(key, stored.revision, pod);
}

function checkTarget(target: JsonObject): void {
  const kind = stringAt(target, "kind");
  if (kind !== "" && kind !== "Node")
    throw failure(
      500,
      "",
      `target.kind: Unsupported value: ${JSON.stringify(kind)}: supported values: "Node", "<empty>"`,
    );
  if (stringAt(target, "name") === "") throw failure(500, "", "target.name: Required value");
}

function checkPod(pod: JsonObject, name: string): void {
  const spec = objectAt(pod, "spec");
  if (objectAt(pod, "metadata")["deletionTimestamp"] !== undefined)
    throw conflict(about, name, `pod ${name} is being deleted, cannot be assigned to a host`);
  const bound = stringAt(spec, "nodeName");
  if (bound !== "") throw conflict(about, name, `pod ${name} is already assigned to node ${JSON.stringify(bound)}`);
  const gates = spec["schedulingGates"];
  if (Array.isArray(gates) && gates.length > 0)
    throw conflict(about, name, `pod ${name} has non-empty .spec.schedulingGates`);
}

function setScheduled(pod: JsonObject, now: string): void {
  const status = objectAt(pod, "status");
  pod["status"] = status;
  const given = status["conditions"];
  const others = (Array.isArray(given) ? given.filter(isObject) : []).filter(
    (condition) => condition["type"] !== "PodScheduled",
  );
  const observed = objectAt(pod, "metadata")["generation"];
  const scheduled = {
    type: "PodScheduled",
    ...(observed === undefined ? {} : { observedGeneration: observed }),
    status: "True",
    lastProbeTime: null,
    lastTransitionTime: now,
  };
  status["conditions"] = [...others, scheduled];
}
