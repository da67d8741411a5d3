import type { Clock, Random } from "../../../kernel/clock/index.js";
import type { ApiError } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Accepted } from "../request/negotiate.js";
import type { Selection } from "../request/selectors.js";
import { listPrefix, objectKey } from "../store/index.js";
import type {
  AdmissionPlugin,
  ApiRequest,
  Registry,
  RequestInfo,
  ResourceType,
  Store,
  Stored,
  UserInfo,
} from "../types.js";
import type { WriteOptions } from "./options.js";

/** What every verb works with. */
export interface Machinery {
  readonly store: Store;
  readonly registry: Registry;
  readonly admission: readonly AdmissionPlugin[];
  readonly clock: Clock;
  readonly random: Random;
}

/** One request on one resource, as far as the line has come with it. */
export interface Call {
  readonly request: ApiRequest;
  readonly info: RequestInfo;
  readonly type: ResourceType;
  readonly user: UserInfo;
  readonly accepted: Accepted;
  /** Go out as `Warning` headers. */
  readonly warnings: string[];
}

/** What a verb answers: an object of the call's kind, or a value that is sent as it is. */
export interface Outcome {
  readonly status: number;
  readonly value: JsonObject;
  /** Where the value is a stored one in the version asked for: its bytes are sent as they are. */
  readonly stored?: Stored;
}

/** What PUT and PATCH read and write: an object, or what stands for a part of one. */
export interface View {
  /** Of the stored object. */
  readonly key: string;
  /** It is a part of an object of a definition. Upstream reads such bodies in a way of its own. */
  readonly isOfCustom: boolean;
  /** 404 of the object. */
  missing(): ApiError;
  read(stored: Stored): JsonObject | Promise<JsonObject>;
  /** `track` false: managedFields are already right. */
  write(
    change: { readonly object: JsonObject; readonly current: Stored },
    options: WriteOptions & { readonly track: boolean },
  ): Promise<Outcome>;
}

/** The namespace in keys: empty for cluster-scoped kinds, whatever the path says. */
export function namespaceOf(call: Pick<Call, "type" | "info">): string {
  return call.type.namespaced ? call.info.namespace : "";
}

/** Where a list or watch has to look: in one place where the selectors leave but one name. */
export function prefixFor(call: Pick<Call, "type" | "info">, selection: Selection): string {
  const { type } = call;
  const namespace = namespaceOf(call);
  const { onlyName } = selection;
  if (onlyName === undefined || type.namespaced !== (namespace !== "")) return listPrefix(type, namespace);
  return objectKey(type, namespace, onlyName);
}

/** The key of the object that a call names. */
export function keyOf(call: Pick<Call, "type" | "info">): string {
  return objectKey(call.type, namespaceOf(call), call.info.name);
}

// The text of a second is asked for thousands of times.
let lastSecond = Number.NaN;
let lastText = "";

/** RFC 3339 with seconds, as all of the API's times but MicroTimes are. */
export function timestamp(clock: Clock): string {
  const second = Math.floor(clock.now() / 1000);
  if (second !== lastSecond) {
    lastSecond = second;
    lastText = `${new Date(second * 1000).toISOString().slice(0, 19)}Z`;
  }
  return lastText;
}

/** Whether objects are answered as they are stored: their bytes need not be looked at. */
export function isStoredForm(type: ResourceType): boolean {
  return type.version === type.storageVersion && type.storageGroup === undefined;
}

/** A stored object in the version of `type`; a promise only where a webhook converts it. It is shared: copy before changing it. */
export function inVersion(type: ResourceType, stored: Stored): JsonObject | Promise<JsonObject> {
  return type.fromStorage(stored.value);
}

/** An answer with an object that was just stored or read. */
export function outcomeOf(type: ResourceType, status: number, stored: Stored): Outcome | Promise<Outcome> {
  const before = stored.value;
  const value = type.fromStorage(before);
  if (value === before) return { status, value: before, stored };
  return value instanceof Promise ? value.then((converted) => ({ status, value: converted })) : { status, value };
}
