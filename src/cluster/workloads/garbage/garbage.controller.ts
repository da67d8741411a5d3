import type { ControllerSpec, Key, ReconcileContext } from "../../../kernel/control/index.js";
import { isConflict, isNotFound } from "../../../kernel/errors/index.js";
import {
  CustomResourceDefinitionKind,
  isDeleting,
  type Kind,
  type KubeObject,
  type Namespace,
  NamespaceKind,
  type OwnerReference,
} from "../../../kernel/kinds/index.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { type Found, foregroundFinalizer, keyFor, OwnerGraph, orphanFinalizer } from "./graph.js";

/** The key under which resources are discovered anew; no object has a name with a leading `#`. */
const discovery: Key = { namespace: "", name: "#discovery" };
/** A new CRD is served a moment after it is there. */
const rediscoverMs = [0, 1000, 5000];

/** Deletes what is left without owners, in the foreground, in the background or not at all, as the owner's deletion asked. */
export function garbageCollector(): ControllerSpec<Namespace> {
  let collector: Collector | undefined;
  return {
    name: "garbage-collector",
    // Its work is on all kinds; namespaces are there from the start and wake it.
    kind: NamespaceKind,
    watches: [{ kind: CustomResourceDefinitionKind, keys: () => [discovery] }],
    concurrency: 4,
    async reconcile(key, _namespace, context) {
      if (collector === undefined || collector.signal !== context.signal) {
        collector = new Collector(context);
        await collector.graph.discover();
      }
      if (key.name === discovery.name) {
        await collector.graph.discover();
        for (const delayMs of collector.takeRediscoveries()) context.enqueue(discovery, delayMs);
        return;
      }
      const found = collector.graph.find(key);
      if (found !== undefined) await collector.work(found, context);
    },
  };
}

/** Owners of an object, by what became of them. */
interface Owners {
  readonly solid: readonly OwnerReference[];
  readonly dangling: readonly OwnerReference[];
  /** They wait, in the foreground, for their dependents to go. */
  readonly waiting: readonly OwnerReference[];
}

class Collector {
  readonly signal: AbortSignal;
  readonly graph: OwnerGraph;
  #rediscoveries: readonly number[] = rediscoverMs;

  constructor(context: ReconcileContext<Namespace>) {
    this.signal = context.signal;
    this.graph = new OwnerGraph(context.cluster, (kind, now, old) => {
      for (const key of this.#wokenBy(kind, now, old)) context.enqueue(key);
      if (kind.plural === CustomResourceDefinitionKind.plural) this.#rediscoveries = rediscoverMs;
    });
  }

  /** Further looks after a change of CRDs: each at most once. */
  takeRediscoveries(): readonly number[] {
    const delays = this.#rediscoveries.filter((delayMs) => delayMs > 0);
    this.#rediscoveries = [];
    return delays;
  }

  async work({ kind, object }: Found, context: ReconcileContext<Namespace>): Promise<void> {
    try {
      if (isDeleting(object)) await this.#workOnDeleting({ kind, object }, context);
      else if ((object.metadata.ownerReferences ?? []).length > 0) await this.#workOnOwned({ kind, object }, context);
    } catch (error) {
      // Gone, or changed: the informer will tell.
      if (isNotFound(error)) return;
      throw error;
    }
  }

  /** Whose turn a change makes it. */
  *#wokenBy(kind: Kind, now: KubeObject | undefined, old: KubeObject | undefined): Generator<Key> {
    if (now !== undefined && concerns(now) && (old === undefined ? !this.#isKept(now) : differs(now, old)))
      yield keyFor(kind, now);
    if (now === undefined && old !== undefined)
      for (const dependent of this.graph.dependentsOf(old.metadata.uid)) yield keyFor(dependent.kind, dependent.object);
    // An owner that waits in the foreground looks again when a dependent goes or lets it go.
    if (old === undefined || (now !== undefined && !differs(now, old))) return;
    for (const reference of old.metadata.ownerReferences ?? []) {
      const owner = this.#ownerIn(reference, old);
      if (owner !== undefined && isWaiting(owner.object)) yield keyFor(owner.kind, owner.object);
    }
  }

  /** Whether all owners of an object are there, and stay: it is its owners' turn to tell. */
  #isKept(object: KubeObject): boolean {
    const { ownerReferences = [] } = object.metadata;
    if (isDeleting(object)) return false;
    return ownerReferences.every((reference) => {
      const owner = this.#ownerIn(reference, object);
      return owner !== undefined && !isDeleting(owner.object);
    });
  }

  #ownerIn(reference: OwnerReference, dependent: KubeObject): Found | undefined {
    const kind = this.graph.kindOf(reference);
    if (kind === undefined) return undefined;
    const namespace = kind.namespaced ? (dependent.metadata.namespace ?? "") : "";
    const object = this.graph.get(kind, { namespace, name: reference.name });
    return object?.metadata.uid === reference.uid ? { kind, object } : undefined;
  }

