import {
  type ControllerSpec,
  type Key,
  ownerReferenceTo,
  type ReconcileContext,
} from "../../../kernel/control/index.js";
import { isNotFound } from "../../../kernel/errors/index.js";
import { isDeleting, type JsonObject, type KubeObject, labelSelectorMatches } from "../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";
import { type ResourceBinding, ResourceBindingKind } from "../bindings/kinds.js";
import { isMoreThanStatus } from "../changes.js";
import type { DependentObject, Interpreters } from "../interpreters/index.js";
import { jsonOf } from "../json.unsafe.js";
import { BINDING, bindingNameOf } from "../policies/marks.js";
import { isContentChange, type TemplateRef, type Templates } from "../policies/templates.js";
import { attachmentOf, withAttachmentLabels } from "./attached.js";

const NAME = "dependencies-distributor";

type Context = ReconcileContext<ResourceBinding>;

/** What the distribution of dependencies needs. */
export interface DependencyParts {
  readonly templates: Templates;
  readonly interpreters: Interpreters;
}

/**
 * What the objects of some bindings cannot do without (ConfigMaps, Secrets, …) gets bindings of its own, which go where those are that
 * need it, and go with the last of them. All is derived from what is there; nothing is kept but who needs what.
 */
export function dependenciesController(parts: DependencyParts): ControllerSpec<ResourceBinding> {
  let needs: Needs | undefined;
  return {
    name: NAME,
    kind: ResourceBindingKind,
    concerns: isMoreThanStatus,
    isIdle: ({ spec, metadata }) =>
      spec.propagateDeps !== true &&
      (spec.requiredBy ?? []).length === 0 &&
      metadata.annotations?.[BINDING.dependencies] === undefined,
    concurrency: 8,
    async reconcile(key, binding, context) {
      if (needs === undefined || needs.context.signal.aborted) needs = new Needs(parts, context);
      await needs.reconcile(key, binding);
    },
  };
}

/** Who needs what. */
class Needs {
  readonly context: Context;
  readonly #parts: DependencyParts;
  /** What each binding's object needs, by the binding's name. */
  readonly #wishes = new Map<string, { readonly key: Key; readonly objects: readonly DependentObject[] }>();
  /** Names of bindings by kind and namespace of what they need. */
  readonly #seekers = new Map<string, Set<string>>();
  /** By binding: what was to be attached or let go, and is not yet: somebody else wrote at the same time. */
  readonly #left = new Map<string, ReadonlyMap<string, TemplateRef>>();
  readonly #known: Promise<void>;

  constructor(parts: DependencyParts, context: Context) {
    this.#parts = parts;
    this.context = context;
    const undo = parts.templates.onChange((ref, now, old) => this.#onObject(ref, now, old));
    context.signal.addEventListener("abort", undo, { once: true });
    this.#known = this.#learn();
    // Whoever waits for it is told; nobody may be waiting.
    this.#known.catch(() => {});
  }

  /** After a start: who needs what has to be known before anything is called needless. */
  async #learn(): Promise<void> {
    await this.context.informer.synced(this.context.signal);
    await this.#parts.interpreters.follow(this.context);
    for (const binding of this.context.informer.list()) {
      const { namespace = "", name } = binding.metadata;
      if (binding.spec.propagateDeps === true && !isDeleting(binding))
        this.#note({ namespace, name }, await this.#objectsOf(binding));
    }
  }

