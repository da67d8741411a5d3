import type { ResourceClient } from "../../../kernel/client/index.js";
import {
  type ClusterAccess,
  type Informer,
  ownerReferenceTo,
  type ReconcileContext,
} from "../../../kernel/control/index.js";
import {
  apiVersionOf,
  isDeleting,
  type Json,
  type JsonObject,
  type KindDefinition,
  type KubeObject,
} from "../../../kernel/kinds/index.js";
import { equalJson, toJson, toJsonObject } from "../../../kernel/schema/index.js";
import type { Ledger } from "../../../stores/ledger/index.js";
import type { CustomizationSource, Interpreters, ReplicaRequirements, Replicas } from "../interpreters/index.js";
import { jsonOf } from "../json.unsafe.js";
import type { ClusterBook } from "../placement/cluster-book.js";
import type { Policy } from "../policies/choose.js";
import { BINDING, bindingNameOf, CLAIM } from "../policies/marks.js";
import { decide, isOurs, placementText, promiseRoom, targetsOf, verdictOn } from "./decide.js";
import { recordDecision } from "./decisions.js";
import { type BindingSpec, ClusterResourceBindingKind, type ResourceBinding, ResourceBindingKind } from "./kinds.js";

const MANAGER = "resource-detector";

interface Surroundings extends Pick<ReconcileContext<KubeObject>, "random"> {
  /** `undefined`: its policy says nothing of it. */
  readonly priority: number | undefined;
}

/** The binding kind of objects with or without namespace. */
export function bindingKindOf(namespace: string): KindDefinition<ResourceBinding> {
  return namespace === "" ? ClusterResourceBindingKind : ResourceBindingKind;
}

/** What the writer of bindings works with. */
export interface WriterParts {
  readonly book: ClusterBook;
  readonly ledger: Ledger;
  readonly interpreters: Interpreters;
}

/** Keeps the bindings of templates: what their policy asks for, and already where they go. */
export class BindingWriter {
  readonly #hub: ClusterAccess;
  readonly #book: ClusterBook;
  readonly #ledger: Ledger;
  readonly #interpreters: Interpreters;

  constructor(hub: ClusterAccess, parts: WriterParts) {
    this.#hub = hub;
    this.#book = parts.book;
    this.#ledger = parts.ledger;
    this.#interpreters = parts.interpreters;
  }

  /** Resolves when it is known how the hub's kinds are read. */
  ready(source: CustomizationSource): Promise<void> {
    return this.#interpreters.follow(source);
  }

  /** The binding of an object, if it has one. */
  find(kind: string, namespace: string, name: string): ResourceBinding | undefined {
    return this.#informer(namespace).get({ namespace, name: bindingNameOf(kind, name) });
  }

  /** Makes the binding be as template and policy say. Throws a conflict when it changed meanwhile. */
  async ensure(template: KubeObject, policy: Policy, { random, priority }: Surroundings): Promise<void> {
    const namespace = template.metadata.namespace ?? "";
    const existing = this.find(template.kind, namespace, template.metadata.name);
    // Its end wakes the template again.
    if (existing !== undefined && isDeleting(existing)) return;
    const resource = this.#client(namespace);
    const wanted = this.#interpreters.interpreterFor(template.apiVersion, template.kind).replicas(jsonOf(template));
    const wish = {
      ...wishFor(template, policy, wanted, existing?.spec),
      ...(priority === undefined ? {} : { schedulePriority: { priority } }),
    };
    if (existing === undefined) {
      const draft = this.#decided(wish, { spec: wish, annotations: {} }, template);
      await resource.create(
        {
          apiVersion: apiVersionOf(ResourceBindingKind),
          kind: bindingKindOf(namespace).kind,
          metadata: {
            name: bindingNameOf(template.kind, template.metadata.name),
            ...(namespace === "" ? {} : { namespace }),
            labels: { ...claimLabels(policy), [namespace === "" ? BINDING.clusterId : BINDING.id]: random.uuid() },
            annotations: { ...claimAnnotations(policy), ...draft.annotations },
            ownerReferences: [ownerReferenceTo(template)],
            finalizers: [namespace === "" ? BINDING.clusterFinalizer : BINDING.finalizer],
          },
          spec: draft.spec,
        },
        { fieldManager: MANAGER, ...(namespace === "" ? {} : { namespace }) },
      );
      return;
    }
    await this.#renew(existing, wish, template, policy);
  }

