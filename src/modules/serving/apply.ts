/** Writing children by server-side apply, and only when something is to be written. */
import type { ApplyObject } from "../../kernel/client/types.js";
import type { ClusterAccess } from "../../kernel/control/types.js";
import { ApiError } from "../../kernel/errors/index.js";
import type { Kind, KubeObject } from "../../kernel/kinds/index.js";
import { controllerOf } from "../../kernel/kinds/index.js";
import type { Fault } from "./diagnosis.js";

/** Who writes children, and how they are told from others'. */
export interface WriterIdentity {
  readonly fieldManager: string;
  /** Label of every child, with the owner's name. */
  readonly ownerLabel: string;
}

/** Remembers what was applied to what, so that nothing is sent when neither side changed. One for each cluster. */
export interface ChildWriter {
  /** Makes the child be as wanted; a fault where the API refuses it or the name is another's. Other failures are thrown. */
  write<T extends KubeObject>(kind: Kind<T>, owner: KubeObject, wanted: ApplyObject): Promise<T | Fault>;
  forget(owner: { namespace: string; name: string }): void;
}

/** A writer for one cluster. */
export function createChildWriter(cluster: ClusterAccess, identity: WriterIdentity): ChildWriter {
  const applied = new Map<string, string>();
  return {
    async write(kind, owner, wanted) {
      const { name } = wanted.metadata;
      const namespace = owner.metadata.namespace ?? "";
      const key = `${namespace}/${owner.metadata.name}/${kind.kind}/${name}`;
      const existing = cluster.informers.informer(kind).get({ namespace, name });
      if (existing !== undefined) {
        const conflict = conflictOf(existing, owner, identity.ownerLabel);
        if (conflict !== undefined) return conflict;
        if (applied.get(key) === fingerprint(wanted, existing)) return existing;
      }
      try {
        const result = await cluster.client
          .resource(kind)
          .apply(wanted, { namespace, fieldManager: identity.fieldManager, force: true });
        applied.set(key, fingerprint(wanted, result));
        return result;
      } catch (error) {
        if (error instanceof ApiError && (error.httpCode === 422 || error.httpCode === 400)) {
          return {
            reason: "InvalidTemplate",
            message: `cluster ${cluster.name} refuses ${kind.kind} ${namespace}/${name}: ${error.message}`,
          };
        }
        throw error;
      }
    },
    forget({ namespace, name }) {
      for (const key of applied.keys()) if (key.startsWith(`${namespace}/${name}/`)) applied.delete(key);
    },
  };
}

/** Children without an owner are adopted if they carry our label; those of others are left alone. */
function conflictOf(existing: KubeObject, owner: KubeObject, label: string): Fault | undefined {
  const controller = controllerOf(existing);
  if (controller?.uid === owner.metadata.uid) return undefined;
  if (controller === undefined && existing.metadata.labels?.[label] === owner.metadata.name) return undefined;
  const whose = controller === undefined ? "is not ours" : `belongs to ${controller.kind} ${controller.name}`;
  const stale = controller?.kind === owner.kind && controller.name === owner.metadata.name;
  return {
    reason: stale ? "Replacing" : "NameConflict",
    message: `${existing.kind} ${existing.metadata.namespace ?? ""}/${existing.metadata.name} ${stale ? `of the ${owner.kind} before this one is still being deleted` : `${whose}; rename one of them`}`,
  };
}

function fingerprint(wanted: ApplyObject, seen: KubeObject): string {
  const { labels, annotations, ownerReferences } = seen.metadata;
  return JSON.stringify([wanted, labels, annotations, ownerReferences, "spec" in seen ? seen.spec : undefined]);
}

/** Whether a write gave a fault instead of an object. */
export const isFault = (value: object): value is Fault => "reason" in value && "message" in value;
