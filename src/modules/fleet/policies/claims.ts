import type { KubeObject } from "../../../kernel/kinds/index.js";
import { CLAIM } from "./marks.js";
import type { TemplateRef } from "./templates.js";

/** The identifier of the policy that a template says it belongs to; empty: of none. */
export function claimOf(template: KubeObject): string {
  const { labels = {} } = template.metadata;
  return labels[CLAIM.namespaced.id] ?? labels[CLAIM.cluster.id] ?? "";
}

/** Which templates each policy has claimed. */
export class Claims {
  readonly #byId = new Map<string, Map<string, TemplateRef>>();

  /** Takes note of a template's change. */
  note(ref: TemplateRef, now: KubeObject | undefined, old: KubeObject | undefined): void {
    const before = old === undefined ? "" : claimOf(old);
    const after = now === undefined ? "" : claimOf(now);
    const key = textOf(ref);
    if (before !== "" && before !== after) {
      const held = this.#byId.get(before);
      held?.delete(key);
      if (held?.size === 0) this.#byId.delete(before);
    }
    if (after === "") return;
    const held = this.#byId.get(after) ?? new Map();
    held.set(key, ref);
    this.#byId.set(after, held);
  }

  /** The templates of a policy. */
  of(id: string): readonly TemplateRef[] {
    return [...(this.#byId.get(id)?.values() ?? [])];
  }
}

/** A template as one text. */
export function textOf({ apiVersion, kind, namespace, name }: TemplateRef): string {
  return `${apiVersion}|${kind}|${namespace}|${name}`;
}
