import {
  createQueue,
  type Informer,
  type Key,
  type Queue,
  type ReconcileContext,
} from "../../../kernel/control/index.js";
import { isConflict, isNotFound } from "../../../kernel/errors/index.js";
import { isDeleting, type KubeObject, PriorityClassKind } from "../../../kernel/kinds/index.js";
import { equalJson } from "../../../kernel/schema/index.js";
import { type BindingWriter, claimAnnotations, claimLabels } from "../bindings/binding-writer.js";
import { ClusterResourceBindingKind, type ResourceBinding, ResourceBindingKind } from "../bindings/kinds.js";
import type { ClusterBook } from "../placement/cluster-book.js";
import { choosePolicy, type Policy, policyRank, type Subject } from "./choose.js";
import { ALL_MARKS, type Claimant, type ClaimDesk } from "./claim-desk.js";
import { Claims, claimOf, textOf } from "./claims.js";
import {
  ClusterOverridePolicyKind,
  ClusterPropagationPolicyKind,
  OverridePolicyKind,
  type PropagationPolicy,
  PropagationPolicyKind,
} from "./kinds.js";
import { CLAIM, isClustersOwn, isReservedSpace } from "./marks.js";
import { policyOf } from "./policy.js";
import { PolicyIndex } from "./policy-index.js";
import { isContentChange, type TemplateRef, type Templates } from "./templates.js";

const NAME = "resource-detector";
const WORKERS = 16;

/** What the detector works with. */
export interface DetectorParts {
  readonly templates: Templates;
  readonly writer: BindingWriter;
  readonly book: ClusterBook;
  readonly desk: ClaimDesk;
}

/**
 * Finds for each template the policy that it belongs to, claims it, and keeps its binding. Only kinds that some policy means are
 * followed.
 */
export class Detector {
  readonly context: ReconcileContext<PropagationPolicy>;
  readonly #parts: DetectorParts;
  readonly #index = new PolicyIndex();
  readonly #claims = new Claims();
  readonly #refs = new Map<string, TemplateRef>();
  /** Templates that changed by themselves, with the version of that change; a lazy policy acts on nothing else. */
  readonly #touched = new Map<string, string>();
  /** Templates whose policy waits for override policies. */
  readonly #waiting = new Map<string, TemplateRef>();
  /** The version at which each policy was first seen, by uid. */
  readonly #born = new Map<string, string>();
  readonly #queue: Queue;
  readonly #undo: (() => void)[] = [];
  readonly #started: Promise<void>;
  #isStarted = false;

