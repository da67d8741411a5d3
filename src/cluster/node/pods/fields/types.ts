import type { Json, Pod } from "../../../../kernel/kinds/index.js";

/** What this node makes of a field: carries it out, does not start the pod, or starts it and says what it leaves out. */
export type Verdict = "honoured" | "refused" | "ignored";

/** What a node can do; several rules depend on it. */
export interface Abilities {
  /** `user`: Argosy runs as a plain user. `podman`: as root, and podman runs the containers. */
  readonly mode: "root" | "user" | "podman";
  /** Each pod has a network namespace of its own. */
  readonly ownNetwork: boolean;
  /** What the kernel limits for containers here. */
  readonly limits: ReadonlySet<"cpu" | "memory" | "pids">;
}

/** What is known besides the field's own value. */
export interface FieldPlace {
  readonly pod: Pod;
  readonly node: Abilities;
}

/** One line of the table of docs/pods.md: code and document come from it. */
export interface FieldRule {
  /**
   * Path below `spec`. `[]` is every element, `{}` every value of a map; `containers[]` stands for init and ephemeral
   * containers too. It speaks for everything below it that has no rule of its own.
   */
  readonly field: string;
  /** Which values it is about; absent: all. */
  readonly value?: {
    readonly text: string;
    test(value: Json, place: FieldPlace): boolean;
  };
  readonly root: Verdict;
  readonly user: Verdict;
  /** With containers by podman; absent: as `root`. */
  readonly podman?: Verdict;
  /** Honoured: what is done. Otherwise: why not, and what to do instead; it stands in the event. */
  readonly note: string;
  /** The pod ends as Failed with this reason, where kubelet turns such a pod away too; absent: its containers wait. */
  readonly rejection?: string;
}

/** A rule for what is carried out everywhere. */
export function honoured(field: string, note: string): FieldRule {
  return { field, root: "honoured", user: "honoured", note };
}

/** A rule for values that only make sense set to something. */
export function valueIs(wanted: Json): NonNullable<FieldRule["value"]> {
  return { text: `\`${JSON.stringify(wanted).replaceAll('"', "")}\``, test: (value) => value === wanted };
}

/** A member of an object that is text; empty otherwise. */
export function textAt(value: Json, name: string): string {
  const member = typeof value === "object" && value !== null && !Array.isArray(value) ? value[name] : undefined;
  return typeof member === "string" ? member : "";
}
