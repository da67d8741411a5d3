/** A resource as keys name it: resources that are served in two groups share the keys of one. */
interface KeyedKind {
  readonly group: string;
  readonly plural: string;
  /** Absent: `group`. */
  readonly storageGroup?: string;
}

/** `/<group>/<plural>/<namespace>/<name>`; the namespace of cluster-scoped objects is empty. */
export function objectKey(kind: KeyedKind, namespace: string, name: string): string {
  return `/${kind.storageGroup ?? kind.group}/${kind.plural}/${namespace}/${name}`;
}

/** Prefix of all objects of a resource, or of those in one namespace. */
export function listPrefix(kind: KeyedKind, namespace: string): string {
  const resource = `/${kind.storageGroup ?? kind.group}/${kind.plural}/`;
  return namespace === "" ? resource : `${resource}${namespace}/`;
}

/** The parts of a key. */
export function parseKey(key: string): { group: string; plural: string; namespace: string; name: string } {
  const [, group = "", plural = "", namespace = "", ...rest] = key.split("/");
  return { group, plural, namespace, name: rest.join("/") };
}

/** `/<group>/<plural>/` of a key or of a prefix that is at least that long. */
export function bucketOf(key: string): string {
  return key.slice(0, key.indexOf("/", key.indexOf("/", 1) + 1) + 1);
}
