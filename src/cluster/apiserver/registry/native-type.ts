import type { StatusCause } from "../../../kernel/errors/index.js";
import { Faults, pathSegmentFaults, subdomainFaults } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { cloneObject, equalJson } from "../../../kernel/schema/index.js";
import { createMerge } from "../merge/index.js";
import type {
  Decoded,
  DeletionRules,
  MergeSchema,
  ResourceType,
  ScalePaths,
  SubresourceType,
  TableColumn,
  Verb,
  WriteContext,
} from "../types.js";
import type { Behaviour } from "./behaviour.js";
import { checkBySchema } from "./checks.js";
import { columnsOf } from "./columns.js";
import { checkApiVersionAndKind } from "./coordinates.js";
import { decodeNative, zeroObject } from "./decode.js";
import { validateFinalizers, validateMetadata, validateMetadataChange } from "./metadata.js";
import { asList, asObject, asString } from "./read.js";
import type { Shape } from "./shape.js";
import { carryOver, copyPaths, writePart } from "./subresources.js";

/** What discovery says of a resource. */
export interface NativeResource {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly verbs: readonly Verb[];
  readonly subresources: ReadonlyMap<string, SubresourceType>;
  /** Where the resource is a second face of another group's. */
  readonly storageGroup?: string;
  readonly storageVersion: string;
  /** What is written is a part of an object of a definition. */
  readonly isOfCustom?: boolean;
  /** Versions besides its own in which a body may say it comes. */
  readonly alsoTaken?: readonly string[];
  /** Whether there is a native kind of that name, served or not. */
  readonly isKnown: (group: string, version: string, kind: string) => boolean;
}

const scalePaths: ScalePaths = {
  specReplicasPath: ".spec.replicas",
  statusReplicasPath: ".status.replicas",
  labelSelectorPath: "",
};

/** A resource of Kubernetes itself: its schema from the reference documents, the rest from its `Behaviour`. */
export class NativeType implements ResourceType {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly listKind: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly verbs: readonly Verb[];
  readonly subresources: ReadonlyMap<string, SubresourceType>;
  readonly storageGroup?: string;
  readonly storageVersion: string;
  readonly custom = false;
  readonly selectableFieldNames: readonly string[];
  readonly columns: readonly TableColumn[];
  readonly merge: MergeSchema;
  readonly deletion?: DeletionRules;
  readonly deprecation?: string;
  readonly needsVersion: boolean;
  readonly scale?: ScalePaths;
  readonly goName?: string;
  readonly createsOnUpdate: boolean;
  readonly #ownChecks: ReadonlySet<string>;
  readonly #ownRequired: ReadonlySet<string>;
  readonly #alsoTaken: readonly string[];
  readonly #isKnown: NativeResource["isKnown"];
  readonly shape: Shape;
  readonly #behaviour: Behaviour;
  readonly #cells: (object: JsonObject, now: number) => (string | number | boolean | null)[];
  readonly #hasStatus: boolean;