  async #renew(existing: ResourceBinding, wish: BindingSpec, template: KubeObject, policy: Policy): Promise<void> {
    const { metadata, spec } = existing;
    const changed = changedFields(spec, wish);
    const labels = { ...withoutClaims(metadata.labels), ...claimLabels(policy) };
    const annotations = { ...withoutClaims(metadata.annotations), ...claimAnnotations(policy) };
    const isMarked =
      equalJson(labels, metadata.labels ?? {}) &&
      equalJson(annotations, metadata.annotations ?? {}) &&
      metadata.ownerReferences?.some(({ uid }) => uid === template.metadata.uid) === true;
    if (changed.length === 0 && isMarked) return;
    const next = this.#decided(
      { ...spec, ...wish },
      {
        spec: { ...spec, ...wish },
        annotations,
        ...(existing.status === undefined ? {} : { status: existing.status }),
      },
      template,
    );
    const replaced: BindingSpec = next.spec;
    const patch: JsonObject[] = [
      { op: "replace", path: "/metadata/resourceVersion", value: metadata.resourceVersion },
      { op: "add", path: "/metadata/labels", value: toJson(labels) },
      { op: "add", path: "/metadata/annotations", value: toJson({ ...annotations, ...next.annotations }) },
      { op: "add", path: "/metadata/ownerReferences", value: toJson([ownerReferenceTo(template)]) },
      { op: "replace", path: "/spec", value: toJson(withoutAbsent(replaced, wish)) },
    ];
    const { namespace } = metadata;
    await this.#client(namespace ?? "").patch(metadata.name, "json", patch, {
      fieldManager: MANAGER,
      ...(namespace === undefined ? {} : { namespace }),
    });
  }

  /** With the decision where it goes, where one is due. */
  #decided(
    spec: BindingSpec,
    bound: Parameters<typeof verdictOn>[0],
    template: KubeObject,
  ): { readonly spec: BindingSpec; readonly annotations: Record<string, string> } {
    const verdict = isOurs(spec) ? verdictOn(bound, this.#book.byName) : undefined;
    // A fresh placement is the scheduler's, which notes that it is done.
    if (verdict?.isDue !== true || verdict.isFresh) return { spec, annotations: {} };
    const result = decide(bound, this.#book.list, false);
    if (!result.isPlaced) return { spec, annotations: {} };
    promiseRoom(this.#book.promises, bound, result);
    recordDecision(this.#ledger, { hub: this.#hub.name, template, why: verdict.why }, result);
    return {
      spec: { ...spec, clusters: targetsOf(result.targets) },
      annotations: { [BINDING.appliedPlacement]: placementText(spec.placement ?? {}) },
    };
  }

  /** Takes the marks of a policy off, and lets the binding be. */
  async release(existing: ResourceBinding): Promise<void> {
    const { name, namespace, labels, annotations, resourceVersion } = existing.metadata;
    const marks = [...Object.keys(labels ?? {}), ...Object.keys(annotations ?? {})].filter(isClaimMark);
    if (marks.length === 0) return;
    const empty = Object.fromEntries(marks.map((mark) => [mark, null]));
    const patch = { metadata: { resourceVersion, labels: empty, annotations: empty } };
    await this.#client(namespace ?? "").patch(name, "merge", patch, {
      fieldManager: MANAGER,
      ...(namespace === undefined ? {} : { namespace }),
    });
  }

  /** Deletes a binding. */
  async remove({ metadata: { name, namespace, uid } }: ResourceBinding): Promise<void> {
    await this.#client(namespace ?? "").delete(name, {
      preconditions: { uid },
      ...(namespace === undefined ? {} : { namespace }),
    });
  }

  #client(namespace: string): ResourceClient<ResourceBinding> {
    return this.#hub.client.resource(bindingKindOf(namespace));
  }

  #informer(namespace: string): Informer<ResourceBinding> {
    return this.#hub.informers.informer(bindingKindOf(namespace));
  }
}

