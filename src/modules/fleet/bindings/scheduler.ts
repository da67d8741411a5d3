import type { ControllerSpec, Key, ReconcileContext } from "../../../kernel/control/index.js";
import { syncStatus } from "../../../kernel/control/index.js";
import {
  findCondition,
  isDeleting,
  type JsonObject,
  type KindDefinition,
  timeOf,
  withCondition,
} from "../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";
import type { Ledger } from "../../../stores/ledger/index.js";
import { isMoreThanStatus } from "../changes.js";
import { affinityMatches } from "../placement/affinity.js";
import type { ClusterBook, ClusterChange } from "../placement/cluster-book.js";
import type { ClusterFacts, PlacementResult } from "../placement/types.js";
import { BINDING } from "../policies/marks.js";
import {
  type Bound,
  decide,
  isNoted,
  isOurs,
  placementText,
  takeBack,
  takeNote,
  targetsOf,
  termInUse,
  verdictOn,
} from "./decide.js";
import type { Decided } from "./decided.js";
import { recordDecision } from "./decisions.js";
import { groupNamesOf } from "./groups.js";
import {
  type BindingSpec,
  type BindingStatus,
  ClusterResourceBindingKind,
  type ResourceBinding,
  ResourceBindingKind,
} from "./kinds.js";
import { Reevaluation } from "./reevaluation.js";
import type { Report, Reports } from "./reports.js";

type Context = ReconcileContext<ResourceBinding>;

/** What the scheduler works with. */
export interface SchedulerParts {
  readonly book: ClusterBook;
  readonly ledger: Ledger;
  readonly reports: Reports;
  readonly decided: Decided;
}

/** Places bindings, and places them again when clusters change. One controller for each kind of binding. */
export function schedulerControllers(parts: SchedulerParts): ControllerSpec<ResourceBinding>[] {
  return [
    scheduler(ResourceBindingKind, "resource-binding-scheduler", parts),
    scheduler(ClusterResourceBindingKind, "cluster-resource-binding-scheduler", parts),
  ];
}

function scheduler(
  kind: KindDefinition<ResourceBinding>,
  name: string,
  parts: SchedulerParts,
): ControllerSpec<ResourceBinding> {
  const { book, reports } = parts;
  const following = new WeakSet<AbortSignal>();
  const unplaced: Unplaced = new Map();
  return {
    name,
    kind,
    concerns: isMoreThanStatus,
    concurrency: 16,
    async reconcile(key, binding, context) {
      const text = `${key.namespace}/${key.name}`;
      unplaced.delete(text);
      if (!following.has(context.signal)) {
        following.add(context.signal);
        follow(parts, unplaced, context);
      }
      await book.synced(context.signal);
      if (binding === undefined) parts.decided.forget(key);
      if (binding === undefined || isDeleting(binding) || !isOurs(binding.spec)) return;
      const placed = await placeBinding(binding, { ...parts, kind, name }, context);
      if (placed.result?.isPlaced === false) unplaced.set(text, key);
      const report = reportOf(placed, context);
      // Somebody may have written its status meanwhile.
      const isNew = context.informer.get(key)?.status === undefined;
      const isHeld = isNew && isAwaited(placed) && reports.hold(placed.binding, report, () => context.enqueue(key));
      if (isHeld) return;
      await syncStatus(context.cluster.client.resource(kind), placed.binding, report(placed.binding.status), name);
      reports.settle(placed.binding.metadata.uid);
    },
  };
}

/** Those that found no place yet, by key as text. */
type Unplaced = Map<string, Key>;

