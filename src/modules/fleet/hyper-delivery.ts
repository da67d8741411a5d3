import type { ApplyObject } from "../../kernel/client/index.js";
import type { ReconcileContext } from "../../kernel/control/index.js";
import { isNotFound, messageOf } from "../../kernel/errors/index.js";
import { isConditionTrue, isDeleting } from "../../kernel/kinds/index.js";
import { asObjects, asString, equalJson, toJsonObject } from "../../kernel/schema/index.js";
import { describeUnknownCluster, type PlannedObject, qualified } from "./hyper-plan.js";
import { memberStatusOf, nameClash } from "./hyper-readiness.js";
import type { ObjectState } from "./hyper-status.js";
import { deliveryOf, manifestOf, workFor } from "./hyper-works.js";
import { ClusterKind, type HyperMLService, type Work, WorkKind } from "./kinds.js";
import { sendSpace } from "./member-spaces.js";
import { clusterOfSpace, executionSpaceOf } from "./names.js";

const NAME = "hypermlservice-controller";

type Context = ReconcileContext<HyperMLService>;

/** What later ranks wait for. */
interface Gate {
  readonly object: PlannedObject;
  /** `applied`, `established`. */
  readonly until: string;
  /** Why it does not come to that by itself; empty: it may. */
  readonly why: string;
}

/** One Work among those of all clusters. */
export function workKey(cluster: string, name: string): string {
  return `${cluster}/${name}`;
}

/** What has still to become of an object before later ranks may come; empty: nothing. */
function obstructionOf(state: ObjectState): string {
  if (!state.isApplied) return "applied";
  if (state.object.kind !== "CustomResourceDefinition") return "";
  const conditions = asObjects(memberStatusOf(state)?.["conditions"]).map(({ type, status }) => ({
    type: asString(type),
    status: asString(status),
  }));
  return isConditionTrue(conditions, "Established") ? "" : "established";
}

/** How Works that are as planned stand, by the Work as it was read and what it was planned as. */
export type DeliveryMemory = WeakMap<Work, ObjectState>;

/** Brings one HyperMLService's objects into the hub's Works. */
export class Delivery {
  readonly #owner: HyperMLService;
  readonly #context: Context;
  readonly #existing: ReadonlyMap<string, Work>;
  readonly #delivered: DeliveryMemory;
  readonly #isKarmadas: boolean;
  /** Clusters that are being removed: nothing is delivered there. */
  readonly leaving: ReadonlySet<string>;

