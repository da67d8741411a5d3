import type { ResourceClient } from "../../../kernel/client/index.js";
import type { Random } from "../../../kernel/clock/index.js";
import {
  type ClusterAccess,
  type Informer,
  ownerReferenceTo,
  type ReconcileContext,
} from "../../../kernel/control/index.js";
import {
  apiVersionOf,
  isDeleting,
  type JsonObject,
  type KindDefinition,
  type KubeObject,
} from "../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";
import type { Ledger } from "../../../stores/ledger/index.js";
import type { CustomizationSource, Interpreters } from "../interpreters/index.js";
import type { ClusterBook } from "../placement/cluster-book.js";
import type { PlacementResult } from "../placement/types.js";
import type { Policy } from "../policies/choose.js";
import { BINDING, bindingNameOf, CLAIM } from "../policies/marks.js";
import { type Bound, decide, isOurs, placementText, takeBack, takeNote, targetsOf, verdictOn } from "./decide.js";
import type { Decided } from "./decided.js";
import { recordDecision } from "./decisions.js";
import { groupNamesOf } from "./groups.js";
import { type BindingSpec, ClusterResourceBindingKind, type ResourceBinding, ResourceBindingKind } from "./kinds.js";
import { changedFields, wishFor, withoutAbsent } from "./wish.js";

const MANAGER = "resource-detector";

/** What a binding is to be, and the decision in it that is not written yet. */
interface Draft {
  readonly spec: BindingSpec;
  readonly annotations: Readonly<Record<string, string>>;
  readonly decision?: { readonly bound: Bound; readonly result: PlacementResult; readonly why: string };
}

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
  readonly decided: Decided;
}

/** Keeps the bindings of templates: what their policy asks for, and already where they go. */
export class BindingWriter {
  readonly #hub: ClusterAccess;
  readonly #book: ClusterBook;
  readonly #ledger: Ledger;
  readonly #interpreters: Interpreters;
  readonly #decided: Decided;

  constructor(hub: ClusterAccess, parts: WriterParts) {
    this.#hub = hub;
    this.#book = parts.book;
    this.#ledger = parts.ledger;
    this.#interpreters = parts.interpreters;
    this.#decided = parts.decided;
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
    const interpreter = this.#interpreters.interpreterFor(template.apiVersion, template.kind);
    const wish = {
      ...wishFor(template, policy, interpreter, existing?.spec),
      ...(priority === undefined ? {} : { schedulePriority: { priority } }),
    };
    if (existing === undefined) await this.#create(wish, template, policy, random);
    else await this.#renew(existing, wish, template, policy);
  }

  async #create(wish: BindingSpec, template: KubeObject, policy: Policy, random: Random): Promise<void> {
    const namespace = template.metadata.namespace ?? "";
    const key = { namespace, name: bindingNameOf(template.kind, template.metadata.name) };
    const draft = this.#withPlace(wish, { spec: wish, annotations: {} });
    if (draft.decision !== undefined && groupNamesOf(wish).length === 0)
      this.#decided.note(key, draft.decision.result, this.#book.list);
    try {
      const writing = this.#client(namespace).create(
        {
          apiVersion: apiVersionOf(ResourceBindingKind),
          kind: bindingKindOf(namespace).kind,
          metadata: {
            name: key.name,
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
      await this.#settle(draft, template, writing);
    } catch (error) {
      this.#decided.forget(key);
      throw error;
    }
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
    const next = this.#withPlace(
      { ...spec, ...wish },
      {
        spec: { ...spec, ...wish },
        annotations,
        ...(existing.status === undefined ? {} : { status: existing.status }),
      },
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
    const writing = this.#client(namespace ?? "").patch(metadata.name, "json", patch, {
      fieldManager: MANAGER,
      ...(namespace === undefined ? {} : { namespace }),
    });
    await this.#settle(next, template, writing);
  }

  /** A decision holds, and is told, when it is written. */
  async #settle({ decision }: Draft, template: KubeObject, writing: Promise<unknown>): Promise<void> {
    try {
      await writing;
    } catch (error) {
      if (decision !== undefined) takeBack(this.#book, decision.bound, decision.result);
      throw error;
    }
    if (decision !== undefined)
      recordDecision(this.#ledger, { hub: this.#hub.name, template, why: decision.why }, decision.result);
  }

  /** With the decision where it goes, where one is due. */
  #withPlace(spec: BindingSpec, bound: Bound): Draft {
    const verdict = isOurs(spec) ? verdictOn(bound, this.#book.byName) : undefined;
    // A fresh placement is the scheduler's, which notes that it is done.
    if (verdict?.isDue !== true || verdict.isFresh) return { spec, annotations: {} };
    const result = decide(bound, this.#book.list, false);
    if (!result.isPlaced) return { spec, annotations: {} };
    takeNote(this.#book, bound, result);
    return {
      spec: { ...spec, clusters: targetsOf(result.targets, spec.components) },
      annotations: { [BINDING.appliedPlacement]: placementText(spec.placement ?? {}) },
      decision: { bound, result, why: verdict.why },
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
