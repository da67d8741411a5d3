import { ApiError } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { failure, notFound } from "../failures.js";
import { type Form, formOf } from "../render/forms.js";
import { listOf, listPieces } from "../render/lists.js";
import { sharedObjects } from "../render/shared.js";
import type { Selection } from "../request/selectors.js";
import { encodeJson } from "../store/index.js";
import type { Stored } from "../types.js";
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
import { encodeContinue, type ListOptions, readListOptions, readPlainVersion, refuseFuture } from "./list-options.js";

/** GET of one object. */
export async function get(machinery: Machinery, call: Call): Promise<Outcome> {
  const version = call.request.query.get("resourceVersion");
  if (version !== null) refuseFuture(machinery.store, readPlainVersion(version));
  const stored = machinery.store.get(keyOf(call));
  if (stored === undefined) throw notFound(call.type, call.info.name);
  return outcomeOf(call.type, 200, stored);
}

/** One page of a list: what is in it, and its metadata. */
export interface Page {
  readonly items: readonly Stored[];
  readonly metadata: JsonObject;
}

/** Longer lists leave in pieces, and others are served in between. */
const maxItemsAtOnce = 200;

/** GET of a collection; answers encoded JSON, a long one piece by piece. */
export async function list(machinery: Machinery, call: Call): Promise<Uint8Array | AsyncIterable<Uint8Array>> {
  const { type } = call;
  const page = await pageOf(machinery, call);
  const form = listForm(call);
  const about = { now: machinery.clock.now(), metadata: page.metadata };
  if (isStoredForm(type)) {
    const pieces = listPieces(type, page.items, form, about);
    return page.items.length <= maxItemsAtOnce ? Buffer.concat([...pieces]) : unhurried(pieces);
  }
  const values = await Promise.all(page.items.map(async (stored) => inVersion(type, stored)));
  return encodeJson(listOf(type, values, form, about));
}

/** GET of a collection by a client in this process. */
export async function listedObjects(machinery: Machinery, call: Call): Promise<JsonObject> {
  const { items, metadata } = await pageOf(machinery, call);
  return { metadata, items: sharedObjects(items) };
}

/** The form of a list. Throws 406 where that of one object was asked for. */
export function listForm({ accepted, request, type }: Call): Form {
  if (accepted.as?.kind === "PartialObjectMetadata") {
    const struct = type.custom
      ? "unstructured.UnstructuredList"
      : `${type.group.split(".")[0] || "core"}.${type.listKind}`;
    const what = `the requested object is a list (*${struct})`;
    throw failure(406, "NotAcceptable", `you requested PartialObjectMetadata, but ${what}`);
  }
  return formOf(accepted, request.query);
}

/** Hands out pieces; between two of them the event loop turns. */
async function* unhurried(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for (const piece of pieces) {
    yield piece;
    await breath();
  }
}

/** Resolves when everything else that is due has had its turn. */
function breath(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** What the query of a list or of the deletion of a collection asks for. Throws 400, 410, 422 or 504. */
export function pageOf(machinery: Machinery, call: Call): Promise<Page> {
  const { options, selection } = readListOptions(call.type, call.request.query, "list");
  refuseFuture(machinery.store, options.resourceVersion);
  return readPage(machinery, call, options, selection);
}

async function readPage(machinery: Machinery, call: Call, options: ListOptions, selection: Selection): Promise<Page> {
  // Version 0 ("any will do") is answered from memory at once, whole, as upstream's watch cache does.
  const isAny = options.resourceVersion === 0 && options.continueAfter === undefined;
  const limit = isAny ? undefined : options.limit;
  try {
    return selection.isEverything
      ? plainPage(machinery, call, { selection, limit }, options)
      : await selectedPage(machinery, call, { selection, limit }, options);
  } catch (error) {
    if (error instanceof ApiError && error.httpCode === 410 && options.continueAfter !== undefined) {
      throw expiredContinue(options.continueAfter);
    }
    if (error instanceof ApiError && error.httpCode === 410)
      throw failure(410, "Expired", "The resourceVersion for the provided list is too old.");
    throw error;
  }
}

/** Lists of custom resources say that there is nothing more, in objects of their own. */
function listMetadata({ type, accepted }: Call, revision: number): { [field: string]: Json } {
  const isPlain = type.custom && accepted.as === undefined;
  return { ...(isPlain ? { continue: "" } : {}), resourceVersion: String(revision) };
}

function position(options: ListOptions): { at?: number; after?: string } {
  return {
    ...(options.at === undefined ? {} : { at: options.at }),
    ...(options.continueAfter === undefined ? {} : { after: options.continueAfter }),
  };
}

function plainPage(
  machinery: Machinery,
  call: Call,
  what: { readonly selection: Selection; readonly limit: number | undefined },
  options: ListOptions,
): Page {
  const { limit } = what;
  const prefix = prefixFor(call, what.selection);
  const found = machinery.store.list(prefix, { ...position(options), ...(limit === undefined ? {} : { limit }) });
  const last = found.items.at(-1);
  const metadata = listMetadata(call, found.revision);
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
  let looked = 0;
  for (const stored of found.items) {
    if (++looked % maxItemsAtOnce === 0) await breath();
    if (limit !== undefined && items.length === limit) {
      next = items.at(-1)?.key;
      break;
    }
    if (selection.matches(await inVersion(call.type, stored))) items.push(stored);
  }
  const metadata = listMetadata(call, found.revision);
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
