import type { JsonObject } from "../../../kernel/kinds/index.js";
import type { ModuleAdmission } from "../../../kernel/module/types.js";
import { isObject } from "../../../kernel/schema/index.js";
import { metadataOf, objectIn, textIn } from "../admission/denial.js";
import type { Subject } from "./choose.js";
import { CLAIM } from "./marks.js";

/** The marks by which a policy claims an object. */
export interface Marks {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Says what new objects are claimed with. */
export interface Claimant {
  /** Whether any policy is about the kind. */
  means(apiVersion: string, kind: string): boolean;
  /** `undefined`: nothing, or not yet. */
  marksFor(subject: Subject): Marks | undefined;
}

/** All marks of policies on objects. */
export const ALL_MARKS: readonly string[] = [
  CLAIM.namespaced.id,
  CLAIM.namespaced.name,
  CLAIM.namespaced.namespace,
  CLAIM.cluster.id,
  CLAIM.cluster.name,
];

/**
 * Where the detector of a hub says what new objects belong to, as long as it runs: what is claimed as it is made need not be written again. Who
 * writes an object past it, or before its policy, has it claimed by the detector a moment later.
 */
export class ClaimDesk {
  #claimant: Claimant | undefined;

  /** From now on it is asked. */
  open(claimant: Claimant): void {
    this.#claimant = claimant;
  }

  /** It is asked no more, unless another one was put in its place. */
  close(claimant: Claimant): void {
    if (this.#claimant === claimant) this.#claimant = undefined;
  }

  /** Marks a new object in place, which may hold anything yet. */
  mark(object: JsonObject): void {
    const { apiVersion, kind } = object;
    if (this.#claimant === undefined || typeof apiVersion !== "string" || typeof kind !== "string") return;
    if (!this.#claimant.means(apiVersion, kind)) return;
    const metadata = metadataOf(object);
    const [name, namespace] = [textIn(metadata, "name"), textIn(metadata, "namespace")];
    if (name === "" || !isMarkable(metadata["labels"]) || !isMarkable(metadata["annotations"])) return;
    const [labels, annotations] = [objectIn(metadata, "labels"), objectIn(metadata, "annotations")];
    const marks = this.#claimant.marksFor({ apiVersion, kind, namespace, name, labels: textsOf(labels) });
    if (marks === undefined) return;
    metadata["labels"] = { ...labels, ...marks.labels };
    metadata["annotations"] = { ...annotations, ...marks.annotations };
  }
}

/** Marks what is made in a hub, as the detector there would. */
export function claimAdmission(desk: ClaimDesk): ModuleAdmission {
  return {
    level: "continuum",
    complete: (object, old) => {
      if (old === undefined) desk.mark(object);
    },
  };
}

/** Whether these are labels or annotations, or none, without a mark of any policy: whose mark counts then is the detector's matter. */
function isMarkable(marks: unknown): boolean {
  return marks === undefined || (isObject(marks) && !ALL_MARKS.some((mark) => Object.hasOwn(marks, mark)));
}

function textsOf(labels: JsonObject): Record<string, string> {
  return Object.fromEntries(
    Object.entries(labels).flatMap(([key, value]) => (typeof value === "string" ? [[key, value]] : [])),
  );
}