  constructor(parts: DetectorParts, context: ReconcileContext<PropagationPolicy>) {
    this.#parts = parts;
    this.context = context;
    const { clock, random, signal } = context;
    parts.book.promises.start(clock);
    this.#queue = createQueue({ clock, random, concurrency: WORKERS, work: (key) => this.#work(key) });
    signal.addEventListener("abort", () => void this.#close(), { once: true });
    this.#started = this.#start();
    // Whoever waits for it is told; nobody may be waiting.
    this.#started.catch(() => {});
  }

  /** Looks at everything that a policy means or has claimed. Resolves to whether the hub has all kinds that it names. */
  async attend(policy: Policy): Promise<boolean> {
    await this.#started;
    let knowsAll = true;
    for (const selector of policy.spec.resourceSelectors) {
      const isKnown = await this.#addMeant(policy, selector);
      knowsAll &&= isKnown;
    }
    for (const ref of this.#claims.of(policy.id)) this.#add(ref);
    return knowsAll;
  }

  /** Resolves to whether the hub has the kind. */
  async #addMeant(policy: Policy, selector: Policy["spec"]["resourceSelectors"][number]): Promise<boolean> {
    const { apiVersion, kind, name = "", namespace = "" } = selector;
    const informer = await this.#parts.templates.follow(apiVersion, kind, this.context.signal);
    if (informer === undefined) return false;
    const space = policy.isCluster ? namespace : policy.namespace;
    if (name !== "" && (space !== "" || !informer.kind.namespaced)) {
      if (informer.get({ namespace: space, name }) !== undefined)
        this.#add({ apiVersion, kind, namespace: space, name });
      return true;
    }
    for (const object of informer.list(space === "" ? undefined : space)) {
      const subject = subjectOf({ apiVersion, kind, ...placeOf(object) }, object);
      if (policyRank(policy, subject) >= 0) this.#add(subject);
    }
    return true;
  }

  /** Lets go of what a policy claimed; resolves to whether nothing is left. */
  async release(policy: Policy): Promise<boolean> {
    await this.#started;
    const held = this.#claims.of(policy.id);
    for (const ref of held) this.#add(ref);
    return held.length === 0;
  }

  async #start(): Promise<void> {
    const { cluster, signal } = this.context;
    const { templates, book } = this.#parts;
    const policies = [PropagationPolicyKind, ClusterPropagationPolicyKind].map((kind) =>
      cluster.informers.informer(kind),
    );
    const bindings = [ResourceBindingKind, ClusterResourceBindingKind].map((kind) => cluster.informers.informer(kind));
    const overrides = [OverridePolicyKind, ClusterOverridePolicyKind].map((kind) => cluster.informers.informer(kind));
    for (const informer of policies) this.#followPolicies(informer);
    for (const informer of bindings) this.#undo.push(informer.onChange((now, old) => this.#onBinding(now, old)));
    const classes = cluster.informers.informer(PriorityClassKind);
    const retry = (_now: KubeObject | undefined, old: KubeObject | undefined): void => {
      if (old === undefined) for (const ref of this.#waiting.values()) this.#add(ref);
    };
    this.#undo.push(classes.onChange(retry), ...overrides.map((informer) => informer.onChange(retry)));
    await Promise.all([
      book.synced(signal),
      this.#parts.writer.ready(this.context),
      classes.synced(signal),
      ...[...policies, ...bindings, ...overrides].map((informer) => informer.synced(signal)),
    ]);
    this.#undo.push(templates.onChange((ref, now, old) => this.#onTemplate(ref, now, old)));
    const kinds = new Map(this.#index.kinds().map((each) => [`${each.apiVersion}/${each.kind}`, each]));
    for (const informer of bindings)
      for (const { spec } of informer.list())
        kinds.set(`${spec.resource.apiVersion}/${spec.resource.kind}`, spec.resource);
    for (const { apiVersion, kind } of kinds.values()) {
      const informer = await templates.follow(apiVersion, kind, signal);
      for (const object of informer?.list() ?? []) {
        const ref = { apiVersion, kind, ...placeOf(object) };
        this.#claims.note(ref, object, undefined);
        this.#consider(ref, object);
      }
    }
    for (const informer of bindings) for (const binding of informer.list()) this.#onBinding(binding, undefined);
    this.#isStarted = true;
    this.#parts.desk.open(this.#claimant);
    this.#queue.start();
  }

  /** What new objects are claimed with. What policies do not mean, or what a policy waits with, gets nothing. */
  readonly #claimant: Claimant = {
    means: (apiVersion, kind) => this.#index.means(apiVersion, kind),
    marksFor: (subject) => {
      if (isReservedSpace(subject.namespace) || isClustersOwn(subject)) return undefined;
      const policy = choosePolicy(this.#index.candidates(subject), subject, undefined);
      if (policy === undefined || policy.id === "" || this.#lackOf(policy) !== undefined) return undefined;
      return { labels: claimLabels(policy), annotations: claimAnnotations(policy) };
    },
  };

  #followPolicies(informer: Informer<PropagationPolicy>): void {
    const take = (object: PropagationPolicy, isGone: boolean): void => {
      const policy = policyOf(object);
      if (isGone) this.#born.delete(policy.uid);
      else if (!this.#born.has(policy.uid)) this.#born.set(policy.uid, object.metadata.resourceVersion);
      this.#index.set(policy.key, isGone ? undefined : policy);
    };
    this.#undo.push(
      informer.onChange((now, old) => {
        const object = now ?? old;
        if (object !== undefined) take(object, now === undefined);
      }),
    );
    for (const object of informer.list()) take(object, false);
  }

  #onTemplate(ref: TemplateRef, now: KubeObject | undefined, old: KubeObject | undefined): void {
    this.#claims.note(ref, now, old);
    if (now === undefined) {
      this.#touched.delete(textOf(ref));
      if (this.#parts.writer.find(ref.kind, ref.namespace, ref.name) !== undefined) this.#add(ref);
      else this.#refs.delete(textOf(ref));
      return;
    }
    if (old !== undefined && !isContentChange(now, old)) return;
    if (this.#isStarted && isOwnChange(now, old)) this.#touched.set(textOf(ref), now.metadata.resourceVersion);
    this.#consider(ref, now);
  }

  #consider(ref: TemplateRef, object: KubeObject): void {
    if (claimOf(object) !== "" || this.#index.candidates(subjectOf(ref, object)).length > 0) this.#add(ref);
  }

  /** A binding that somebody took away or changed is put right. */
  #onBinding(now: ResourceBinding | undefined, old: ResourceBinding | undefined): void {
    const object = now ?? old;
    if (object === undefined) return;
    if (now !== undefined && old !== undefined && now.metadata.generation === old.metadata.generation) return;
    // A new one is our own.
    if (old === undefined && this.#isStarted) return;
    const { apiVersion, kind, namespace = "", name } = object.spec.resource;
    this.#add({ apiVersion, kind, namespace, name });
  }

  #add(ref: TemplateRef): void {
    const name = textOf(ref);
    this.#refs.set(name, ref);
    this.#queue.add({ namespace: "", name });
  }

  async #work(key: Key): Promise<void> {
    const ref = this.#refs.get(key.name);
    if (ref === undefined) return;
    const { log, signal } = this.context;
    try {
      await this.#reconcile(ref);
      this.#queue.forget(key);
    } catch (error) {
      if (signal.aborted) return;
      if (isConflict(error) || isNotFound(error))
        log.debug("template is tried again", { template: key.name, err: error });
      else log.warn("template is tried again", { template: key.name, err: error });
      this.#queue.addRateLimited(key);
    }
  }

  async #reconcile(ref: TemplateRef): Promise<void> {
    const { templates, writer } = this.#parts;
    // Of a kind that is not followed nobody can say that an object is gone.
    if ((await templates.follow(ref.apiVersion, ref.kind, this.context.signal)) === undefined) return;
    const template = templates.get(ref);
    const binding = writer.find(ref.kind, ref.namespace, ref.name);
    if (template === undefined) {
      this.#refs.delete(textOf(ref));
      this.#waiting.delete(textOf(ref));
      if (binding !== undefined && !isDeleting(binding) && isOf(binding, ref)) await writer.remove(binding);
      return;
    }
    if (isDeleting(template) || isReservedSpace(ref.namespace) || isClustersOwn(ref)) return;
    const subject = subjectOf(ref, template);
    const id = claimOf(template);
    const claimant = id === "" ? undefined : this.#index.byId(id);
    const policy = choosePolicy(this.#index.candidates(subject), subject, claimant);
    if (policy === undefined) {
      if (id !== "") await this.#unclaim(template, binding);
      return;
    }
    if (policy.spec.activationPreference === "Lazy" && !this.#isTouched(ref, template, policy, binding)) {
      // It is the policy's from now on, and its binding stays what it is.
      const isFreed = id !== "" && claimant === undefined && binding !== undefined && !isDeleting(binding);
      if (isFreed) await writer.release(binding);
      await this.#claim(template, policy);
      return;
    }
    const lack = this.#lackOf(policy);
    if (lack !== undefined) {
      this.#waiting.set(textOf(ref), ref);
      this.context.events.record(template, "Warning", "ApplyPolicyFailed", `${policy.name}: ${lack}`);
      return;
    }
    this.#waiting.delete(textOf(ref));
    const claimed = await this.#claim(template, policy);
    await writer.ensure(claimed, policy, { random: this.context.random, priority: this.#priorityOf(policy.spec) });
    this.#touched.delete(textOf(ref));
  }

  /** Whether a template changed since its policy is there, or was made since and has no binding yet. */
  #isTouched(ref: TemplateRef, template: KubeObject, policy: Policy, binding: ResourceBinding | undefined): boolean {
    const touched = this.#touched.get(textOf(ref));
    const born = this.#born.get(policy.uid) ?? "";
    if (touched !== undefined && isLater(touched, born)) return true;
    return binding === undefined && template.metadata.creationTimestamp > policy.createdAt;
  }

  /** What a policy needs and the hub does not have yet. */
  #lackOf({ spec, isCluster, namespace }: Policy): string | undefined {
    const { informers } = this.context.cluster;
    const missing = (spec.dependentOverrides ?? []).find((name) =>
      isCluster
        ? informers.informer(ClusterOverridePolicyKind).get({ namespace: "", name }) === undefined
        : informers.informer(OverridePolicyKind).get({ namespace, name }) === undefined,
    );
    if (missing !== undefined)
      return `waits for ${isCluster ? "ClusterOverridePolicy" : "OverridePolicy"} ${missing} (spec.dependentOverrides)`;
    const { schedulePriority } = spec;
    if (schedulePriority === undefined) return undefined;
    return this.#priorityOf(spec) === undefined
      ? `waits for PriorityClass ${schedulePriority.priorityClassName}`
      : undefined;
  }

  #priorityOf({ schedulePriority }: Policy["spec"]): number | undefined {
    if (schedulePriority === undefined) return undefined;
    const name = schedulePriority.priorityClassName;
    return this.context.cluster.informers.informer(PriorityClassKind).get({ namespace: "", name })?.value;
  }