  async #workOnDeleting(found: Found, context: ReconcileContext<Namespace>): Promise<void> {
    const finalizers = found.object.metadata.finalizers ?? [];
    if (!finalizers.includes(foregroundFinalizer) && !finalizers.includes(orphanFinalizer)) return;
    await this.graph.synced(context.signal);
    const { uid } = found.object.metadata;
    const dependents = this.graph.dependentsOf(uid);
    if (finalizers.includes(orphanFinalizer)) {
      for (const dependent of dependents) await dropOwners(dependent, new Set([uid]), context);
      await dropFinalizer(found, orphanFinalizer, context);
      return;
    }
    for (const dependent of dependents) context.enqueue(keyFor(dependent.kind, dependent.object));
    const isBlocked = dependents.some(({ object }) =>
      object.metadata.ownerReferences?.some((owner) => owner.uid === uid && owner.blockOwnerDeletion === true),
    );
    if (!isBlocked) await dropFinalizer(found, foregroundFinalizer, context);
  }

  async #workOnOwned(found: Found, context: ReconcileContext<Namespace>): Promise<void> {
    const owners = await this.#sortOwners(found.object, context);
    if (owners === undefined) return;
    const { solid, dangling, waiting } = owners;
    if (solid.length > 0) {
      const gone = new Set([...dangling, ...waiting].map(({ uid }) => uid));
      if (gone.size > 0) await dropOwners(found, gone, context);
      return;
    }
    const finalizers = found.object.metadata.finalizers ?? [];
    const hasDependents = this.graph.dependentsOf(found.object.metadata.uid).length > 0;
    if (waiting.length > 0 && hasDependents) await remove(found, "Foreground", context);
    else if (finalizers.includes(orphanFinalizer)) await remove(found, "Orphan", context);
    else if (finalizers.includes(foregroundFinalizer)) await remove(found, "Foreground", context);
    else await remove(found, "Background", context);
  }

  /** `undefined` when an owner's kind is not known: then nothing is decided. */
  async #sortOwners(object: KubeObject, context: ReconcileContext<Namespace>): Promise<Owners | undefined> {
    const solid: OwnerReference[] = [];
    const dangling: OwnerReference[] = [];
    const waiting: OwnerReference[] = [];
    for (const reference of object.metadata.ownerReferences ?? []) {
      const kind =
        this.graph.kindOf(reference) ?? (await context.cluster.client.findKind(reference.apiVersion, reference.kind));
      if (kind === undefined) {
        context.log.debug("owner of unknown kind", {
          owner: `${reference.apiVersion} ${reference.kind} ${reference.name}`,
        });
        return undefined;
      }
      if (kind.namespaced && object.metadata.namespace === undefined) {
        const message = `ownerRef ${reference.kind} ${reference.name} is namespaced, but ${object.metadata.name} is not`;
        context.events.record(object, "Warning", "OwnerRefInvalidNamespace", message);
        return undefined;
      }
      const owner = await this.#lookUp(kind, reference, object, context);
      if (owner === undefined) dangling.push(reference);
      else if (isWaiting(owner) && reference.blockOwnerDeletion === true) waiting.push(reference);
      else solid.push(reference);
    }
    return { solid, dangling, waiting };
  }

  /** The owner with the uid of the reference. What informers do not show is asked of the server: they may be behind. */
  async #lookUp(
    kind: Kind,
    reference: OwnerReference,
    dependent: KubeObject,
    { cluster }: ReconcileContext<Namespace>,
  ): Promise<KubeObject | undefined> {
    const namespace = kind.namespaced ? (dependent.metadata.namespace ?? "") : "";
    const known = this.graph.get(kind, { namespace, name: reference.name });
    if (known?.metadata.uid === reference.uid) return known;
    const found = await cluster.client.dynamic(kind).find(reference.name, kind.namespaced ? { namespace } : {});
    return found?.metadata.uid === reference.uid ? found : undefined;
  }
}

