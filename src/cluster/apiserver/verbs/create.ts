import { ApiError } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { alreadyExists, badRequest, failure, invalid, qualified } from "../failures.js";
import { metadataOf, objectAt, stringAt } from "../fields.js";
import { objectKey } from "../store/index.js";
import type { ResourceType, Stored } from "../types.js";
import { admissionRequest, mutate, validate } from "./admit.js";
import { type Call, type Machinery, namespaceOf, type Outcome, outcomeOf, timestamp } from "./context.js";
import { decodeBody } from "./decode.js";
import { readWriteOptions, type WriteOptions } from "./options.js";

/** Generated names are tried anew when they are taken, as often as upstream does. */
const maxNameAttempts = 8;
/** So that with a suffix of five a generated name stays within 63. */
const maxGeneratedBase = 58;

/** POST to a collection. */
export async function create(machinery: Machinery, call: Call): Promise<Outcome> {
  const options = readWriteOptions(call.request, "CreateOptions");
  return createObject(machinery, call, decodeBody(call, options), { ...options, track: true });
}

/** Admits, completes, checks and stores a decoded object. `track` false: managedFields are already right (server-side apply). */
export async function createObject(
  machinery: Machinery,
  call: Call,
  object: JsonObject,
  options: WriteOptions & { readonly track: boolean },
): Promise<Outcome> {
  const isNameGiven = stringAt(objectAt(object, "metadata"), "name") !== "";
  const pristine = isNameGiven ? undefined : structuredClone(object);
  for (let attempt = 1; ; attempt++) {
    try {
      return await createOnce(machinery, call, object, options);
    } catch (error) {
      const isTaken = error instanceof ApiError && error.status.reason === "AlreadyExists";
      if (!isTaken || pristine === undefined || attempt >= maxNameAttempts) throw error;
      object = structuredClone(pristine);
    }
  }
}

async function createOnce(
  machinery: Machinery,
  call: Call,
  object: JsonObject,
  options: WriteOptions & { readonly track: boolean },
): Promise<Outcome> {
  const { type } = call;
  const now = timestamp(machinery.clock);
  placeInNamespace(object, namespaceOf(call));
  const name = nameObject(machinery, object);
  if (options.track) {
    // Before admission: what it changes is not the client's.
    type.merge.trackUpdate(object, undefined, { manager: options.manager, subresource: call.info.subresource, now });
  }
  const admission = admissionRequest(call, { operation: "CREATE", object, dryRun: options.dryRun, name });
  const mutated = mutate(machinery, admission);
  if (mutated !== undefined) await mutated;
  const metadata = metadataOf(object);
  claimMetadata(metadata, machinery.random.uuid(), now);
  const warn = (message: string): void => void call.warnings.push(message);
  const context = { now, user: call.user, subresource: call.info.subresource, warn };
  type.prepareForCreate(object, context);
  const found = type.validateCreate(object, context);
  const causes = found instanceof Promise ? await found : found;
  if (causes.length > 0) throw invalid(type, name, causes);
  const validated = validate(machinery, admission);
  if (validated !== undefined) await validated;
  return store(machinery, call, object, options);
}

async function store(machinery: Machinery, call: Call, object: JsonObject, options: WriteOptions): Promise<Outcome> {
  const { type } = call;
  const name = stringAt(metadataOf(object), "name");
  const key = objectKey(type, namespaceOf(call), name);
  const existing = machinery.store.get(key);
  // A rehearsal does not come so far as to see it.
  if (!options.dryRun && /^0*[1-9]\d*$/.test(stringAt(metadataOf(object), "resourceVersion")))
    throw failure(500, "", "resourceVersion should not be set on objects to be created");
  if (existing !== undefined) throw taken(type, name, existing);
  if (options.dryRun) return { status: 201, value: object };
  delete metadataOf(object)["resourceVersion"];
  const kept = type.toStorage(inOrder(object));
  const stored = await machinery.store.create(key, kept instanceof Promise ? await kept : kept);
  return outcomeOf(type, 201, stored);
}

function taken(type: ResourceType, name: string, existing: Stored): ApiError {
  const error = alreadyExists(type, name);
  if (objectAt(existing.value, "metadata")["deletionTimestamp"] === undefined) return error;
  return failure(
    409,
    "AlreadyExists",
    `object is being deleted: ${qualified(type)} "${name}" already exists`,
    error.status.details,
  );
}

/** The namespace of the path counts; an object may repeat it. Throws 400. */
export function placeInNamespace(object: JsonObject, namespace: string): void {
  const metadata = metadataOf(object);
  const given = stringAt(metadata, "namespace");
  if (given === namespace) return;
  if (given !== "" && namespace !== "") {
    throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
  }
  if (namespace === "") delete metadata["namespace"];
  else metadata["namespace"] = namespace;
}

function nameObject(machinery: Machinery, object: JsonObject): string {
  const metadata = metadataOf(object);
  const name = stringAt(metadata, "name");
  const base = stringAt(metadata, "generateName");
  if (name !== "" || base === "") return name;
  const generated = `${base.slice(0, maxGeneratedBase)}${machinery.random.suffix(5)}`;
  metadata["name"] = generated;
  return generated;
}

/** What only the server sets. */
function claimMetadata(metadata: JsonObject, uid: string, now: string): void {
  metadata["uid"] = uid;
  metadata["creationTimestamp"] = now;
  for (const field of ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"]) {
    delete metadata[field];
  }
}

/** kind, apiVersion and metadata first: lists cut the first two off the stored bytes. */
export function inOrder(object: JsonObject): JsonObject {
  const { kind, apiVersion, metadata, ...rest } = object;
  return { kind, apiVersion, metadata, ...rest };
}