/** Looks at bindings again when clusters change or room comes free, within a budget. */
function follow({ book, reports }: SchedulerParts, unplaced: Unplaced, context: Context): void {
  const { promises } = book;
  promises.start(context.clock);
  reports.start(context.clock, context.signal);
  const budget = new Reevaluation(
    context.clock,
    (key) => context.enqueue(key),
    () => book.byName.size,
  );
  const undo = [
    book.onChange((now, old, what) => budget.add(concernedBy(context, unplaced, [now, old], what))),
    promises.onRelease(() => budget.add(concernedBy(context, unplaced, [], "room"))),
    context.informer.onChange((now, old) => {
      const uid = (now ?? old)?.spec.resource.uid ?? "";
      if (house(book, uid, now)) budget.add(concernedBy(context, unplaced, [], "room"));
      if (now === undefined) reports.settle(old?.metadata.uid ?? "");
      if (now === undefined) promises.forget(uid);
      else promises.hear(uid, now.status?.aggregatedStatus ?? []);
    }),
    () => budget.close(),
  ];
  for (const binding of context.informer.list()) house(book, binding.spec.resource.uid ?? "", binding);
  const stop = (): void => {
    for (const each of undo) each();
  };
  context.signal.addEventListener("abort", stop, { once: true });
}

/** Notes where the groups of a binding are; whether it left a cluster. */
function house({ residents }: ClusterBook, uid: string, binding: ResourceBinding | undefined): boolean {
  if (binding === undefined) return residents.settle(uid, [], []);
  const clusters = (binding.spec.clusters ?? []).map(({ name }) => name);
  return residents.settle(uid, groupNamesOf(binding.spec), clusters);
}

/** Who may be concerned by the change of a cluster: everybody by its place, by its room only who has none yet. */
function concernedBy(
  context: Context,
  unplaced: Unplaced,
  facts: readonly (ClusterFacts | undefined)[],
  what: ClusterChange,
): Parameters<Reevaluation["add"]>[0] {
  const waiting = [...unplaced.values()].flatMap((key) => context.informer.get(key) ?? []);
  const concerned = what === "room" ? [] : context.informer.list().filter((binding) => isConcerned(binding, facts));
  return [...waiting, ...concerned].map((binding) => ({
    key: keyOf(binding),
    priority: binding.spec.schedulePriority?.priority ?? 0,
  }));
}

function keyOf({ metadata }: ResourceBinding): Key {
  return { namespace: metadata.namespace ?? "", name: metadata.name };
}

function isConcerned({ spec }: ResourceBinding, facts: readonly (ClusterFacts | undefined)[]): boolean {
  const { placement, clusters = [] } = spec;
  const terms = placement?.clusterAffinities ?? [placement?.clusterAffinity];
  return facts.some(
    (each) =>
      each !== undefined &&
      (clusters.some(({ name }) => name === each.name) || terms.some((affinity) => affinityMatches(affinity, each))),
  );
}

interface Placed {
  readonly binding: ResourceBinding;
  readonly result: PlacementResult | undefined;
  readonly isMoved: boolean;
}

async function placeBinding(
  binding: ResourceBinding,
  parts: SchedulerParts & { readonly kind: KindDefinition<ResourceBinding>; readonly name: string },
  context: Context,
): Promise<Placed> {
  const { metadata, spec, status } = binding;
  const { annotations = {} } = metadata;
  const bound: Bound = { spec, annotations, ...(status === undefined ? {} : { status }) };
  const known = parts.decided.take(keyOf(binding), parts.book.list);
  if (known !== undefined && isMadeWith(binding, known)) return { binding, result: known, isMoved: false };
  const verdict = verdictOn(bound, parts.book.byName);
  if (!verdict.isDue) return { binding, result: undefined, isMoved: false };
  const result = decide(bound, parts.book.list, verdict.isFresh);
  takeNote(parts.book, bound, result);
  const targets = nextTargets(spec, result);
  const text = placementText(spec.placement ?? {});
  const isSame =
    equalJson(targets, spec.clusters ?? []) && (annotations[BINDING.appliedPlacement] === text || !isNoted(result));
  if (isSame) {
    // That it goes nowhere is a decision too, each time that the reason is another.
    if (!result.isPlaced && findCondition(status?.conditions, "Scheduled")?.message !== result.message)
      recordDecision(parts.ledger, { hub: context.cluster.name, template: aboutOf(spec), why: verdict.why }, result);
    return { binding, result, isMoved: verdict.isFresh };
  }
  const patch: JsonObject[] = [
    { op: "replace", path: "/metadata/resourceVersion", value: metadata.resourceVersion },
    { op: "add", path: "/spec/clusters", value: toJson(targets) },
    ...(isNoted(result)
      ? [
          {
            op: "add",
            path: "/metadata/annotations",
            value: {
              ...annotations,
              [BINDING.appliedPlacement]: text,
              // Together with its answer: a wish that is answered twice moves things twice.
              ...(verdict.isFresh ? { [BINDING.rescheduled]: spec.rescheduleTriggeredAt } : {}),
            },
          },
        ]
      : []),
  ];
  const { namespace } = metadata;
  const options = { fieldManager: parts.name, ...(namespace === undefined ? {} : { namespace }) };
  const writing = context.cluster.client.resource(parts.kind).patch(metadata.name, "json", patch, options);
  const moved = await writing.catch((error: unknown) => {
    takeBack(parts.book, bound, result);
    throw error;
  });
  // Not before: who writes the binding at the same time is seen first, and it is decided again.
  recordDecision(parts.ledger, { hub: context.cluster.name, template: aboutOf(spec), why: verdict.why }, result);
  return { binding: moved, result, isMoved: true };
}

