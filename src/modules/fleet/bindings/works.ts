import type { ControllerSpec, Key, ReconcileContext } from "../../../kernel/control/index.js";
import { isNotFound, messageOf } from "../../../kernel/errors/index.js";
import { isDeleting, type KindDefinition, type KubeObject } from "../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";
import { isMoreThanStatus } from "../changes.js";
import type { Interpreters } from "../interpreters/index.js";
import { type Work, WorkKind } from "../kinds.js";
import { executionSpaceOf } from "../names.js";
import { OverrideError } from "../overrides/index.js";
import type { ClusterBook } from "../placement/cluster-book.js";
import type { ClusterFacts } from "../placement/types.js";
import { BINDING, bindingNameOf, CLAIM } from "../policies/marks.js";
import { isContentChange, type Templates } from "../policies/templates.js";
import { ClusterResourceBindingKind, type ResourceBinding, ResourceBindingKind } from "./kinds.js";
import type { OverrideWatch } from "./override-watch.js";
import { clustersOf, keptClustersOf, workDraftFor } from "./work-plan.js";

type Context = ReconcileContext<ResourceBinding>;

const BINDING_INDEX = "binding";

/** What the making of Works needs. */
export interface WorksParts {
  readonly templates: Templates;
  readonly interpreters: Interpreters;
  readonly book: ClusterBook;
  readonly overrides: OverrideWatch;
}

/** Makes one Work of each binding for each cluster that it goes to. One controller for each kind of binding. */
export function worksControllers(parts: WorksParts): ControllerSpec<ResourceBinding>[] {
  return [
    worksController(ResourceBindingKind, "binding-controller", BINDING.finalizer, parts),
    worksController(ClusterResourceBindingKind, "cluster-resource-binding-controller", BINDING.clusterFinalizer, parts),
  ];
}

function worksController(
  kind: KindDefinition<ResourceBinding>,
  name: string,
  finalizer: string,
  parts: WorksParts,
): ControllerSpec<ResourceBinding> {
  const following = new WeakMap<AbortSignal, Promise<void>>();
  /** The generation that each binding's Works were made of; whatever else they depend on takes it away. */
  const made = new Map<string, string>();
  return {
    name,
    kind,
    concerns: isMoreThanStatus,
    concurrency: 16,
    finalizer,
    async reconcile(key, binding, context) {
      let ready = following.get(context.signal);
      if (ready === undefined) {
        made.clear();
        ready = follow(parts, context, (changed) => {
          made.delete(textOf(changed));
          context.enqueue(changed);
        });
        following.set(context.signal, ready);
      }
      await ready;
      const text = textOf(key);
      if (binding === undefined || isDeleting(binding)) {
        made.delete(text);
        return;
      }
      const version = `${binding.metadata.uid}/${binding.metadata.generation ?? 0}`;
      if (made.get(text) === version) return;
      // Before it is done: what changes meanwhile takes it away again.
      made.set(text, version);
      try {
        await syncWorks(binding, parts, context);
      } catch (error) {
        made.delete(text);
        throw error;
      }
    },
    async finalize(binding, context) {
      await context.cluster.informers.informer(WorkKind).synced(context.signal);
      indexWorks(context);
      await Promise.all(worksOf(binding, context).map((work) => removeWork(work, context)));
      return "done";
    },
  };
}

const textOf = ({ namespace, name }: Key): string => `${namespace}/${name}`;

function indexWorks(context: Context): void {
  context.cluster.informers.informer(WorkKind).addIndex(BINDING_INDEX, bindingTextOf);
}

/** Tells of bindings whose Works must be looked at though they themselves are as they were. Resolves when all is known. */
async function follow(parts: WorksParts, context: Context, wake: (binding: Key) => void): Promise<void> {
  const { informer, signal } = context;
  const works = context.cluster.informers.informer(WorkKind);
  indexWorks(context);
  const { namespaced } = informer.kind;
  const undo = [
    works.onChange((now, old) => {
      // A new one is our own; of others only the content counts.
      if (old === undefined || now?.metadata.generation === old.metadata.generation) return;
      const key = bindingOf(old);
      if (key !== undefined && (key.namespace !== "") === namespaced) wake(key);
    }),
    parts.templates.onChange((ref, now, old) => {
      if (now === undefined || (old !== undefined && !isContentChange(now, old))) return;
      if ((ref.namespace !== "") !== namespaced) return;
      const key = { namespace: ref.namespace, name: bindingNameOf(ref.kind, ref.name) };
      const binding = informer.get(key);
      if (binding !== undefined && isClaimed(binding)) wake(key);
    }),
    parts.overrides.onChange(informer, (binding) => wake(keyOf(binding))),
    parts.book.onChange((now, old, what) => {
      if (now === undefined || what !== "place" || (old !== undefined && isSamePlace(now, old))) return;
      for (const binding of informer.list()) {
        // What a cluster is like matters to overrides alone; a new one is given its Works.
        const isConcerned = old === undefined || parts.overrides.about(binding.spec).length > 0;
        if (isConcerned && clustersOf(binding.spec).some(({ name }) => name === now.name)) wake(keyOf(binding));
      }
    }),
  ];
  const stop = (): void => {
    for (const each of undo) each();
  };
  signal.addEventListener("abort", stop, { once: true });
  await Promise.all([
    works.synced(signal),
    parts.book.synced(signal),
    parts.overrides.synced(signal),
    parts.interpreters.follow(context),
  ]);
}

