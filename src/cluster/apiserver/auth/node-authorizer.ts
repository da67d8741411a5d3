import type { JsonObject } from "../../../kernel/kinds/object.js";
import { isObject, objectAt, stringAt } from "../fields.js";
import { listPrefix, objectKey } from "../store/keys.js";
import type { AuthorizationAttributes, Authorizer, Store, StoreEvent, UserInfo } from "../types.js";
import { follow, lookUp } from "./objects.js";
import { type Rule, ruleAllows } from "./rules.js";

/** The node that a user is (`system:node:<name>` of group `system:nodes`); `undefined` for anybody else. */
export function nodeNameOf(user: UserInfo): string | undefined {
  if (!user.groups.includes("system:nodes")) return undefined;
  const name = /^system:node:(.+)$/.exec(user.username)?.[1];
  return name;
}

export interface NodeAuthorizer extends Authorizer {
  close(): void;
}

/**
 * What a node agent may do: write its own Node, Lease and pods, and of Secrets, ConfigMaps, claims and ServiceAccounts those that
 * pods bound to it use, read. What it may write there is narrowed further by the NodeRestriction admission plugin.
 */
export function createNodeAuthorizer(store: Store): NodeAuthorizer {
  const pods = followPodsByNode(store);
  return {
    close: () => pods.close(),
    authorize(attributes) {
      const node = nodeNameOf(attributes.user);
      if (node === undefined) return { allowed: false, reason: "" };
      if (commonRules.some((rule) => ruleAllows(rule, attributes))) return { allowed: true, reason: "" };
      return decide(attributes, node, { store, podsHere: () => pods.on(node) });
    },
  };
}

const rule = (apiGroup: string, resources: readonly string[], verbs: readonly string[]): Rule => ({
  apiGroups: [apiGroup],
  resources,
  verbs,
  resourceNames: [],
  nonResourceURLs: [],
});
const reading = ["get", "list", "watch"];

/** What every node may do whatever runs on it. */
const commonRules: readonly Rule[] = [
  rule("authentication.k8s.io", ["tokenreviews"], ["create"]),
  rule("authorization.k8s.io", ["subjectaccessreviews", "localsubjectaccessreviews"], ["create"]),
  rule("", ["services"], reading),
  rule("", ["endpoints"], ["get"]),
  rule("", ["events"], ["create", "patch", "update"]),
  // Which pod or node a write may be about is NodeRestriction's to check: it sees the object.
  rule("", ["nodes"], ["create", "update", "patch"]),
  rule("", ["nodes/status"], ["update", "patch"]),
  rule("", ["pods"], ["create", "delete"]),
  rule("", ["pods/status"], ["patch", "update"]),
  rule("", ["pods/eviction"], ["create"]),
  rule("node.k8s.io", ["runtimeclasses"], reading),
  rule("storage.k8s.io", ["csidrivers"], reading),
  rule("certificates.k8s.io", ["certificatesigningrequests"], ["create", "get", "list", "watch"]),
];

type Decision = ReturnType<Authorizer["authorize"]>;

/** What a node's rights follow from. */
interface Known {
  readonly store: Store;
  readonly podsHere: () => Iterable<JsonObject>;
}

function decide(attributes: AuthorizationAttributes, node: string, { store, podsHere }: Known): Decision {
  const { group, resource, subresource, verb } = attributes;
  switch (`${group}/${resource}`) {
    case "/nodes":
      if (subresource !== "") return no("");
      return own(attributes, node, {
        verbs: reading,
        why: (name) => `node '${node}' cannot read '${name}', only its own Node object`,
      });
    case "/pods":
      return readsPod(attributes, node, podsHere);
    case "resource.k8s.io/resourceslices":
      return verb === "create" && subresource === "" ? yes : no("");
    case "coordination.k8s.io/leases":
      if (attributes.namespace !== "kube-node-lease")
        return no('can only access leases in the "kube-node-lease" system namespace');
      // The lease may not exist yet: a create names it in its body, which NodeRestriction checks.
      if (verb === "create" && attributes.name === "") return yes;
      return own(attributes, node, ownLease);
    case "storage.k8s.io/csinodes":
      if (verb === "create" && attributes.name === "") return yes;
      return own(attributes, node, ownCsiNode);
    case "/serviceaccounts":
      return usesServiceAccount(attributes, node, podsHere);
    case "/persistentvolumes":
      return readsVolume(attributes, node, { store, podsHere });
    case "storage.k8s.io/volumeattachments":
      return readsAttachment(attributes, node, store);
    case "/secrets":
    case "/configmaps":
    case "/persistentvolumeclaims":
      if (`${resource}/${subresource}` === "persistentvolumeclaims/status" && claimWrites.includes(verb))
        return references(attributes, node, podsHere);
      if (!reading.includes(verb) || subresource !== "") return no("can only read resources of this type");
      return references(attributes, node, podsHere);
    default:
      return no("");
  }
}

