/** Writing children by server-side apply, and only when something is to be written. */
import type { ApplyObject } from "../../kernel/client/types.js";
import type { ClusterAccess } from "../../kernel/control/types.js";
import { ApiError, messageOf } from "../../kernel/errors/index.js";
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
  /** Makes the child be as drafted; a fault where the API refuses it or the name is another's. Other failures are thrown. */
  write<T extends KubeObject>(kind: Kind<T>, owner: KubeObject, draft: ApplyObject): Promise<T | Fault>;
  forget(owner: { namespace: string; name: string }): void;
}

/** What was applied, and what came of it. */
interface Applied {
  readonly wanted: string;
  readonly seen: string;
  /** The child that `seen` was read from last. */
  object: KubeObject;
}

/** A writer for one cluster. */
export function createChildWriter(cluster: ClusterAccess, identity: WriterIdentity): ChildWriter {
  const applied = new Map<string, Map<string, Applied>>();
  const ofOwner = (owner: string): Map<string, Applied> => {
    const known = applied.get(owner) ?? new Map<string, Applied>();
    applied.set(owner, known);
    return known;
  };
  return {
    async write(kind, owner, draft) {
      const { name } = draft.metadata;
      const namespace = owner.metadata.namespace ?? "";
      const known = ofOwner(`${namespace}/${owner.metadata.name}`);
      const key = `${kind.kind}/${name}`;
      const wanted = JSON.stringify(draft);
      const existing = cluster.informers.informer(kind).get({ namespace, name });
      if (existing !== undefined) {
        const conflict = conflictOf(existing, owner, identity.ownerLabel);
        if (conflict !== undefined) return conflict;
        const last = known.get(key);
        if (last?.wanted === wanted && (last.object === existing || last.seen === fingerprint(existing))) {
          last.object = existing;
          return existing;
        }
      }
      try {
        const object = await cluster.client
          .resource(kind)
          .apply(draft, { namespace, fieldManager: identity.fieldManager, force: true });
        known.set(key, { wanted, seen: fingerprint(object), object });
        return object;
      } catch (error) {
        const reason = reasonOf(error);
        if (reason === undefined) throw error;
        const message = `cluster ${cluster.name} refuses ${kind.kind} ${namespace}/${name}: ${messageOf(error)}`;
        return { reason, message };
      }
    },
    forget({ namespace, name }) {
      applied.delete(`${namespace}/${name}`);
    },
  };
}

/** What an API server's refusal means to whoever made the owner; undefined for what passes by itself (no answer, a lost race). */
function reasonOf(error: unknown): string | undefined {
  if (!(error instanceof ApiError)) return undefined;
  const { code, reason, message } = error.status;
  // What is no object of its kind at all is told with 500: names in a list that are given twice, say.
  if (code === 400 || code === 422 || message.startsWith("failed to create typed patch object"))
    return "InvalidTemplate";
  if (code === 403) return message.includes("exceeded quota") ? "QuotaExceeded" : "Forbidden";
  return code === 500 && reason === "InternalError" ? "ApiFailure" : undefined;
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

function fingerprint(seen: KubeObject): string {
  const { labels, annotations, ownerReferences } = seen.metadata;
  return JSON.stringify([labels, annotations, ownerReferences, "spec" in seen ? seen.spec : undefined]);
}

/** Whether a write gave a fault instead of an object. */
export const isFault = (value: object): value is Fault => "reason" in value && "message" in value;