/** What of a binding comes from template and policy. */
function wishFor(
  template: KubeObject,
  policy: Policy,
  wanted: Replicas | undefined,
  old: BindingSpec | undefined,
): BindingSpec {
  const { spec } = policy;
  const { metadata, apiVersion, kind } = template;
  const suspension = {
    ...spec.suspension,
    ...(old?.suspension?.scheduling === undefined ? {} : { scheduling: old.suspension.scheduling }),
  };
  return {
    resource: {
      apiVersion,
      kind,
      name: metadata.name,
      uid: metadata.uid,
      resourceVersion: metadata.resourceVersion,
      ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
    },
    placement: spec.placement ?? {},
    schedulerName: spec.schedulerName,
    conflictResolution: spec.conflictResolution,
    ...(wanted === undefined || wanted.replicas === 0 ? {} : { replicas: wanted.replicas }),
    ...(wanted?.requirements === undefined ? {} : { replicaRequirements: requirementsOf(wanted.requirements) }),
    ...(spec.propagateDeps === undefined ? {} : { propagateDeps: spec.propagateDeps }),
    ...(spec.failover === undefined ? {} : { failover: spec.failover }),
    ...(Object.keys(suspension).length === 0 ? {} : { suspension }),
    ...(spec.preserveResourcesOnDeletion === undefined
      ? {}
      : { preserveResourcesOnDeletion: spec.preserveResourcesOnDeletion }),
  };
}

const WISHED = [
  "placement",
  "schedulerName",
  "conflictResolution",
  "replicas",
  "replicaRequirements",
  "propagateDeps",
  "failover",
  "suspension",
  "preserveResourcesOnDeletion",
  "schedulePriority",
] as const;

function changedFields(spec: BindingSpec, wish: BindingSpec): string[] {
  const isSame = (a: unknown, b: unknown): boolean => equalJson(asJson(a), asJson(b));
  const changed: string[] = WISHED.filter((field) => !isSame(spec[field], wish[field]));
  if (spec.resource.uid !== wish.resource.uid) changed.push("resource");
  return changed;
}

const asJson = (value: unknown): Json | undefined => (value === undefined ? undefined : toJson(value));

/** Fields that template and policy say nothing of any more are gone. */
function withoutAbsent(spec: BindingSpec, wish: BindingSpec): JsonObject {
  const all = toJsonObject(spec);
  for (const field of WISHED) if (wish[field] === undefined) delete all[field];
  return all;
}

const CLAIM_MARKS = new Set<string>([...Object.values(CLAIM.namespaced), ...Object.values(CLAIM.cluster)]);
const isClaimMark = (mark: string): boolean => CLAIM_MARKS.has(mark);

function withoutClaims(marks: Readonly<Record<string, string>> | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(marks ?? {}).filter(([mark]) => !isClaimMark(mark)));
}

/** Labels by which a policy claims a template and its binding. */
export function claimLabels(policy: Policy): Record<string, string> {
  return { [policy.isCluster ? CLAIM.cluster.id : CLAIM.namespaced.id]: policy.id };
}

/** Annotations that name that policy. */
export function claimAnnotations(policy: Policy): Record<string, string> {
  return policy.isCluster
    ? { [CLAIM.cluster.name]: policy.name }
    : { [CLAIM.namespaced.name]: policy.name, [CLAIM.namespaced.namespace]: policy.namespace };
}

function requirementsOf(needs: ReplicaRequirements): NonNullable<BindingSpec["replicaRequirements"]> {
  const { nodeClaim, resourceRequest, priorityClassName } = needs;
  return {
    ...(resourceRequest === undefined ? {} : { resourceRequest: { ...resourceRequest } }),
    ...(priorityClassName === undefined ? {} : { priorityClassName }),
    ...(nodeClaim === undefined
      ? {}
      : {
          nodeClaim: {
            ...(nodeClaim.hardNodeAffinity === undefined ? {} : { hardNodeAffinity: nodeClaim.hardNodeAffinity }),
            ...(nodeClaim.nodeSelector === undefined ? {} : { nodeSelector: { ...nodeClaim.nodeSelector } }),
            ...(nodeClaim.tolerations === undefined ? {} : { tolerations: nodeClaim.tolerations.map(tolerationOf) }),
          },
        }),
  };
}

function tolerationOf(value: JsonObject): Record<string, string> {
  return Object.fromEntries(
    ["key", "operator", "value", "effect"].flatMap((field) => {
      const text = value[field];
      return typeof text === "string" ? [[field, text]] : [];
    }),
  );
}