  async #claim(template: KubeObject, policy: Policy): Promise<KubeObject> {
    const labels = claimLabels(policy);
    const annotations = claimAnnotations(policy);
    const has = (marks: Readonly<Record<string, string>> | undefined, wanted: Record<string, string>): boolean =>
      Object.entries(wanted).every(([mark, value]) => marks?.[mark] === value);
    const other = policy.isCluster ? CLAIM.namespaced : CLAIM.cluster;
    const { metadata } = template;
    const isFree = metadata.labels?.[other.id] === undefined && metadata.annotations?.[other.name] === undefined;
    if (isFree && has(metadata.labels, labels) && has(metadata.annotations, annotations)) return template;
    return this.#mark(template, labels, annotations);
  }

  async #unclaim(template: KubeObject, binding: ResourceBinding | undefined): Promise<void> {
    // First the binding: as long as it is claimed, the template's changes go to members.
    if (binding !== undefined && !isDeleting(binding)) await this.#parts.writer.release(binding);
    await this.#mark(template, {}, {});
  }

  /** Writes the marks of one policy in the place of any other's. */
  async #mark(
    template: KubeObject,
    labels: Record<string, string>,
    annotations: Record<string, string>,
  ): Promise<KubeObject> {
    const { cluster } = this.context;
    const kind = await cluster.client.findKind(template.apiVersion, template.kind);
    if (kind === undefined) return template;
    const { name, namespace, uid } = template.metadata;
    const gone = (marks: Readonly<Record<string, string>> | undefined): Record<string, null> =>
      Object.fromEntries(ALL_MARKS.filter((mark) => marks?.[mark] !== undefined).map((mark) => [mark, null]));
    const patch = {
      metadata: {
        uid,
        labels: { ...gone(template.metadata.labels), ...labels },
        annotations: { ...gone(template.metadata.annotations), ...annotations },
      },
    };
    return cluster.client
      .dynamic(kind)
      .patch(name, "merge", patch, { fieldManager: NAME, ...(namespace === undefined ? {} : { namespace }) });
  }

  async #close(): Promise<void> {
    this.#parts.desk.close(this.#claimant);
    for (const undo of this.#undo.splice(0)) undo();
    await this.#queue.close();
  }
}