/** Whether a binding is new, and was made with a decision. */
function isMadeWith({ metadata, spec, status }: ResourceBinding, result: PlacementResult): boolean {
  const isNew = status === undefined && metadata.generation === 1 && metadata.annotations?.[BINDING.lost] === undefined;
  return isNew && result.isPlaced && equalJson(spec.clusters ?? [], targetsOf(result.targets, spec.components));
}

/** Where nothing fits nothing stays; what could not be divided stays as it is. */
export function nextTargets(spec: BindingSpec, result: PlacementResult): NonNullable<BindingSpec["clusters"]> {
  if (result.isPlaced) return targetsOf(result.targets, spec.components);
  return result.reason === "NoClusterFit" ? [] : (spec.clusters ?? []);
}

function aboutOf({ resource }: BindingSpec): Parameters<typeof recordDecision>[1]["template"] {
  const { apiVersion, kind, name, namespace } = resource;
  return { apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) } };
}

/** Whether the status of a binding will be written in a moment anyway: members are to answer for it. */
function isAwaited({ binding: { spec }, result }: Placed): boolean {
  return result?.isPlaced !== false && (spec.clusters ?? []).length > 0 && spec.suspension === undefined;
}

/** The ordered affinity that a binding is placed by. Where nothing worked, the choice that is in use stays. */
function affinityOf(
  { spec }: ResourceBinding,
  result: PlacementResult | undefined,
  status: BindingStatus | undefined,
): string | undefined {
  if (result?.isPlaced === true) return result.trace.affinity;
  if (result !== undefined) return status?.schedulerObservingAffinityName;
  // It was made with its place, and whoever decided that is not there to be asked any more.
  return termInUse(spec.placement ?? {}, status)?.affinityName;
}

/** What is said of a binding, in whatever status it has by then. */
function reportOf({ binding, result, isMoved }: Placed, { clock }: Context): Report {
  const generation = binding.metadata.generation ?? 0;
  const isPlaced = result?.isPlaced !== false;
  const draft = isPlaced
    ? { status: "True" as const, reason: "Success", message: "Binding has been scheduled successfully." }
    : { status: "False" as const, reason: result.reason, message: result.message };
  const now = clock.now();
  // One that was asked for is done with this, whatever the second it was asked for in.
  const placedAt = timeOf(Math.max(now, Date.parse(binding.spec.rescheduleTriggeredAt ?? "") || 0));
  return (status) => {
    const isNews = isMoved || status?.schedulerObservedGeneration !== generation;
    const affinity = affinityOf(binding, result, status);
    const { schedulerObservingAffinityName: _affinity, ...rest } = status ?? {};
    const next: BindingStatus = {
      ...rest,
      schedulerObservedGeneration: generation,
      conditions: withCondition(status?.conditions, { type: "Scheduled", ...draft }, now),
      ...(affinity === undefined ? {} : { schedulerObservingAffinityName: affinity }),
      ...(isPlaced && isNews && result !== undefined ? { lastScheduledTime: placedAt } : {}),
    };
    if (isPlaced && next.lastScheduledTime === undefined) next.lastScheduledTime = placedAt;
    return next;
  };
}
