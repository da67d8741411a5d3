import type { ClusterAccess } from "../../kernel/control/index.js";
import type { KubeObject } from "../../kernel/kinds/index.js";
import { applyTarget, type Target } from "./member-apply.js";

type Place = Pick<Target, "kind" | "namespace" | "name">;

/** How an object is applied. */
export interface Applying {
  readonly signal: AbortSignal;
  readonly makesNamespace: boolean;
  /** Called when the member told of another change meanwhile. */
  readonly onOtherChange: () => void;
  /** What is applied: uid and generation of the Work. */
  readonly content: string;
}

/** What was written to one member, so that its echo is known for what it is. */
export class MemberWrites {
  /** Identity and version of members' objects as they were after the last apply: what a member adds to them is no drift. */
  readonly #made = new Map<string, { readonly version: string; readonly content: string }>();
  /** Objects that are being applied, with the version that the member told of meanwhile. */
  readonly #applying = new Map<string, string>();

  /** Server-side apply. Changes that the member tells of meanwhile count where they are not the answer. */
  async apply(member: ClusterAccess, target: Target, by: Applying): Promise<KubeObject> {
    const text = textOf(target);
    this.#applying.set(text, "");
    let answer = "";
    try {
      const object = await applyTarget(member, target, by.makesNamespace, by.signal);
      answer = versionOf(object);
      this.#made.set(text, { version: answer, content: by.content });
      return object;
    } finally {
      const told = this.#applying.get(text) ?? "";
      this.#applying.delete(text);
      if (told !== "" && told !== answer) by.onOtherChange();
    }
  }

  /** Whether an object is as the last apply left it. */
  isAsMade(target: Place, object: KubeObject): boolean {
    return this.#made.get(textOf(target))?.version === versionOf(object);
  }

  /** Whether that apply was of this content too: then there is nothing to say again, even if it could not be told in the hub. */
  isMadeOf(content: string, target: Place, object: KubeObject): boolean {
    return this.#made.get(textOf(target))?.content === content && this.isAsMade(target, object);
  }

  /** Whether a change that the member tells of is what was just written there, and no news. */
  isEcho(place: Place, object: KubeObject): boolean {
    const text = textOf(place);
    if (!this.#applying.has(text)) return this.isAsMade(place, object);
    // Whether it is, the answer will say.
    this.#applying.set(text, versionOf(object));
    return true;
  }

  forget(target: Place): void {
    this.#made.delete(textOf(target));
  }
}

/** Whether two states of an object are one. */
export function isSameVersion(a: KubeObject, b: KubeObject): boolean {
  return versionOf(a) === versionOf(b);
}

function textOf({ kind, namespace, name }: Place): string {
  return `${kind.plural}.${kind.group}/${namespace}/${name}`;
}

function versionOf({ metadata }: KubeObject): string {
  return `${metadata.uid}/${metadata.resourceVersion}`;
}
