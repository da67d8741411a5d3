import type { ControllerSpec, Key, ReconcileContext } from "../../../kernel/control/index.js";
import { isNotFound, messageOf } from "../../../kernel/errors/index.js";
import { isDeleting, type KindDefinition, type KubeObject } from "../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";
import type { Interpreters } from "../interpreters/index.js";
import { type Work, WorkKind } from "../kinds.js";
import { executionSpaceOf } from "../names.js";
import { OverrideError } from "../overrides/index.js";
import type { ClusterBook } from "../placement/cluster-book.js";
import { BINDING, bindingNameOf } from "../policies/marks.js";
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
  const { templates } = parts;
  const following = new WeakSet<AbortSignal>();
  const follow = async (context: Context): Promise<void> => {
    if (following.has(context.signal)) return;
    following.add(context.signal);
    const works = context.cluster.informers.informer(WorkKind);
    works.addIndex(BINDING_INDEX, (work) => bindingTextOf(work));
    const undo = [
      works.onChange((now, old) => {
        if (now !== undefined && old !== undefined && now.metadata.generation === old.metadata.generation) return;
        // A new one is our own.
        if (old === undefined) return;
        const key = bindingOf(old);
        if (key !== undefined && (key.namespace !== "") === kind.namespaced) context.enqueue(key);
      }),
      templates.onChange((ref, now, old) => {
        if (now === undefined || (old !== undefined && !isContentChange(now, old))) return;
        if ((ref.namespace !== "") !== kind.namespaced) return;
        const key = { namespace: ref.namespace, name: bindingNameOf(ref.kind, ref.name) };
        if (context.informer.get(key) !== undefined) context.enqueue(key);
      }),
    ];
    undo.push(
      parts.overrides.onChange(context.informer, ({ metadata }) =>
        context.enqueue({ namespace: metadata.namespace ?? "", name: metadata.name }),
      ),
    );
    const stop = (): void => {
      for (const each of undo) each();
    };
    context.signal.addEventListener("abort", stop, { once: true });
    await Promise.all([
      works.synced(context.signal),
      parts.book.synced(context.signal),
      parts.overrides.synced(context.signal),
    ]);
  };
  return {
    name,
    kind,
    concurrency: 16,
    finalizer,
    async reconcile(_key, binding, context) {
      await follow(context);
      if (binding === undefined || isDeleting(binding)) return;
      await syncWorks(binding, parts, context);
    },
    async finalize(binding, context) {
      await follow(context);
      await Promise.all(worksOf(binding, context).map((work) => removeWork(work, context)));
      return "done";
    },
  };
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
    equalJson(toJson(old.spec), toJson(draft.spec)) &&
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