/** Whether there can be anything to do about an object. */
function concerns(object: KubeObject): boolean {
  return isDeleting(object) ? hasGarbageFinalizer(object) : (object.metadata.ownerReferences ?? []).length > 0;
}

function differs({ metadata: now }: KubeObject, { metadata: old }: KubeObject): boolean {
  return (
    now.uid !== old.uid ||
    now.deletionTimestamp !== old.deletionTimestamp ||
    !equalJson(now.finalizers ?? none, old.finalizers ?? none) ||
    !equalJson(now.ownerReferences ?? none, old.ownerReferences ?? none)
  );
}

const none: readonly never[] = [];

function hasGarbageFinalizer({ metadata }: KubeObject): boolean {
  return metadata.finalizers?.some((item) => item === foregroundFinalizer || item === orphanFinalizer) === true;
}

function isWaiting(object: KubeObject): boolean {
  return isDeleting(object) && object.metadata.finalizers?.includes(foregroundFinalizer) === true;
}

async function remove(
  { kind, object }: Found,
  propagationPolicy: "Foreground" | "Background" | "Orphan",
  { cluster, log }: ReconcileContext<Namespace>,
): Promise<void> {
  const { namespace = "", name, uid, resourceVersion } = object.metadata;
  log.debug("object without owners is deleted", { object: `${kind.kind} ${namespace}/${name}`, propagationPolicy });
  const where = kind.namespaced ? { namespace } : {};
  // The version too: an owner may have adopted it since.
  const preconditions = { uid, resourceVersion };
  await cluster.client.dynamic(kind).delete(name, { ...where, propagationPolicy, preconditions });
}

async function dropOwners(
  { kind, object }: Found,
  gone: ReadonlySet<string>,
  { cluster }: ReconcileContext<Namespace>,
): Promise<void> {
  const { namespace = "", name, uid, resourceVersion, ownerReferences = [] } = object.metadata;
  const kept = ownerReferences.filter((owner) => !gone.has(owner.uid)).map((owner) => ({ ...owner }));
  const patch = { metadata: { uid, resourceVersion, ownerReferences: kept.length === 0 ? null : kept } };
  try {
    await cluster.client
      .dynamic(kind)
      .patch(name, "merge", patch, { ...(kind.namespaced ? { namespace } : {}), fieldManager: "garbage-collector" });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

async function dropFinalizer(
  { kind, object }: Found,
  finalizer: string,
  context: ReconcileContext<Namespace>,
): Promise<void> {
  const { namespace = "", name, uid, resourceVersion, finalizers = [] } = object.metadata;
  const patch = { metadata: { uid, resourceVersion, finalizers: finalizers.filter((item) => item !== finalizer) } };
  try {
    await context.cluster.client
      .dynamic(kind)
      .patch(name, "merge", patch, { ...(kind.namespaced ? { namespace } : {}), fieldManager: "garbage-collector" });
  } catch (error) {
    if (isConflict(error)) context.enqueue(keyFor(kind, object), 10);
    else if (!isNotFound(error)) throw error;
  }
}