function placeOf({ metadata }: KubeObject): { readonly namespace: string; readonly name: string } {
  return { namespace: metadata.namespace ?? "", name: metadata.name };
}

function subjectOf(ref: TemplateRef, object: KubeObject): Subject {
  return { ...ref, labels: object.metadata.labels ?? {} };
}

/** Two kinds may share a name of bindings (`jobs.a` and `jobs.b`). */
function isOf({ spec: { resource } }: ResourceBinding, ref: TemplateRef): boolean {
  return resource.apiVersion === ref.apiVersion && resource.kind === ref.kind && resource.name === ref.name;
}

/** Whether more changed than the marks of policies. */
function isOwnChange(now: KubeObject, old: KubeObject | undefined): boolean {
  if (old === undefined || now.metadata.generation !== old.metadata.generation) return true;
  const own = ({ metadata }: KubeObject): unknown[] =>
    [metadata.labels, metadata.annotations].map((marks) =>
      Object.fromEntries(Object.entries(marks ?? {}).filter(([mark]) => !ALL_MARKS.includes(mark))),
    );
  if (!equalJson(own(now), own(old))) return true;
  // Kinds without generations tell of no change but in their content.
  return now.metadata.generation === undefined && equalJson(own(now), own(old)) && !isMarkChange(now, old);
}

function isMarkChange(now: KubeObject, old: KubeObject): boolean {
  return ALL_MARKS.some(
    (mark) =>
      now.metadata.labels?.[mark] !== old.metadata.labels?.[mark] ||
      now.metadata.annotations?.[mark] !== old.metadata.annotations?.[mark],
  );
}

/** Whether one resourceVersion came after another. */
function isLater(a: string, b: string): boolean {
  return a.length === b.length ? a > b : a.length > b.length;
}