  constructor(resource: NativeResource, shape: Shape, behaviour: Behaviour) {
    this.group = resource.group;
    this.version = resource.version;
    this.plural = resource.plural;
    this.singular = resource.singular;
    this.kind = resource.kind;
    this.listKind = `${resource.kind}List`;
    this.namespaced = resource.namespaced;
    this.shortNames = resource.shortNames;
    this.categories = resource.categories;
    this.verbs = resource.verbs;
    this.subresources = resource.subresources;
    if (resource.storageGroup !== undefined) this.storageGroup = resource.storageGroup;
    this.storageVersion = resource.storageVersion;
    this.shape = shape;
    this.#behaviour = behaviour;
    if (behaviour.deletion !== undefined) this.deletion = behaviour.deletion;
    if (resource.isOfCustom === true) this.goName = `${resource.version}.${resource.kind}`;
    if (resource.subresources.has("scale")) this.scale = scalePaths;
    this.needsVersion = behaviour.needsVersion === true;
    this.createsOnUpdate = behaviour.createsOnUpdate === true;
    if (behaviour.deprecation !== undefined) this.deprecation = behaviour.deprecation;
    this.#ownChecks = new Set(behaviour.ownChecks ?? []);
    this.#ownRequired = new Set(behaviour.ownRequired ?? []);
    this.#alsoTaken = resource.alsoTaken ?? [];
    this.#isKnown = resource.isKnown;
    this.#hasStatus = resource.subresources.has("status");
    this.selectableFieldNames = [
      "metadata.name",
      ...(resource.namespaced ? ["metadata.namespace"] : []),
      ...Object.keys(behaviour.selectable ?? {}),
    ];
    const columns = columnsOf(behaviour);
    this.columns = columns.columns;
    this.#cells = columns.cells;
    this.merge = createMerge({
      shape,
      group: this.group,
      version: this.version,
      kind: this.kind,
      supportsStrategic: true,
      ...(behaviour.resets === undefined ? {} : { resets: behaviour.resets }),
      isConvertible: resource.isOfCustom !== true,
      hasStatus: this.#hasStatus,
      normalise: (object) => decodeNative(shape, object, this).object,
    });
  }

