/** What the four controllers share. */
import type { ApplyObject } from "../../../kernel/client/types.js";
import type { ClusterAccess, ReconcileContext } from "../../../kernel/control/types.js";
import type { Kind, KubeObject } from "../../../kernel/kinds/index.js";
import { controllerOf, DeploymentKind, ownerReferenceTo, withCondition } from "../../../kernel/kinds/index.js";
import { type ConditionValue, toJson } from "../../../kernel/schema/index.js";
import type { Ledger } from "../../../stores/ledger/types.js";
import type { ServingAddress } from "../children.js";
import type { Probe } from "../probe.js";

/** What the controllers need besides the cluster. */
export interface KnativeOptions {
  readonly ledger: Ledger;
  readonly probe: Probe;
  readonly address: ServingAddress;
}

/** True, false, or not decided yet; with a word and a sentence. */
export interface Said {
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
}

export const YES: Said = { status: "True", reason: "", message: "" };

/** Conditions of an object after some were said anew; `Ready` is true where all others are, else it says what the first other one does. */
export function conditionsWith(
  object: Pick<KubeObject, "metadata"> & { readonly status?: { readonly conditions?: ConditionValue[] } },
  said: Readonly<Record<string, Said>>,
  nowMs: number,
): ConditionValue[] {
  const parts = Object.values(said);
  const ready = parts.find(({ status }) => status === "False") ?? parts.find(({ status }) => status !== "True") ?? YES;
  let conditions = object.status?.conditions ?? [];
  for (const [type, { status, reason, message }] of Object.entries({ ...said, Ready: ready })) {
    const update = { type, status, reason, message };
    const observed = { ...update, observedGeneration: object.metadata.generation ?? 0 };
    conditions = withCondition<ConditionValue>(conditions, observed, nowMs);
  }
  return conditions;
}

/** What another object's `Ready` says, as a condition of one that stands on it. */
export function readyOf(
  object:
    | {
        readonly status?: {
          readonly conditions?: readonly { type: string; status: string; reason?: string; message?: string }[];
        };
      }
    | undefined,
): Said {
  const found = object?.status?.conditions?.find(({ type }) => type === "Ready");
  const status = found?.status === "True" || found?.status === "False" ? found.status : "Unknown";
  if (status === "True") return YES;
  return { status, reason: found?.reason ?? "Unknown", message: found?.message ?? "it is not looked at yet" };
}

/** Knative's own controllers run in a cluster: everything is left to them. */
export function isTakenCareOf(cluster: ClusterAccess): boolean {
  const key = { namespace: "knative-serving", name: "controller" };
  return cluster.informers.informer(DeploymentKind).get(key) !== undefined;
}

/** Writes children by server-side apply, and only where something is to be written. */
export class Writer {
  readonly #manager: string;
  readonly #applied = new Map<string, string>();

  constructor(manager: string) {
    this.#manager = manager;
  }

  /** The child as it is then, or why it cannot be: its name is taken. */
  async write<T extends KubeObject>(
    kind: Kind<T>,
    owner: KubeObject,
    wanted: ApplyObject,
    { cluster }: Pick<ReconcileContext<KubeObject>, "cluster">,
  ): Promise<T | Said> {
    const { name } = wanted.metadata;
    const namespace = owner.metadata.namespace ?? "";
    const existing = cluster.informers.informer(kind).get({ namespace, name });
    const other = existing === undefined ? undefined : controllerOf(existing);
    if (existing !== undefined && other?.uid !== owner.metadata.uid) {
      const whose = other === undefined ? "is not ours" : `belongs to ${other.kind} ${other.name}`;
      return { status: "False", reason: "NotOwned", message: `${kind.kind} ${name} ${whose}; rename one of them` };
    }
    const whole = {
      ...wanted,
      metadata: { ...wanted.metadata, namespace, ownerReferences: [toJson(ownerReferenceTo(owner))] },
    };
    const key = `${kind.kind}/${namespace}/${name}`;
    const mark = (object: KubeObject | undefined): string =>
      JSON.stringify([whole, object?.metadata.uid, object?.metadata.generation, object?.metadata.labels]);
    if (existing !== undefined && this.#applied.get(key) === mark(existing)) return existing;
    const result = await cluster.client
      .resource(kind)
      .apply(whole, { namespace, fieldManager: this.#manager, force: true });
    this.#applied.set(key, mark(result));
    return result;
  }
}

/** Whether writing gave a reason instead of an object. */
export const isSaid = (value: KubeObject | Said): value is Said => !("metadata" in value);