  /** A binding changed: what its object needs is looked at again, and whether it is itself still needed. */
  async reconcile(key: Key, binding: ResourceBinding | undefined): Promise<void> {
    await this.#known;
    const before = this.#wishes.get(textOf(key))?.objects ?? [];
    const objects = binding === undefined || isDeleting(binding) ? [] : await this.#objectsOf(binding);
    const text = textOf(key);
    const concerned = new Map(this.#left.get(text));
    for (const object of [...before, ...objects])
      for (const ref of this.#matching(object)) concerned.set(bindingNameOf(ref.kind, ref.name), ref);
    // From here on the wishes of before are forgotten: whatever fails below has to be known at the next look.
    this.#left.set(text, concerned);
    this.#note(key, objects);
    if (binding !== undefined && !isDeleting(binding)) await this.#tell(binding, objects);
    for (const ref of concerned.values()) await this.#attach(ref);
    this.#left.delete(text);
    if (binding !== undefined && (binding.spec.requiredBy ?? []).length > 0 && !isDeleting(binding)) {
      const { apiVersion, kind, namespace = "", name } = binding.spec.resource;
      await this.#attach({ apiVersion, kind, namespace, name });
    }
  }

  /** What the object of a binding needs, once it has a place; each kind of it is followed from now on. */
  async #objectsOf({ spec }: ResourceBinding): Promise<readonly DependentObject[]> {
    const { templates, interpreters } = this.#parts;
    if (spec.propagateDeps !== true || (spec.clusters ?? []).length === 0) return [];
    const { apiVersion, kind, namespace = "", name } = spec.resource;
    await templates.follow(apiVersion, kind, this.context.signal);
    const template = templates.get({ apiVersion, kind, namespace, name });
    if (template === undefined) return [];
    const all = interpreters.interpreterFor(apiVersion, kind).dependencies(jsonOf(template));
    // What has no namespace, or another one, is not this object's own.
    const objects = all.filter((object) => object.namespace === namespace);
    for (const object of objects) await templates.follow(object.apiVersion, object.kind, this.context.signal);
    return objects;
  }

  #note(key: Key, objects: readonly DependentObject[]): void {
    const name = textOf(key);
    for (const object of this.#wishes.get(name)?.objects ?? []) this.#seekers.get(placeOf(object))?.delete(name);
    if (objects.length === 0) this.#wishes.delete(name);
    else this.#wishes.set(name, { key, objects });
    for (const object of objects) {
      const place = placeOf(object);
      const seekers = this.#seekers.get(place) ?? new Set();
      this.#seekers.set(place, seekers.add(name));
    }
  }

  /** Writes down in the binding what goes with it. */
  async #tell(binding: ResourceBinding, objects: readonly DependentObject[]): Promise<void> {
    const { name, namespace = "", annotations } = binding.metadata;
    const text = binding.spec.propagateDeps === true ? JSON.stringify(objects) : undefined;
    if (annotations?.[BINDING.dependencies] === text || (objects.length === 0 && annotations === undefined)) return;
    if ((binding.spec.clusters ?? []).length === 0 && text !== undefined) return;
    await this.context.cluster.client
      .resource(ResourceBindingKind)
      .patch(
        name,
        "merge",
        { metadata: { annotations: { [BINDING.dependencies]: text ?? null } } },
        { namespace, fieldManager: NAME },
      );
  }

