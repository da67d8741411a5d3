import { type ControllerSpec, type ReconcileContext, syncStatus } from "../../../kernel/control/index.js";
import { isNotFound } from "../../../kernel/errors/index.js";
import {
  findCondition,
  isDeleting,
  type KindDefinition,
  type KubeObject,
  timeOf,
  withCondition,
} from "../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";
import {
  type AggregatedItem,
  ClusterResourceBindingKind,
  type ResourceBinding,
  ResourceBindingKind,
} from "../bindings/kinds.js";
import { bindingOf } from "../bindings/works.js";
import { isMoreThanStatus } from "../changes.js";
import type { Interpreters } from "../interpreters/index.js";
import { jsonOf } from "../json.unsafe.js";
import { type Work, WorkKind } from "../kinds.js";
import { partOf, type Templates } from "../policies/templates.js";
import { aggregatedItems, expectedClusters, fullyApplied } from "./aggregate-binding.js";

type Context = ReconcileContext<ResourceBinding>;

const INDEX = "status-of-binding";
/** Several members answer at about the same time: one write tells of all of them. */
const GATHER_MS = 20;
/** How long those that have answered wait for the others. */
const GATHER_ALL_MS = 1000;
/** How long a binding without Works is given before it is said that nothing was applied. */
const PATIENCE_MS = 1000;

/** What the gathering of statuses needs. */
export interface StatusParts {
  readonly templates: Templates;
  readonly interpreters: Interpreters;
}

/** Tells in bindings and templates what members tell in Works. One controller for each kind of binding. */
export function bindingStatusControllers(parts: StatusParts): ControllerSpec<ResourceBinding>[] {
  return [
    statusController(ResourceBindingKind, "rb-status-controller", parts),
    statusController(ClusterResourceBindingKind, "crb-status-controller", parts),
  ];
}

function statusController(
  kind: KindDefinition<ResourceBinding>,
  name: string,
  parts: StatusParts,
): ControllerSpec<ResourceBinding> {
  const following = new WeakMap<AbortSignal, Promise<void>>();
  /** Since when bindings have no Works yet, by uid. */
  const waiting = new Map<string, number>();
  // Nobody looks before all Works are known: a binding without them would be told to have none.
  const follow = (context: Context): Promise<void> => {
    const known = following.get(context.signal);
    if (known !== undefined) return known;
    const works = context.cluster.informers.informer(WorkKind);
    works.addIndex(INDEX, (work) => {
      const key = bindingOf(work);
      return key === undefined ? [] : [`${key.namespace}/${key.name}`];
    });
    const undo = works.onChange((now, old) => {
      if (now !== undefined && old !== undefined && !isTelling(now, old)) return;
      const key = bindingOf(now ?? old ?? { metadata: NO_METADATA });
      if (key === undefined || (key.namespace !== "") !== kind.namespaced) return;
      const isWhole = works.byIndex(INDEX, `${key.namespace}/${key.name}`).every(isAnswered);
      context.enqueue(key, isWhole ? GATHER_MS : GATHER_ALL_MS);
    });
    context.signal.addEventListener("abort", undo, { once: true });
    const ready = Promise.all([works.synced(context.signal), parts.interpreters.follow(context)]).then(() => {});
    following.set(context.signal, ready);
    return ready;
  };
  return {
    name,
    kind,
    concerns: isMoreThanStatus,
    concurrency: 16,
    async reconcile(key, binding, context) {
      await follow(context);
      if (binding === undefined || isDeleting(binding)) return undefined;
      const { uid } = binding.metadata;
      const works = context.cluster.informers.informer(WorkKind).byIndex(INDEX, `${key.namespace}/${key.name}`);
      const wasTold = findCondition(binding.status?.conditions, "FullyApplied") !== undefined;
      if (works.length === 0 && !wasTold) {
        if (expectedClusters(binding.spec).size === 0) return undefined;
        const sinceMs = waiting.get(uid) ?? context.clock.monotonicMs();
        waiting.set(uid, sinceMs);
        const leftMs = sinceMs + PATIENCE_MS - context.clock.monotonicMs();
        if (leftMs > 0) return { requeueAfterMs: leftMs };
      }
      waiting.delete(uid);
      const items = aggregatedItems(works);
      await tellBinding(binding, items, { kind, name, context });
      await tellTemplate(binding, items, { parts, name, context });
      return undefined;
    },
  };
}

const NO_METADATA = { name: "", uid: "", resourceVersion: "", creationTimestamp: "" };

/** Whether a member has said something of a Work as it is now; of a suspended one nothing is expected. */
function isAnswered(work: Work): boolean {
  if (isDeleting(work) || work.spec.suspendDispatching === true) return true;
  return findCondition(work.status?.conditions, "Applied")?.observedGeneration === work.metadata.generation;
}

/** Whether the change of a Work is one that its binding tells of. */
function isTelling(now: Work, old: Work): boolean {
  return isDeleting(now) !== isDeleting(old) || !equalJson(now.status ?? {}, old.status ?? {});
}

interface Teller {
  readonly name: string;
  readonly context: Context;
}

async function tellBinding(
  binding: ResourceBinding,
  items: AggregatedItem[],
  { kind, name, context }: Teller & { readonly kind: KindDefinition<ResourceBinding> },
): Promise<void> {
  const observedGeneration = binding.metadata.generation ?? 0;
  const draft = { ...fullyApplied(binding.spec, items), observedGeneration };
  const conditions = withCondition(binding.status?.conditions, draft, context.clock.now());
  const { aggregatedStatus: _old, ...rest } = binding.status ?? {};
  const status = { ...rest, conditions, ...(items.length === 0 ? {} : { aggregatedStatus: items }) };
  await syncStatus(context.cluster.client.resource(kind), binding, status, name);
}

async function tellTemplate(
  binding: ResourceBinding,
  items: readonly AggregatedItem[],
  { parts, name, context }: Teller & { readonly parts: StatusParts },
): Promise<void> {
  const { apiVersion, kind, name: templateName, namespace = "" } = binding.spec.resource;
  const interpreter = parts.interpreters.interpreterFor(apiVersion, kind);
  const informer = await parts.templates.follow(apiVersion, kind, context.signal);
  const template = informer?.get({ namespace, name: templateName });
  if (informer === undefined || template === undefined) return;
  const status = interpreter.aggregateStatus(jsonOf(template), items, timeOf(context.clock.now()));
  if (status === undefined || isSameStatus(template, status)) return;
  try {
    await context.cluster.client
      .dynamic(informer.kind)
      .patch(templateName, "json", [{ op: "add", path: "/status", value: toJson(status) }], {
        subresource: "status",
        fieldManager: name,
        ...(namespace === "" ? {} : { namespace }),
      });
  } catch (error) {
    // It is gone, or its kind keeps no status apart.
    if (!isNotFound(error)) throw error;
    context.log.debug("a template has no status to write", { kind, namespace, name: templateName });
  }
}

function isSameStatus(template: KubeObject, status: object): boolean {
  return equalJson(partOf(template, "status") ?? {}, status);
}
