import type { ClusterAccess, Informer, Key } from "../../../kernel/control/index.js";
import { type Kind, type KubeObject, type OwnerReference, parseApiVersion } from "../../../kernel/kinds/index.js";
import { discoverResources } from "../namespace/index.js";

/** Finalizers by which the API server asks for garbage collection. */
export const foregroundFinalizer = "foregroundDeletion";
export const orphanFinalizer = "orphan";

const ownerIndex = "garbage/owner-uid";
/** They come in numbers, own nothing and are cleaned up by time. */
const ignored = new Set(["/events", "events.k8s.io/events"]);

/** An object and the kind as which it is read. */
export interface Found {
  readonly kind: Kind;
  readonly object: KubeObject;
}

/** Who owns whom over all resources of a cluster, from shared informers: nothing is copied and nothing polled. */
export class OwnerGraph {
  readonly #cluster: ClusterAccess;
  readonly #informers = new Map<string, Informer<KubeObject>>();
  readonly #onChange: (kind: Kind, now: KubeObject | undefined, old: KubeObject | undefined) => void;

  constructor(
    cluster: ClusterAccess,
    onChange: (kind: Kind, now: KubeObject | undefined, old: KubeObject | undefined) => void,
  ) {
    this.#cluster = cluster;
    this.#onChange = onChange;
  }

  /** Follows every resource that is served now and was not yet followed. */
  async discover(): Promise<void> {
    const { resources } = await discoverResources(this.#cluster.client);
    for (const resource of resources) {
      const canFollow = ["list", "watch", "delete"].every((verb) => resource.verbs.includes(verb));
      const id = `${resource.group}/${resource.plural}`;
      if (!canFollow || ignored.has(id) || this.#informers.has(id)) continue;
      const { group, version, kind, plural, namespaced } = resource;
      const informer = this.#cluster.informers.informer<KubeObject>({ group, version, kind, plural, namespaced });
      informer.addIndex(ownerIndex, ownerUids);
      informer.onChange((now, old) => this.#onChange(informer.kind, now, old));
      this.#informers.set(id, informer);
      for (const object of informer.list()) this.#onChange(informer.kind, object, undefined);
    }
  }

  /** Whether all that was discovered has been read once. */
  async synced(signal: AbortSignal): Promise<void> {
    // One after the other: each wait listens on the signal.
    for (const informer of this.#informers.values()) await informer.synced(signal);
  }

  /** The kind that an owner reference names; `undefined` when no such kind is followed. */
  kindOf(reference: Pick<OwnerReference, "apiVersion" | "kind">): Kind | undefined {
    const { group } = parseApiVersion(reference.apiVersion);
    for (const { kind } of this.#informers.values())
      if (kind.group === group && kind.kind === reference.kind) return kind;
    return undefined;
  }

  get(kind: Kind, key: Key): KubeObject | undefined {
    return this.#informers.get(`${kind.group}/${kind.plural}`)?.get(key);
  }

  dependentsOf(uid: string): Found[] {
    const found: Found[] = [];
    for (const informer of this.#informers.values())
      for (const object of informer.byIndex(ownerIndex, uid)) found.push({ kind: informer.kind, object });
    return found;
  }

  /** The object behind a queue key made by `keyFor`. */
  find(key: Key): Found | undefined {
    const [group = "", plural = "", ...name] = key.name.split("/");
    const informer = this.#informers.get(`${group}/${plural}`);
    const object = informer?.get({ namespace: key.namespace, name: name.join("/") });
    return informer === undefined || object === undefined ? undefined : { kind: informer.kind, object };
  }
}

/** Queue key of an object of any kind. */
export function keyFor(kind: Kind, object: KubeObject): Key {
  const { namespace = "", name } = object.metadata;
  return { namespace, name: `${kind.group}/${kind.plural}/${name}` };
}

function ownerUids(object: KubeObject): string[] {
  return (object.metadata.ownerReferences ?? []).map(({ uid }) => uid);
}