  decode(raw: JsonObject, { isConverted } = { isConverted: false }): Decoded {
    // A strategic merge is one of fields, whatever the patch calls itself.
    if (!isConverted && !this.#alsoTaken.includes(asString(raw["apiVersion"])))
      checkApiVersionAndKind(raw, this, this.#isKnown);
    const { kind, version } = this;
    const decoded = decodeNative(this.shape, raw, { kind, version, isConverted });
    decoded.object["apiVersion"] = this.group === "" ? this.version : `${this.group}/${this.version}`;
    decoded.object["kind"] = this.kind;
    // Empty means something here: ownership begins anew.
    const owners = asObject(raw["metadata"])["managedFields"];
    if (Array.isArray(owners) && owners.length === 0) asObject(decoded.object["metadata"])["managedFields"] = [];
    return decoded;
  }

  applyDefaults(object: JsonObject): void {
    this.#behaviour.defaults?.(object);
  }

  prepareForCreate(object: JsonObject, context: WriteContext): void {
    if (this.#behaviour.initialStatus !== undefined) object["status"] = this.#behaviour.initialStatus(object);
    else if (this.#hasStatus && this.#behaviour.keepsStatusOnCreate !== true) this.#emptyStatus(object);
    const { generation } = this.#behaviour;
    if (generation === true || generation === "once") asObject(object["metadata"])["generation"] = 1;
    this.#behaviour.prepare?.(object, undefined, context);
  }

  #emptyStatus(object: JsonObject): void {
    const field = this.shape.fields.get("status");
    if (field?.default === undefined) delete object["status"];
    else object["status"] = zeroObject(field.shape);
  }

  prepareForUpdate(object: JsonObject, old: JsonObject, context: WriteContext): void {
    const { subresource } = context;
    const written = this.#behaviour.subresourceFields?.[subresource];
    const rewrite = this.#behaviour.subresourceWrites?.[subresource];
    if (subresource === "status") carryOver(object, old, "status");
    else if (written !== undefined) copyPaths(object, old, written);
    else if (rewrite !== undefined) writePart(object, old, rewrite);
    else if (this.#hasStatus) setOrDelete(object, "status", old);
    const { generation } = this.#behaviour;
    if (generation === true || generation === "updated") this.#raiseGeneration(object, old);
    this.#behaviour.prepare?.(object, old, context);
  }

  #raiseGeneration(object: JsonObject, old: JsonObject): void {
    const metadata = asObject(object["metadata"]);
    const before = asObject(old["metadata"])["generation"];
    const generation = typeof before === "number" ? before : 0;
    const raised = sameBody(object, old) ? generation : generation + 1;
    if (raised > 0) metadata["generation"] = raised;
  }

  validateCreate(object: JsonObject, context: WriteContext): StatusCause[] {
    const faults = new Faults();
    if (this.#behaviour.plainNames !== true) this.#validateMetadata(object, faults);
    this.#validateBody(object, faults);
    this.#behaviour.validateCreate?.(object, faults);
    if (faults.causes.length === 0) validateMetadata(object, pathSegmentFaults, faults);
    return told(faults, context);
  }

  validateUpdate(object: JsonObject, old: JsonObject, context: WriteContext): StatusCause[] {
    const faults = new Faults();
    const { checkedTwice, statusOnly, updateChecks, validate } = this.#behaviour;
    const { subresource } = context;
    const isStatusAlone = statusOnly === true && subresource === "status";
    const [asNew, asChange] = updateChecks?.[subresource] ?? [isStatusAlone ? 0 : checkedTwice === "all" ? 2 : 1, 1];
    // What all kinds have in common comes first, then the same again where the kind's own rules include it.
    validateMetadata(object, pathSegmentFaults, faults);
    for (let round = 0; round <= asChange; round += 1) {
      validateMetadataChange(object, old, faults);
      if (round > 0) this.#validateFinalizers(object, faults);
    }
    for (let round = 0; round < asNew; round += 1) this.#validateMetadata(object, faults);
    this.#behaviour.validateUpdate?.(object, old, faults, context);
    if (!isStatusAlone) {
      this.#validateBody(object, faults);
      if (checkedTwice === "all") this.#validateBody(object, faults);
      else if (checkedTwice === "spec") validate?.(object, faults);
    }
    return told(faults, context);
  }

  #validateMetadata(object: JsonObject, faults: Faults): void {
    validateMetadata(object, this.#behaviour.nameFaults ?? subdomainFaults, faults);
    this.#validateFinalizers(object, faults);
  }

  #validateFinalizers(object: JsonObject, faults: Faults): void {
    if (this.#behaviour.anyFinalizers !== true)
      validateFinalizers(asList(asObject(object["metadata"])["finalizers"]), "metadata.finalizers", faults);
  }

  #validateBody(object: JsonObject, faults: Faults): void {
    if (this.#behaviour.complete !== true)
      checkBySchema(this.shape, object, { faults, skipped: this.#ownChecks, required: this.#ownRequired });
    this.#behaviour.validate?.(object, faults);
  }

  fromStorage(object: JsonObject): JsonObject {
    return this.#conversion?.fromStorage(object) ?? object;
  }

  toStorage(object: JsonObject): JsonObject {
    return this.#conversion?.toStorage(object) ?? object;
  }

  get #conversion():
    | { fromStorage(object: JsonObject): JsonObject; toStorage(object: JsonObject): JsonObject }
    | undefined {
    return this.#behaviour.conversions?.[this.version];
  }

  selectableFields(object: JsonObject): Readonly<Record<string, string>> {
    const metadata = asObject(object["metadata"]);
    const fields: Record<string, string> = { "metadata.name": asString(metadata["name"]) };
    if (this.namespaced) fields["metadata.namespace"] = asString(metadata["namespace"]);
    for (const [name, read] of Object.entries(this.#behaviour.selectable ?? {})) fields[name] = read(object);
    return fields;
  }

  cells(object: JsonObject, now: number): (string | number | boolean | null)[] {
    return this.#cells(object, now);
  }
}

/** Only an object that is accepted is worth a warning. */
function told({ causes, warnings }: Faults, context: WriteContext): StatusCause[] {
  if (causes.length === 0) for (const warning of warnings) context.warn?.(warning);
  return causes;
}

function setOrDelete(object: JsonObject, field: string, from: JsonObject): void {
  const value = from[field];
  if (value === undefined) delete object[field];
  else
    object[field] = typeof value === "object" && value !== null && !Array.isArray(value) ? cloneObject(value) : value;
}

/** Whether two objects are equal but for metadata and status. */
export function sameBody(a: JsonObject, b: JsonObject): boolean {
  const without = new Set(["metadata", "status", "apiVersion", "kind"]);
  for (const field of new Set([...Object.keys(a), ...Object.keys(b)]))
    if (!without.has(field) && !equalJson(a[field], b[field])) return false;
  return true;
}
