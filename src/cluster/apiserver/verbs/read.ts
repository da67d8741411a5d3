import { ApiError } from "../../../kernel/errors/index.js";
import { apiVersionOf, type Json, type JsonObject } from "../../../kernel/kinds/object.js";
import { failure, notFound } from "../failures.js";
import { type Form, formOf, itemPieces, partialMetadata, tableOf, withoutKind } from "../render/forms.js";
import { parseSelection, type Selection } from "../request/selectors.js";
import { encodeJson } from "../store/index.js";
import type { ResourceType, Stored } from "../types.js";
import {
  type Call,
  inVersion,
  isStoredForm,
  keyOf,
  type Machinery,
  type Outcome,
  outcomeOf,
  prefixFor,
} from "./context.js";
import { encodeContinue, type ListOptions, readListOptions, refuseFuture } from "./list-options.js";

/** GET of one object. */
export async function get(machinery: Machinery, call: Call): Promise<Outcome> {
  const stored = machinery.store.get(keyOf(call));
  if (stored === undefined) throw notFound(call.type, call.info.name);
  return outcomeOf(call.type, 200, stored);
}

/** One page of a list: what is in it, and its metadata. */
interface Page {
  readonly items: readonly Stored[];
  readonly metadata: JsonObject;
}

/** GET of a collection; answers encoded JSON. */
export async function list(machinery: Machinery, call: Call): Promise<Uint8Array> {
  const { type, request } = call;
  const options = readListOptions(request.query, "list");
  const selection = parseSelection(type, request.query);
  refuseFuture(machinery.store, options.resourceVersion);
  const page = await readPage(machinery, call, options, selection);
  const form = formOf(call.accepted, request.query);
  if (form.kind === "Object" && isStoredForm(type)) return spliceList(type, page);
  const values = await Promise.all(page.items.map((stored) => inVersion(type, stored)));
  return encodeJson(formedList(type, values, form, { now: machinery.clock.now(), metadata: page.metadata }));
}

function formedList(
  type: ResourceType,
  values: readonly JsonObject[],
  form: Form,
  about: { readonly now: number; readonly metadata: JsonObject },
): JsonObject {
  if (form.kind === "Table") return tableOf(type, values, form, { ...about, withColumns: true });
  if (form.kind === "PartialObjectMetadata") {
    const items = values.map((value) => partialMetadata(value, form.version));
    return {
      kind: "PartialObjectMetadataList",
      apiVersion: `meta.k8s.io/${form.version}`,
      metadata: about.metadata,
      items,
    };
  }
  const items = values.map((value) => (type.custom ? value : withoutKind(value)));
  return { kind: type.listKind, apiVersion: apiVersionOf(type), metadata: about.metadata, items };
}

const comma = Buffer.from(",");
const close = Buffer.from("]}");

/** The list's bytes, put together from the bytes of its objects. */
function spliceList(type: ResourceType, page: Page): Uint8Array {
  const head = JSON.stringify({ kind: type.listKind, apiVersion: apiVersionOf(type), metadata: page.metadata });
  const pieces: Uint8Array[] = [Buffer.from(`${head.slice(0, -1)},"items":[`)];
  page.items.forEach((stored, index) => {
    if (index > 0) pieces.push(comma);
    pieces.push(...itemPieces(type, stored));
  });
  pieces.push(close);
  return Buffer.concat(pieces);
}

async function readPage(machinery: Machinery, call: Call, options: ListOptions, selection: Selection): Promise<Page> {
  // Version 0 ("any will do") is answered from memory at once, whole, as upstream's watch cache does.
  const isAny = options.resourceVersion === 0 && options.continueAfter === undefined;
  const limit = isAny ? undefined : options.limit;
  try {
    return selection.isEverything
      ? plainPage(machinery, prefixFor(call, selection), options, limit)
      : await selectedPage(machinery, call, { selection, limit }, options);
  } catch (error) {
    if (error instanceof ApiError && error.httpCode === 410 && options.continueAfter !== undefined) {
      throw expiredContinue(options.continueAfter);
    }
    throw error;
  }
}

function position(options: ListOptions): { at?: number; after?: string } {
  return {
    ...(options.at === undefined ? {} : { at: options.at }),
    ...(options.continueAfter === undefined ? {} : { after: options.continueAfter }),
  };
}

function plainPage(machinery: Machinery, prefix: string, options: ListOptions, limit: number | undefined): Page {
  const found = machinery.store.list(prefix, { ...position(options), ...(limit === undefined ? {} : { limit }) });
  const last = found.items.at(-1);
  const metadata: { [field: string]: Json } = { resourceVersion: String(found.revision) };
  if (found.more && last !== undefined) {
    metadata["continue"] = encodeContinue(last.key, found.revision);
    metadata["remainingItemCount"] = found.remaining;
  }
  return { items: found.items, metadata };
}

/** With a selector nobody knows how much remains; the token names the last object that was looked at. */
async function selectedPage(
  machinery: Machinery,
  call: Call,
  what: { readonly selection: Selection; readonly limit: number | undefined },
  options: ListOptions,
): Promise<Page> {
  const { selection, limit } = what;
  const found = machinery.store.list(prefixFor(call, selection), position(options));
  const items: Stored[] = [];
  let next: string | undefined;
  for (const stored of found.items) {
    if (limit !== undefined && items.length === limit) {
      next = items.at(-1)?.key;
      break;
    }
    if (selection.matches(await inVersion(call.type, stored))) items.push(stored);
  }
  const metadata: { [field: string]: Json } = { resourceVersion: String(found.revision) };
  if (next !== undefined) metadata["continue"] = encodeContinue(next, found.revision);
  return { items, metadata };
}

function expiredContinue(after: string): ApiError {
  const error = failure(
    410,
    "Expired",
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
  );
  return new ApiError({ ...error.status, metadata: { continue: encodeContinue(after, -1) } });
}
