import type { ClusterAccess } from "../../../kernel/control/index.js";
import { isAlreadyExists } from "../../../kernel/errors/index.js";
import {
  type ControllerRevision,
  ControllerRevisionKind,
  controllerOf,
  type KubeObject,
  ownerReferenceTo,
  type PodTemplateSpec,
} from "../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";
import { hashOf } from "./hash.js";
import { ownedBy } from "./pods.js";

/** Label of revisions and of the pods made from them. */
export const revisionLabel = "controller-revision-hash";

/** Whose history, and who writes it. */
export interface HistoryOptions {
  readonly owner: KubeObject;
  readonly template: PodTemplateSpec;
  /** Of revisions, with the hash; the template's labels come beside it. */
  readonly hashLabel: string;
  readonly cluster: ClusterAccess;
  readonly fieldManager: string;
}

/** Revisions of an owner, oldest first. */
export function revisionsOf(cluster: ClusterAccess, owner: KubeObject): readonly ControllerRevision[] {
  const revisions = ownedBy(cluster.informers.informer(ControllerRevisionKind), owner.metadata.uid);
  return revisions.toSorted((a, b) => a.revision - b.revision || (a.metadata.name < b.metadata.name ? -1 : 1));
}

/** The revision of the present template: found, renumbered as the newest, or made. */
export async function ensureRevision(options: HistoryOptions): Promise<ControllerRevision> {
  const { owner, template, cluster, fieldManager } = options;
  const resource = cluster.client.resource(ControllerRevisionKind);
  const data = { spec: { template: { ...template, $patch: "replace" } } };
  const known = revisionsOf(cluster, owner);
  const newest = known.at(-1)?.revision ?? 0;
  const same = known.findLast((revision) => equalJson(toJson(revision.data ?? {}), toJson(data)));
  const { namespace = "" } = owner.metadata;
  if (same !== undefined) {
    if (same.revision === newest) return same;
    return resource.patch(same.metadata.name, "merge", { revision: newest + 1 }, { namespace, fieldManager });
  }
  for (let collisions = 0; ; collisions += 1) {
    const hash = hashOf(template, collisions);
    const name = `${owner.metadata.name}-${hash}`;
    try {
      return await resource.create(
        {
          apiVersion: "apps/v1",
          kind: "ControllerRevision",
          metadata: {
            name,
            namespace,
            labels: { ...template.metadata?.labels, [options.hashLabel]: hash },
            ...(owner.metadata.annotations === undefined ? {} : { annotations: { ...owner.metadata.annotations } }),
            ownerReferences: [ownerReferenceTo(owner)],
          },
          data,
          revision: newest + 1,
        },
        { fieldManager },
      );
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      const taken = await resource.find(name, { namespace });
      if (taken !== undefined && controllerOf(taken)?.uid === owner.metadata.uid) return taken;
    }
  }
}

/** Deletes the oldest revisions that nothing uses, down to `limit` of them. */
export async function trimRevisions(
  options: HistoryOptions & { readonly limit: number; readonly inUse: ReadonlySet<string> },
): Promise<void> {
  const { cluster, owner, limit, inUse } = options;
  const idle = revisionsOf(cluster, owner).filter((revision) => !inUse.has(revision.metadata.name));
  for (const { metadata } of idle.slice(0, Math.max(0, idle.length - limit))) {
    const { name, namespace = "", uid } = metadata;
    await cluster.client.resource(ControllerRevisionKind).delete(name, { namespace, preconditions: { uid } });
  }
}
