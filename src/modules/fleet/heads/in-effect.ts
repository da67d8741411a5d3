import type { HeadPlan } from "../head-weights.js";
import { headWith, jsonOfSpec } from "../json.unsafe.js";
import type { HeadIngress, HeadIngressStatus } from "../kinds.js";
import { classOf } from "./applier.js";
import { type HeadRoute, unsafeFieldsOf } from "./rendering.js";

type InEffect = NonNullable<HeadIngressStatus["inEffect"]>;

/** What a HeadIngress says with its status: the spec that was carried last, where that is of another generation than the present one. */
export function formerOf(head: HeadIngress): HeadIngress | undefined {
  const { generation, spec } = head.status?.inEffect ?? {};
  return generation === undefined || spec === undefined || generation === head.metadata.generation
    ? undefined
    : headWith(head, generation, spec);
}

/** What is kept in the status, so that whoever comes after this process can go on with it. */
export function inEffectOf({ metadata, spec }: HeadIngress): InEffect {
  return { generation: metadata.generation ?? 0, spec: jsonOfSpec(spec) };
}

/** The HyperMLServices that requests to it may go to: by what it says now, and by what is in effect. */
export function referencesOf(head: HeadIngress): readonly string[] {
  return [head, formerOf(head)].flatMap((each) => each?.spec.hyperMLServiceRef?.name ?? []);
}

/**
 * Why a spec is worse than the one before it, though it can be carried: nothing at all would be behind its route, or whom it is rendered for has
 * no words for it. Empty: it is not.
 */
export function lossOf(own: HeadRoute, { backends, faults }: HeadPlan): string {
  const kind = classOf(own.head);
  const [unsafe] = kind === "nginx" || kind === "haproxy" ? unsafeFieldsOf(own) : [];
  if (unsafe !== undefined) return `${unsafe.field}: ${unsafe.message}`;
  const [fault] = faults;
  if (backends.length === 0 && fault !== undefined) return fault;
  const [first] = backends;
  return first !== undefined &&
    backends.every(({ cluster, reason }) => cluster === undefined && reason === "BadAddress")
    ? `spec.backends: ${first.name}: ${first.message}`
    : "";
}