  /** `works` are those that the owner has already. */
  constructor(
    owner: HyperMLService,
    works: readonly Work[],
    {
      context,
      delivered,
      isKarmadas,
    }: { readonly context: Context; readonly delivered: DeliveryMemory; readonly isKarmadas: boolean },
  ) {
    this.#owner = owner;
    this.#context = context;
    this.#delivered = delivered;
    this.#isKarmadas = isKarmadas;
    this.#existing = new Map(
      works.map((work) => [workKey(clusterOfSpace(work.metadata.namespace ?? "") ?? "", work.metadata.name), work]),
    );
    const clusters = context.cluster.informers.informer(ClusterKind).list();
    this.leaving = new Set(clusters.filter(isDeleting).map((cluster) => cluster.metadata.name));
  }

  /** All objects of one cluster, each rank once the ranks before it are applied. The states are in the order of `objects`. */
  async deliver(objects: readonly PlannedObject[]): Promise<ObjectState[]> {
    const states = new Map<PlannedObject, ObjectState>();
    let waitsFor: Gate | undefined;
    for (const rank of [...new Set(objects.map((object) => object.rank))].sort((a, b) => a - b)) {
      const group = objects.filter((object) => object.rank === rank);
      const gate = waitsFor;
      for (const object of group) {
        const state = this.#obstacleOf(object) ?? (await this.#deliverOne(object, objects, gate));
        states.set(object, state);
        const until = obstructionOf(state);
        const why = nameClash(state);
        if (until !== "" && (waitsFor === undefined || (waitsFor.why === "" && why !== "")))
          waitsFor = { object, until, why };
      }
    }
    return objects.flatMap((object) => states.get(object) ?? []);
  }

  #obstacleOf(object: PlannedObject): ObjectState | undefined {
    const { cluster, workName } = object;
    if (this.leaving.has(cluster)) {
      const message = `cluster ${cluster} is being removed`;
      const existing = this.#existing.get(workKey(cluster, workName));
      return this.#state(object, existing, { isApplied: false, reason: "ClusterLeaving", message });
    }
    const clusters = this.#context.cluster.informers.informer(ClusterKind);
    if (clusters.get({ namespace: "", name: cluster }) !== undefined) return undefined;
    const names = clusters.list().map(({ metadata }) => metadata.name);
    const message = describeUnknownCluster(cluster, names);
    return this.#state(object, undefined, { isApplied: false, reason: "ClusterUnknown", message });
  }

  async #deliverOne(
    object: PlannedObject,
    planned: readonly PlannedObject[],
    waitsFor: Gate | undefined,
  ): Promise<ObjectState> {
    const existing = this.#existing.get(workKey(object.cluster, object.workName));
    const known = existing === undefined ? undefined : this.#delivered.get(existing);
    if (known?.object === object) return known;
    if (existing === undefined && this.#isTombstone(object)) {
      const message = `waits until what an earlier HyperMLService of this name left in cluster ${object.cluster} is removed`;
      return this.#state(object, undefined, { isApplied: false, reason: "Pending", message });
    }
    const fault = await this.#namespaceFault(object);
    if (fault !== undefined)
      return this.#state(object, existing, { isApplied: false, reason: "NamespaceMissing", message: fault });
    if (existing?.metadata.deletionTimestamp !== undefined) {
      return this.#state(object, existing, {
        isApplied: false,
        reason: "Pending",
        message: "waits for its earlier form to be removed",
      });
    }
    const desired = workFor(this.#owner, object, existing);
    const isCurrent =
      existing !== undefined &&
      equalJson(manifestOf(existing), desired.spec.workload?.manifests?.[0]) &&
      existing.metadata.finalizers?.includes(desired.metadata.finalizers?.[0] ?? "") === true;
    if (isCurrent) {
      const state = this.#state(object, existing, deliveryOf(existing));
      this.#delivered.set(existing, state);
      return state;
    }
    if (waitsFor !== undefined) {
      const { until, why } = waitsFor;
      const what = `waits for ${waitsFor.object.kind} ${qualified(waitsFor.object)} to be ${until} first`;
      return this.#state(object, existing, {
        isApplied: false,
        reason: why === "" ? "WaitingForOrder" : "NamesNotAccepted",
        message: why === "" ? what : `${what}: ${why}`,
      });
    }
    try {
      if (this.#isKarmadas) await sendSpace(object, planned, this.#context);
      const { namespace, labels, annotations, finalizers } = desired.metadata;
      const metadata = { namespace, labels, annotations, finalizers };
      const written = await this.#context.cluster.client
        .resource(WorkKind)
        .apply(toApply(object.workName, metadata, desired.spec), {
          fieldManager: NAME,
          force: true,
          ...(namespace === undefined ? {} : { namespace }),
        });
      return this.#state(object, written, deliveryOf(written));
    } catch (error) {
      const message = isNotFound(error)
        ? `the hub has no namespace for cluster ${object.cluster} yet`
        : `cannot write its Work: ${messageOf(error)}`;
      return this.#state(object, existing, { isApplied: false, reason: "DeliveryFailed", message });
    }
  }

  #isTombstone({ cluster, workName }: PlannedObject): boolean {
    const works = this.#context.cluster.informers.informer(WorkKind);
    const standing = works.get({ namespace: executionSpaceOf(cluster), name: workName });
    return standing !== undefined && isDeleting(standing);
  }

  /** Kinds that the hub knows are checked here; of others the member tells. */
  async #namespaceFault(object: PlannedObject): Promise<string | undefined> {
    if (object.namespace !== "") return undefined;
    const kind = await this.#context.cluster.client.findKind(object.apiVersion, object.kind);
    return kind?.namespaced === true ? `metadata.namespace is required for ${object.kind}` : undefined;
  }

  #state(
    object: PlannedObject,
    work: Work | undefined,
    delivery: Pick<ObjectState, "isApplied" | "reason" | "message">,
  ): ObjectState {
    return { object, work, isApplied: delivery.isApplied, reason: delivery.reason, message: delivery.message };
  }
}

function toApply(name: string, metadata: object, spec: object): ApplyObject {
  return { metadata: { ...toJsonObject(metadata), name }, spec: toJsonObject(spec) };
}
