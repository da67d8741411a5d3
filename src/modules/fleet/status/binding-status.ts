import { type ControllerSpec, type Key, type ReconcileContext, syncStatus } from "../../../kernel/control/index.js";
import { isNotFound } from "../../../kernel/errors/index.js";
import {
  findCondition,
  isDeleting,
  type Kind,
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
import type { Reports } from "../bindings/reports.js";
import { bindingOf } from "../bindings/works.js";
import { isMoreThanStatus } from "../changes.js";
import type { Interpreters } from "../interpreters/index.js";
import { jsonOf } from "../json.unsafe.js";
import { type Work, WorkKind } from "../kinds.js";
import { partOf, type Templates } from "../policies/templates.js";
import { aggregatedItems, expectedClusters, fullyApplied } from "./aggregate-binding.js";
import type { Pace } from "./pace.js";

type Context = ReconcileContext<ResourceBinding>;

const INDEX = "status-of-binding";
/** Several members answer at about the same time: one write tells of all of them. */
const GATHER_MS = 20;

/** What the gathering of statuses needs. */
export interface StatusParts {
  readonly templates: Templates;
  readonly interpreters: Interpreters;
  readonly pace: Pace;
  readonly reports: Reports;
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
  /** What each binding was last told of. */
  const told = new WeakMap<ResourceBinding, readonly unknown[]>();
  return {
    name,
    kind,
    concerns: isMoreThanStatus,
    concurrency: 16,
    async reconcile(key, binding, context) {
      const ready = following.get(context.signal) ?? follow(kind, parts, context);
      following.set(context.signal, ready);
      await ready;
      const text = textOf(key);
      if (binding === undefined || isDeleting(binding)) {
        parts.pace.end(text);
        return undefined;
      }
      const works = context.cluster.informers.informer(WorkKind).byIndex(INDEX, text);
      if (works.length === 0 && !isTold(binding) && expectedClusters(binding.spec).size === 0) return undefined;
      const leftMs = waitMs(binding, works, { pace: parts.pace, context });
      if (leftMs > 0) return { requeueAfterMs: leftMs };
      parts.pace.end(text);
      const template = await templateOf(binding, parts, context);
      const seen = told.get(binding);
      const shown = [template?.object, ...works];
      if (seen?.length === shown.length && seen.every((each, index) => each === shown[index])) return undefined;
      const items = aggregatedItems(works);
      const now = await tellBinding(binding, items, { kind, name, parts, context });
      const isSame =
        template === undefined || !(await tellTemplate(template, binding, items, { parts, name, context }));
      if (isSame) told.set(now, shown);
      return undefined;
    },
  };
}

/** Nobody looks before all Works are known: a binding without them would be told to have none. */
async function follow(
  { namespaced }: KindDefinition<ResourceBinding>,
  { interpreters, pace }: StatusParts,
  context: Context,
): Promise<void> {
  const works = context.cluster.informers.informer(WorkKind);
  works.addIndex(INDEX, (work) => {
    const key = bindingOf(work);
    return key === undefined ? [] : [textOf(key)];
  });
  const open = new Unanswered();
  for (const work of works.list()) open.note(work, work);
  const undo = works.onChange((now, old) => {
    open.note(now, old);
    if (now !== undefined && old !== undefined && !isTelling(now, old)) return;
    const key = bindingOf(now ?? old ?? { metadata: NO_METADATA });
    if (key === undefined || (key.namespace !== "") !== namespaced) return;
    const text = textOf(key);
    // That it was sent is no news of the member; its binding waits by itself.
    if (old === undefined && now !== undefined && !isAnswered(now) && pace.has(text)) return;
    context.enqueue(key, open.isAny(text) ? pace.patienceMs() : GATHER_MS);
  });
  context.signal.addEventListener("abort", undo, { once: true });
  await Promise.all([works.synced(context.signal), interpreters.follow(context)]);
}

/** Works that their members have not answered, by binding: one may have a thousand, and each answer asks whether it was the last. */
class Unanswered {
  readonly #open = new Map<string, Set<string>>();

  note(now: Work | undefined, old: Work | undefined): void {
    const work = now ?? old;
    const key = work === undefined ? undefined : bindingOf(work);
    if (work === undefined || key === undefined) return;
    const text = textOf(key);
    const name = `${work.metadata.namespace ?? ""}/${work.metadata.name}`;
    const open = this.#open.get(text);
    if (now !== undefined && !isAnswered(now)) {
      if (open === undefined) this.#open.set(text, new Set([name]));
      else open.add(name);
    } else if (open?.delete(name) === true && open.size === 0) this.#open.delete(text);
  }

  isAny(binding: string): boolean {
    return this.#open.has(binding);
  }
}

/** How long it is to wait until a binding is told of for the first time. */
function waitMs(
  binding: ResourceBinding,
  works: readonly Work[],
  { pace, context }: { readonly pace: Pace; readonly context: Context },
): number {
  if (isTold(binding) || (works.length > 0 && works.every(isAnswered))) return 0;
  const { namespace = "", name } = binding.metadata;
  const nowMs = context.clock.monotonicMs();
  return pace.begin(textOf({ namespace, name }), nowMs) + pace.patienceMs() - nowMs;
}

const textOf = ({ namespace, name }: Key): string => `${namespace}/${name}`;

function isTold({ status }: ResourceBinding): boolean {
  return findCondition(status?.conditions, "FullyApplied") !== undefined;
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
  readonly parts: StatusParts;
  readonly context: Context;
}

/** The binding as it is then. */
async function tellBinding(
  binding: ResourceBinding,
  items: AggregatedItem[],
  { kind, name, parts, context }: Teller & { readonly kind: KindDefinition<ResourceBinding> },
): Promise<ResourceBinding> {
  const observedGeneration = binding.metadata.generation ?? 0;
  const draft = { ...fullyApplied(binding.spec, items), observedGeneration };
  const report = parts.reports.merged(binding);
  const { aggregatedStatus: _old, ...rest } = report.status ?? {};
  const conditions = withCondition(rest.conditions, draft, context.clock.now());
  const status = { ...rest, conditions, ...(items.length === 0 ? {} : { aggregatedStatus: items }) };
  const now = await syncStatus(context.cluster.client.resource(kind), binding, status, name);
  report.written();
  return now;
}

interface Template {
  readonly kind: Kind;
  readonly object: KubeObject;
}

async function templateOf(
  { spec }: ResourceBinding,
  { templates }: StatusParts,
  { signal }: Context,
): Promise<Template | undefined> {
  const { apiVersion, kind, name, namespace = "" } = spec.resource;
  const informer = await templates.follow(apiVersion, kind, signal);
  const object = informer?.get({ namespace, name });
  return informer === undefined || object === undefined ? undefined : { kind: informer.kind, object };
}

/** Resolves to whether anything was written. */
async function tellTemplate(
  { kind, object }: Template,
  binding: ResourceBinding,
  items: readonly AggregatedItem[],
  { parts, name, context }: Teller,
): Promise<boolean> {
  const { resource } = binding.spec;
  const interpreter = parts.interpreters.interpreterFor(resource.apiVersion, resource.kind);
  const status = interpreter.aggregateStatus(jsonOf(object), items, timeOf(context.clock.now()));
  if (status === undefined || isSameStatus(object, status)) return false;
  const { namespace } = object.metadata;
  try {
    await context.cluster.client
      .dynamic(kind)
      .patch(object.metadata.name, "json", [{ op: "add", path: "/status", value: toJson(status) }], {
        subresource: "status",
        fieldManager: name,
        ...(namespace === undefined ? {} : { namespace }),
      });
  } catch (error) {
    // It is gone, or its kind keeps no status apart.
    if (!isNotFound(error)) throw error;
    context.log.debug("a template has no status to write", { kind: kind.kind, name: object.metadata.name });
  }
  return true;
}

function isSameStatus(template: KubeObject, status: object): boolean {
  return equalJson(partOf(template, "status") ?? {}, status);
}
