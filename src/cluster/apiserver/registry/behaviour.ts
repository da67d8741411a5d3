import type { Faults } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { DeletionRules, TableColumn, WriteContext } from "../types.js";

/** A column that has a value for an object. */
export interface Column extends TableColumn {
  /** `now` in milliseconds, for ages. */
  readonly cell: (object: JsonObject, now: number) => string | number | boolean | null;
}

/** What a native kind does beyond its schema. Kinds without an entry have none of it; the verbs never look at kinds. */
export interface Behaviour {
  /** Faults of a name; default: DNS subdomain. */
  readonly nameFaults?: (name: string) => readonly string[];
  /** Fills in defaults of spec (and of status), in place. */
  readonly defaults?: (object: JsonObject) => void;
  /** A PUT makes what is not there. */
  readonly createsOnUpdate?: boolean;
  /** Updates must name the version that they change. */
  readonly needsVersion?: boolean;
  /** Has `metadata.generation`; raised when anything but metadata and status changes (`once`: never; `updated`: from nothing on). */
  readonly generation?: boolean | "once" | "updated";
  /** `validate` says everything: what the schema requires or enumerates is not looked at. */
  readonly complete?: boolean;
  /** Faults of a new object alone, after those of any. */
  readonly validateCreate?: (object: JsonObject, faults: Faults) => void;
  /** On create and update, after the server's own preparation. */
  readonly prepare?: (object: JsonObject, old: JsonObject | undefined, context: WriteContext) => void;
  /** What is peculiar to deletion. */
  readonly deletion?: DeletionRules;
  /** Answers about this kind warn with these words. */
  readonly deprecation?: string;
  /** Paths (without indexes) whose enumerated values the kind checks itself, in other words than the schema's. */
  readonly ownChecks?: readonly string[];
  /** Paths (without indexes) whose absence the kind reports itself. */
  readonly ownRequired?: readonly string[];
  /** Versions that are not stored: how they become and come from what is. */
  readonly conversions?: Readonly<
    Record<string, { fromStorage(object: JsonObject): JsonObject; toStorage(object: JsonObject): JsonObject }>
  >;
  /** Status of a new object, where it is not simply empty. */
  readonly initialStatus?: (object: JsonObject) => JsonObject;
  /** Create does not drop the status that was sent (kinds whose strategy keeps it). */
  readonly keepsStatusOnCreate?: boolean;
  /** Faults of an object, new or changed. */
  readonly validate?: (object: JsonObject, faults: Faults) => void;
  /** How often an update's metadata is checked, besides what all kinds have in common, as a new object's and as a change; by subresource (empty: none). Default: once each. */
  readonly updateChecks?: Readonly<Record<string, readonly [asNew: number, asChange: number]>>;
  /** Finalizers need not be the server's own or have a domain. */
  readonly anyFinalizers?: boolean;
  /** Names of new objects are looked at as parts of paths alone. */
  readonly plainNames?: boolean;
  /** A write of the status is checked by `validateUpdate` alone. */
  readonly statusOnly?: boolean;
  /** On update upstream checks the new object, or what it holds, two times over: every fault is listed twice. */
  readonly checkedTwice?: "all" | "spec";
  /** Faults of a change. */
  readonly validateUpdate?: (object: JsonObject, old: JsonObject, faults: Faults, context: WriteContext) => void;
  /** Fields that selectors may name, besides metadata.name and metadata.namespace. */
  readonly selectable?: Readonly<Record<string, (object: JsonObject) => string>>;
  /** Columns between NAME and AGE, or all of them if `allColumns`. */
  readonly columns?: readonly Column[];
  readonly allColumns?: boolean;
  /** Paths that a subresource may write (besides `status`, which writes the status). */
  readonly subresourceFields?: Readonly<Record<string, readonly (readonly string[])[]>>;
  /** Paths that a write by a subresource (empty: of the object itself) leaves as they were, as far as ownership goes. Default: the status, and by `status` the spec. */
  readonly resets?: Readonly<Record<string, readonly (readonly string[])[]>>;
  /** Subresources that write parts which no path names: makes of the old object (a copy) what a write of `sent` leaves. */
  readonly subresourceWrites?: Readonly<Record<string, (result: JsonObject, sent: JsonObject) => void>>;
}

/** Behaviour by `group/Kind` (`/Pod`, `apps/Deployment`). */
export type BehaviourTable = Readonly<Record<string, Behaviour>>;