const yes: Decision = { allowed: true, reason: "" };
const no = (reason: string): Decision => ({ allowed: false, reason });

interface Owned {
  readonly verbs: readonly string[];
  /** Upstream's word on objects of other names. */
  readonly why: (name: string) => string;
}

const lifeCycle = ["get", "create", "update", "patch", "delete"];
const ownLease: Owned = {
  verbs: lifeCycle,
  why: () => "can only access node lease with the same name as the requesting node",
};
const ownCsiNode: Owned = {
  verbs: lifeCycle,
  why: () => "can only access CSINode with the same name as the requesting node",
};

function own(attributes: AuthorizationAttributes, node: string, { verbs, why }: Owned): Decision {
  if (!verbs.includes(attributes.verb)) return no("");
  const name = attributes.name || selectedBy(attributes.fieldSelector, "metadata.name");
  return name === node ? yes : no(why(name));
}

function unrelated(node: string): Decision {
  return no(`no relationship found between node '${node}' and this object`);
}

/** Of pods, a node reads its own (KEP-4601): one by its name, all by the selector that names the node. */
function readsPod(attributes: AuthorizationAttributes, node: string, podsHere: () => Iterable<JsonObject>): Decision {
  const { verb, namespace, name, subresource, fieldSelector } = attributes;
  if (subresource !== "" || !reading.includes(verb)) return no("");
  if (verb !== "get" && selectedBy(fieldSelector, "spec.nodeName") === node) return yes;
  if (verb !== "get" && name === "") return no("can only list/watch pods with spec.nodeName field selector");
  if (name === "") return no("No Object name found");
  for (const pod of podsHere()) {
    const metadata = objectAt(pod, "metadata");
    if (stringAt(metadata, "namespace") === namespace && stringAt(metadata, "name") === name) return yes;
  }
  return unrelated(node);
}

/** What a node says of a claim of its pods: how far the volume was resized. */
const claimWrites: readonly string[] = ["get", "update", "patch"];

/** Volumes that are bound to claims of the node's pods. */
function readsVolume(attributes: AuthorizationAttributes, node: string, { store, podsHere }: Known): Decision {
  const { verb, name, subresource } = attributes;
  if (verb !== "get" || subresource !== "") return no("can only get individual resources of this type");
  if (name === "") return no("No Object name found");
  for (const pod of podsHere()) {
    const namespace = stringAt(objectAt(pod, "metadata"), "namespace");
    for (const claim of referencedBy(pod, "persistentvolumeclaims")) {
      const found = lookUp(store, "", "persistentvolumeclaims", { namespace, name: claim });
      if (found !== undefined && stringAt(objectAt(found, "spec"), "volumeName") === name) return yes;
    }
  }
  return unrelated(node);
}

function readsAttachment(attributes: AuthorizationAttributes, node: string, store: Store): Decision {
  const { verb, name, subresource } = attributes;
  if (verb !== "get" || subresource !== "") return no("can only get individual resources of this type");
  if (name === "") return no("No Object name found");
  const found = lookUp(store, "storage.k8s.io", "volumeattachments", { namespace: "", name });
  return found !== undefined && stringAt(objectAt(found, "spec"), "nodeName") === node ? yes : unrelated(node);
}

function usesServiceAccount(
  attributes: AuthorizationAttributes,
  node: string,
  podsHere: () => Iterable<JsonObject>,
): Decision {
  const isToken = attributes.subresource === "token" && attributes.verb === "create";
  const isRead = attributes.subresource === "" && attributes.verb === "get";
  if (!isToken && !isRead) return no("");
  for (const pod of podsHere()) {
    if (stringAt(objectAt(pod, "metadata"), "namespace") !== attributes.namespace) continue;
    if ((stringAt(objectAt(pod, "spec"), "serviceAccountName") || "default") === attributes.name) return yes;
  }
  return unrelated(node);
}