  /** The objects that are there of those that are needed. */
  #matching({ apiVersion, kind, namespace = "", name, labelSelector }: DependentObject): TemplateRef[] {
    if (name !== undefined) return [{ apiVersion, kind, namespace, name }];
    const found = this.#parts.templates.list(apiVersion, kind, namespace);
    return found
      .filter(({ metadata }) => labelSelectorMatches(labelSelector, metadata.labels))
      .map(({ metadata }) => ({ apiVersion, kind, namespace, name: metadata.name }));
  }

  /** Bindings whose objects need this one. */
  #sourcesOf(ref: TemplateRef, object: KubeObject): ResourceBinding[] {
    const names = this.#seekers.get(placeOf(ref)) ?? [];
    return [...names].flatMap((name) => {
      const wish = this.#wishes.get(name);
      const binding = wish === undefined ? undefined : this.context.informer.get(wish.key);
      const isSeeker = wish?.objects.some((one) => means(one, ref, object)) === true;
      return binding === undefined || isDeleting(binding) || !isSeeker ? [] : [binding];
    });
  }

  /** Makes the binding of a needed object say who needs it; without anybody, and without a policy of its own, it goes. */
  async #attach(ref: TemplateRef): Promise<void> {
    const object = this.#parts.templates.get(ref);
    // Its binding goes with it.
    if (object === undefined || isDeleting(object)) return;
    const key = { namespace: ref.namespace, name: bindingNameOf(ref.kind, ref.name) };
    const existing = this.context.informer.get(key);
    if (existing !== undefined && isDeleting(existing)) return;
    const sources = this.#sourcesOf(ref, object);
    if (existing === undefined) {
      if (sources.length > 0) await this.#create(key, object, sources);
      return;
    }
    const isOnlyNeeded = existing.spec.placement === undefined;
    if (sources.length === 0 && isOnlyNeeded && (existing.spec.requiredBy ?? []).length > 0) {
      await this.#remove(existing);
      return;
    }
    await this.#renew(existing, sources, isOnlyNeeded);
  }

  async #create(key: Key, object: KubeObject, sources: readonly ResourceBinding[]): Promise<void> {
    const { labels, ...attachment } = attachmentOf(sources);
    const { apiVersion, kind, metadata } = object;
    const { namespace } = key;
    await this.context.cluster.client.resource(ResourceBindingKind).create(
      {
        apiVersion: `${ResourceBindingKind.group}/${ResourceBindingKind.version}`,
        kind: ResourceBindingKind.kind,
        metadata: { ...key, labels, ownerReferences: [ownerReferenceTo(object)], finalizers: [BINDING.finalizer] },
        spec: {
          resource: {
            apiVersion,
            kind,
            namespace,
            name: metadata.name,
            uid: metadata.uid,
            resourceVersion: metadata.resourceVersion,
          },
          ...attachment,
        },
      },
      { namespace, fieldManager: NAME },
    );
  }

  async #renew(existing: ResourceBinding, sources: readonly ResourceBinding[], isOnlyNeeded: boolean): Promise<void> {
    const { metadata, spec } = existing;
    const { labels: marks, requiredBy, ...wishes } = attachmentOf(sources);
    const labels = withAttachmentLabels(metadata.labels, marks);
    const { requiredBy: _old, ...rest } = spec;
    const next = { ...rest, ...(isOnlyNeeded ? wishes : {}), ...(requiredBy.length === 0 ? {} : { requiredBy }) };
    if (equalJson(next, spec) && equalJson(labels, metadata.labels ?? {})) return;
    const patch: JsonObject[] = [
      { op: "replace", path: "/metadata/resourceVersion", value: metadata.resourceVersion },
      { op: "add", path: "/metadata/labels", value: labels },
      { op: "replace", path: "/spec", value: toJson(next) },
    ];
    const { name, namespace = "" } = metadata;
    await this.context.cluster.client
      .resource(ResourceBindingKind)
      .patch(name, "json", patch, { namespace, fieldManager: NAME });
  }

  async #remove({ metadata: { name, namespace = "", uid } }: ResourceBinding): Promise<void> {
    try {
      await this.context.cluster.client
        .resource(ResourceBindingKind)
        .delete(name, { namespace, preconditions: { uid } });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  /** An object came, changed or went: those that need it are looked at, and the one whose own it is. */
  #onObject(ref: TemplateRef, now: KubeObject | undefined, old: KubeObject | undefined): void {
    if (now !== undefined && old !== undefined && !isContentChange(now, old)) return;
    const { context } = this;
    const own = { namespace: ref.namespace, name: bindingNameOf(ref.kind, ref.name) };
    if (context.informer.get(own)?.spec.propagateDeps === true) context.enqueue(own);
    for (const name of this.#seekers.get(placeOf(ref)) ?? []) {
      const wish = this.#wishes.get(name);
      const isConcerned = wish?.objects.some(
        (one) => (now !== undefined && means(one, ref, now)) || (old !== undefined && means(one, ref, old)),
      );
      if (wish !== undefined && isConcerned === true) context.enqueue(wish.key);
    }
  }
}

function textOf({ namespace, name }: Key): string {
  return `${namespace}/${name}`;
}

function placeOf({
  apiVersion,
  kind,
  namespace = "",
}: Pick<DependentObject, "apiVersion" | "kind" | "namespace">): string {
  return `${apiVersion}/${kind}/${namespace}`;
}

/** Whether a reference, of the same kind and namespace, means an object. */
function means({ name, labelSelector }: DependentObject, ref: TemplateRef, object: KubeObject): boolean {
  return name === undefined ? labelSelectorMatches(labelSelector, object.metadata.labels) : name === ref.name;
}
