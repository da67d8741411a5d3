import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isPodOn, nodeNameOf } from "../auth/index.js";
import { forbidden } from "../failures.js";
import { equalJson, objectAt, stringAt } from "../fields.js";
import type { AdmissionPlugin, AdmissionRequest, Store } from "../types.js";

/** Labels by which work is kept away from nodes that must not have it; a node may not give them to itself. */
const reservedLabels = /(^|\.)node-restriction\.kubernetes\.io\//;

/** A node agent writes its own Node and Lease, and the pods that are bound to it: nothing else. */
export function nodeRestriction(store: Store): AdmissionPlugin {
  return {
    name: "NodeRestriction",
    validate(request) {
      const node = nodeNameOf(request.user);
      if (node === undefined) return;
      const { type } = request;
      switch (`${type.group}/${type.plural}`) {
        case "/nodes":
          return checkNode(request, node);
        case "/pods":
          return checkPod(request, node, store);
        case "coordination.k8s.io/leases":
        case "storage.k8s.io/csinodes":
          if (request.name !== node) throw refused(request, node, `may only use the ${type.plural} of its own name`);
          return;
        case "/serviceaccounts":
          return checkToken(request, node, store);
        default:
      }
    },
  };
}

function checkNode(request: AdmissionRequest, node: string): void {
  if (request.name !== node) throw refused(request, node, "is not allowed to modify other nodes");
  if (request.operation === "DELETE") throw refused(request, node, "is not allowed to delete itself");
  const { object, old } = request;
  if (object === undefined) return;
  if (old !== undefined && request.subresource === "" && !equalJson(taintsOf(object), taintsOf(old)))
    throw refused(request, node, "is not allowed to modify taints");
  const labels = labelsOf(object);
  const before = old === undefined ? {} : labelsOf(old);
  for (const key of Object.keys({ ...labels, ...before }))
    if (reservedLabels.test(key) && labels[key] !== before[key])
      throw refused(request, node, `is not allowed to modify the label ${key}`);
}

function checkPod(request: AdmissionRequest, node: string, store: Store): void {
  const { operation, subresource, object } = request;
  if (operation === "CREATE" && subresource === "") {
    const spec = object === undefined ? {} : objectAt(object, "spec");
    if (stringAt(spec, "nodeName") !== node)
      throw refused(request, node, "can only create pods with spec.nodeName set to itself");
    const annotations = object === undefined ? {} : objectAt(objectAt(object, "metadata"), "annotations");
    if (annotations["kubernetes.io/config.mirror"] === undefined)
      throw refused(request, node, "can only create mirror pods");
    return;
  }
  const pod = { namespace: request.namespace, name: request.name, uid: "" };
  if (isPodOn(store, node, pod)) return;
  // Deleting what is gone already does no harm; the handler answers 404.
  throw refused(request, node, "can only use pods with spec.nodeName set to itself");
}

function checkToken(request: AdmissionRequest, node: string, store: Store): void {
  if (request.subresource !== "token" || request.object === undefined) return;
  const bound = objectAt(objectAt(request.object, "spec"), "boundObjectRef");
  if (stringAt(bound, "kind") !== "Pod")
    throw refused(request, node, "may only ask for tokens that are bound to a pod");
  const pod = { namespace: request.namespace, name: stringAt(bound, "name"), uid: stringAt(bound, "uid") };
  if (!isPodOn(store, node, pod)) throw refused(request, node, "may only ask for tokens of pods that run on it");
}

function taintsOf(node: JsonObject) {
  return objectAt(node, "spec")["taints"];
}

function labelsOf(object: JsonObject): JsonObject {
  return objectAt(objectAt(object, "metadata"), "labels");
}

function refused(request: AdmissionRequest, node: string, why: string) {
  return forbidden({ group: request.type.group, plural: request.type.plural }, request.name, `node "${node}" ${why}`);
}
