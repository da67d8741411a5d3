import type { Clock } from "../../../kernel/clock/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { badRequest, conflict, notFound, unexplained } from "../failures.js";
import { copy, metadataOf, objectAt, stringAt } from "../fields.js";
import { bodyType } from "../registry/index.js";
import { objectKey } from "../store/keys.js";
import type { Store, Stored, VirtualRequest, VirtualResource } from "../types.js";
import { success } from "./answers.js";
import { sayOfPod } from "./pod-conditions.js";

const pods = { group: "", plural: "pods" };
const about = { group: "", plural: "pods/binding" };

export interface BindingOptions {
  readonly store: Store;
  readonly clock: Clock;
}

/** `pods/binding`, the scheduler's word on which node a pod runs, and the same by the older way: `POST /api/v1/namespaces/x/bindings`. */
export function podBindings(options: BindingOptions): VirtualResource[] {
  const core = { group: "", version: "v1", body: bodyType("", "v1", "Binding"), keepsIdentity: true };
  return [
    {
      ...core,
      plural: "pods",
      subresource: "binding",
      async create({ name, ...request }) {
        if (stringAt(objectAt(request.object, "metadata"), "name") !== name)
          throw badRequest("name in URL does not match name in Binding object");
        return bind(options, name, request);
      },
    },
    {
      ...core,
      plural: "bindings",
      create: (request) => bind(options, stringAt(objectAt(request.object, "metadata"), "name"), request),
    },
  ];
}

async function bind(
  { store, clock }: BindingOptions,
  name: string,
  { object: binding, namespace, dryRun, admit }: Omit<VirtualRequest, "name">,
): Promise<JsonObject> {
  const target = objectAt(binding, "target");
  checkTarget(target);
  await admit();
  const stored = store.get(objectKey(pods, namespace, name));
  if (stored === undefined) throw notFound(pods, name);
  checkPreconditions(stored, objectAt(binding, "metadata"), {
    name,
    key: `${dryRun ? "" : "/registry"}/pods/${namespace}/${name}`,
  });
  checkPod(stored.value, name);
  const pod = copy(stored.value);
  objectAt(pod, "spec")["nodeName"] = stringAt(target, "name");
  const annotations = objectAt(objectAt(binding, "metadata"), "annotations");
  if (Object.keys(annotations).length > 0) {
    const metadata = metadataOf(pod);
    metadata["annotations"] = { ...objectAt(metadata, "annotations"), ...annotations };
  }
  sayOfPod(pod, { type: "PodScheduled", status: "True" }, clock.now());
  if (!dryRun) await store.update(stored.key, stored.revision, pod);
  return success(201);
}

function checkPreconditions(
  { value }: Stored,
  wanted: JsonObject,
  { name, key }: { readonly name: string; readonly key: string },
): void {
  const metadata = objectAt(value, "metadata");
  for (const [field, label] of [
    ["uid", "UID"],
    ["resourceVersion", "ResourceVersion"],
  ] as const) {
    const [given, own] = [stringAt(wanted, field), stringAt(metadata, field)];
    if (given === "" || given === own) continue;
    const why = `Precondition failed: ${label} in precondition: ${given}, ${label} in object meta: ${own}`;
    const where = `Code: 4, Key: ${key}, ResourceVersion: 0, AdditionalErrorMsg`;
    throw conflict(pods, name, `StorageError: invalid object, ${where}: ${why}`);
  }
}

/** Upstream makes no answer of what is wrong with a target but its words. */
function checkTarget(target: JsonObject): void {
  const kind = stringAt(target, "kind");
  const faults = [
    ...(kind !== "" && kind !== "Node"
      ? [`target.kind: Unsupported value: ${JSON.stringify(kind)}: supported values: "Node", "<empty>"`]
      : []),
    ...(stringAt(target, "name") === "" ? ["target.name: Required value"] : []),
  ];
  if (faults.length > 0) throw unexplained(faults.length === 1 ? faults.join("") : `[${faults.join(", ")}]`);
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