function references(attributes: AuthorizationAttributes, node: string, podsHere: () => Iterable<JsonObject>): Decision {
  const name = attributes.name || selectedBy(attributes.fieldSelector, "metadata.name");
  if (name === "") return no("No Object name found");
  for (const pod of podsHere()) {
    if (stringAt(objectAt(pod, "metadata"), "namespace") !== attributes.namespace) continue;
    if (referencedBy(pod, attributes.resource).has(name)) return yes;
  }
  return unrelated(node);
}

/** Value that an equality term of a field selector demands; empty when it demands none. */
export function selectedBy(selector: string | undefined, field: string): string {
  for (const term of (selector ?? "").split(",")) {
    const [left = "", right] = term.split(/==?/);
    if (right !== undefined && left.trim() === field) return right.trim();
  }
  return "";
}

/** Names of the Secrets, ConfigMaps or claims that a pod uses, wherever its spec names them. */
export function referencedBy(pod: JsonObject, plural: string): Set<string> {
  const names = new Set<string>();
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(visit);
    else if (isObject(value)) {
      for (const [field, member] of Object.entries(value)) {
        const name = nameUnder(field, member, plural);
        if (name !== "") names.add(name);
        visit(member);
      }
    }
  };
  visit(pod["spec"]);
  if (plural === "secrets") {
    const pulls = objectAt(pod, "spec")["imagePullSecrets"];
    for (const pull of Array.isArray(pulls) ? pulls.filter(isObject) : []) names.add(stringAt(pull, "name"));
  }
  return names;
}

function nameUnder(field: string, member: unknown, plural: string): string {
  if (!isObject(member)) return "";
  switch (plural) {
    case "configmaps":
      return ["configMap", "configMapRef", "configMapKeyRef"].includes(field) ? stringAt(member, "name") : "";
    case "secrets":
      if (field === "secret") return stringAt(member, "secretName") || stringAt(member, "name");
      return /^secret(Key)?Ref$|SecretRef$/.test(field) ? stringAt(member, "name") : "";
    default:
      return field === "persistentVolumeClaim" ? stringAt(member, "claimName") : "";
  }
}

/** The pods bound to each node, kept up to date. */
function followPodsByNode(store: Store): { on(node: string): Iterable<JsonObject>; close(): void } {
  const prefix = listPrefix({ group: "", plural: "pods" }, "");
  const byNode = new Map<string, Map<string, JsonObject>>();
  const put = (key: string, pod: JsonObject) => {
    const node = stringAt(objectAt(pod, "spec"), "nodeName");
    if (node === "") return;
    const pods = byNode.get(node) ?? new Map<string, JsonObject>();
    byNode.set(node, pods.set(key, pod));
  };
  const drop = (key: string, pod: JsonObject) => {
    const node = stringAt(objectAt(pod, "spec"), "nodeName");
    const pods = byNode.get(node);
    pods?.delete(key);
    if (pods?.size === 0) byNode.delete(node);
  };
  const apply = (event: StoreEvent) => {
    if (event.old !== undefined) drop(event.old.key, event.old.value);
    if (event.type === "put") put(event.now.key, event.now.value);
  };
  const readAll = () => {
    byNode.clear();
    for (const { key, value } of store.list(prefix).items) put(key, value);
  };
  const watch = follow(store, prefix, { onEvents: (events) => events.forEach(apply), onGap: readAll });
  readAll();
  return { on: (node) => byNode.get(node)?.values() ?? [], close: () => watch.close() };
}

/** Whether the pod of this name is bound to the node, by the store's latest state. */
export function isPodOn(store: Store, node: string, pod: { namespace: string; name: string; uid: string }): boolean {
  const found = store.get(objectKey({ group: "", plural: "pods" }, pod.namespace, pod.name))?.value;
  if (found === undefined) return false;
  const isSame = pod.uid === "" || stringAt(objectAt(found, "metadata"), "uid") === pod.uid;
  return isSame && stringAt(objectAt(found, "spec"), "nodeName") === node;
}