/** Whether overrides see no difference: taints, kinds and room are no matter of theirs. */
function isSamePlace(now: ClusterFacts, old: ClusterFacts): boolean {
  const placeOf = ({ labels, provider, region, zones }: ClusterFacts): unknown => [labels, provider, region, zones];
  return equalJson(placeOf(now), placeOf(old));
}

/** Whether somebody still wants the template's changes in members; what is left behind by its policy stays as it is. */
function isClaimed({ metadata: { labels = {} }, spec }: ResourceBinding): boolean {
  return (
    labels[CLAIM.namespaced.id] !== undefined ||
    labels[CLAIM.cluster.id] !== undefined ||
    (spec.requiredBy ?? []).length > 0
  );
}

function keyOf({ metadata }: ResourceBinding): Key {
  return { namespace: metadata.namespace ?? "", name: metadata.name };
}

async function syncWorks(binding: ResourceBinding, parts: WorksParts, context: Context): Promise<void> {
  const { templates } = parts;
  const { resource } = binding.spec;
  const { apiVersion, kind, name, namespace = "" } = resource;
  await templates.follow(apiVersion, kind, context.signal);
  const template = templates.get({ apiVersion, kind, namespace, name });
  // Without it the binding goes too.
  if (template === undefined) return;
  const existing = new Map(worksOf(binding, context).map((work) => [work.metadata.namespace ?? "", work]));
  const kept = new Set(keptClustersOf(binding.spec));
  const overrides = parts.overrides.about(binding.spec);
  const writes: Promise<void>[] = [];
  for (const target of clustersOf(binding.spec)) {
    const facts = parts.book.byName.get(target.name);
    // A cluster that left takes its Works along.
    if (facts === undefined) continue;
    const space = executionSpaceOf(target.name);
    const old = existing.get(space);
    existing.delete(space);
    const draft = draftOr(
      () => workDraftFor(binding, template, target, { ...parts, facts, overrides }),
      (why) =>
        context.events.record(
          binding,
          "Warning",
          "ApplyOverridePolicyFailed",
          `cluster ${target.name} keeps what it has: ${why}`,
        ),
    );
    if (draft !== undefined) writes.push(writeWork(draft, old, context));
  }
  for (const [space, work] of existing) if (!kept.has(space)) writes.push(removeWork(work, context));
  await Promise.all(writes);
}

/** `undefined` when an override does not fit: that cluster keeps what it has, and the others get theirs. */
function draftOr(make: () => WorkDraft, tell: (why: string) => void): WorkDraft | undefined {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof OverrideError)) throw error;
    tell(messageOf(error));
    return undefined;
  }
}

async function writeWork(draft: WorkDraft, old: Work | undefined, context: Context): Promise<void> {
  const works = context.cluster.client.resource(WorkKind);
  const { namespace, name } = draft.metadata;
  const options = { namespace, fieldManager: "binding-controller" };
  if (old === undefined) {
    await works.create(draft, options);
    return;
  }
  // It is on its way out: its end wakes the binding.
  if (isDeleting(old)) return;
  const has = (marks: Readonly<Record<string, string>> | undefined, wanted: Record<string, string>): boolean =>
    Object.entries(wanted).every(([mark, value]) => marks?.[mark] === value);
  const isSame =
    equalJson(old.spec, draft.spec) &&
    has(old.metadata.labels, draft.metadata.labels) &&
    has(old.metadata.annotations, draft.metadata.annotations);
  if (isSame) return;
  await works.patch(
    name,
    "json",
    [
      { op: "add", path: "/metadata/labels", value: toJson({ ...old.metadata.labels, ...draft.metadata.labels }) },
      {
        op: "add",
        path: "/metadata/annotations",
        value: toJson({ ...old.metadata.annotations, ...draft.metadata.annotations }),
      },
      { op: "replace", path: "/spec", value: toJson(draft.spec) },
    ],
    options,
  );
}

type WorkDraft = ReturnType<typeof workDraftFor>;

async function removeWork({ metadata }: Work, context: Context): Promise<void> {
  if (metadata.deletionTimestamp !== undefined) return;
  const { name, namespace = "", uid } = metadata;
  try {
    await context.cluster.client.resource(WorkKind).delete(name, { namespace, preconditions: { uid } });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

function worksOf(binding: ResourceBinding, context: Context): readonly Work[] {
  const { namespace = "", name } = binding.metadata;
  return context.cluster.informers.informer(WorkKind).byIndex(BINDING_INDEX, `${namespace}/${name}`);
}

/** The binding that a Work says it was made of. */
export function bindingOf({ metadata: { annotations = {} } }: Pick<KubeObject, "metadata">): Key | undefined {
  const name = annotations[BINDING.name];
  if (name !== undefined) return { namespace: annotations[BINDING.namespace] ?? "", name };
  const clusterName = annotations[BINDING.clusterName];
  return clusterName === undefined ? undefined : { namespace: "", name: clusterName };
}

function bindingTextOf(work: Work): string[] {
  const key = bindingOf(work);
  return key === undefined ? [] : [`${key.namespace}/${key.name}`];
}
