import type { ClusterAccess, Informer } from "../../../kernel/control/index.js";
import type { KubeObject } from "../../../kernel/kinds/index.js";
import { equalJson } from "../../../kernel/schema/index.js";

/** Names an object of any kind in the hub. */
export interface TemplateRef {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}

type Handler = (ref: TemplateRef, now: KubeObject | undefined, old: KubeObject | undefined) => void;

/**
 * The objects in the hub that are propagated, of whatever kind: each kind is followed from the first wish on. What changes is told to
 * everybody who listens.
 */
export class Templates {
  readonly #hub: ClusterAccess;
  readonly #followed = new Map<string, { readonly informer: Informer<KubeObject>; isSynced: boolean }>();
  readonly #handlers = new Set<Handler>();

  constructor(hub: ClusterAccess) {
    this.#hub = hub;
  }

  /** Calls `handler` after each change of a followed kind. Returns its removal. */
  onChange(handler: Handler): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /** Follows a kind; resolves with all its objects at hand, or `undefined` where the hub has no such kind. */
  async follow(apiVersion: string, kind: string, signal: AbortSignal): Promise<Informer<KubeObject> | undefined> {
    const key = `${apiVersion}/${kind}`;
    const known = this.#followed.get(key);
    if (known?.isSynced === true) return known.informer;
    const found = known ?? (await this.#begin(apiVersion, kind));
    if (found === undefined) return undefined;
    await found.informer.synced(signal);
    found.isSynced = true;
    return found.informer;
  }

  /** Of a kind that is followed. */
  get({ apiVersion, kind, namespace, name }: TemplateRef): KubeObject | undefined {
    return this.#followed.get(`${apiVersion}/${kind}`)?.informer.get({ namespace, name });
  }

  /** All objects of a kind that is followed, in a namespace. */
  list(apiVersion: string, kind: string, namespace: string): readonly KubeObject[] {
    return this.#followed.get(`${apiVersion}/${kind}`)?.informer.list(namespace) ?? [];
  }

  async #begin(
    apiVersion: string,
    kind: string,
  ): Promise<{ readonly informer: Informer<KubeObject>; isSynced: boolean } | undefined> {
    const found = await this.#hub.client.findKind(apiVersion, kind);
    const key = `${apiVersion}/${kind}`;
    const again = this.#followed.get(key);
    if (found === undefined || again !== undefined) return again;
    const informer = this.#hub.informers.informer(found);
    const followed = { informer, isSynced: false };
    this.#followed.set(key, followed);
    informer.onChange((now, old) => {
      const object = now ?? old;
      if (object === undefined) return;
      const ref = { apiVersion, kind, namespace: object.metadata.namespace ?? "", name: object.metadata.name };
      for (const handler of this.#handlers) handler(ref, now, old);
    });
    return followed;
  }
}

/** A part of an object whose type does not tell of it. */
export function partOf(object: KubeObject, name: string): unknown {
  const value: unknown = Reflect.get(object, name);
  return value;
}

/** Whether more than the status of an object changed. */
export function isContentChange(now: KubeObject, old: KubeObject): boolean {
  const { generation, labels = {}, annotations = {}, deletionTimestamp, uid } = now.metadata;
  const before = old.metadata;
  if (generation === undefined || generation !== before.generation) return true;
  return (
    uid !== before.uid ||
    deletionTimestamp !== before.deletionTimestamp ||
    !equalJson(labels, before.labels ?? {}) ||
    !equalJson(annotations, before.annotations ?? {})
  );
}
