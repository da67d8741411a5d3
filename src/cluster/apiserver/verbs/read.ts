import { ApiError } from "../../../kernel/errors/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { failure, notFound } from "../failures.js";
import { formOf } from "../render/forms.js";
import { listOf, listPieces } from "../render/lists.js";
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

/** Longer lists leave in pieces, and others are served in between. */
const maxItemsAtOnce = 200;

/** GET of a collection; answers encoded JSON, a long one piece by piece. */
export async function list(machinery: Machinery, call: Call): Promise<Uint8Array | AsyncIterable<Uint8Array>> {
  const { type, request } = call;
  const { options, selection } = readListOptions(type, request.query, "list");
  refuseFuture(machinery.store, options.resourceVersion);
  const page = await readPage(machinery, call, options, selection);
  const form = formOf(call.accepted, request.query);
  const about = { now: machinery.clock.now(), metadata: page.metadata };
  if (isStoredForm(type)) {
    const pieces = listPieces(type, page.items, form, about);
    return page.items.length <= maxItemsAtOnce ? Buffer.concat([...pieces]) : unhurried(pieces);
  }
  const values = await Promise.all(page.items.map((stored) => inVersion(type, stored)));
  return encodeJson(listOf(type, values, form, about));
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
  let looked = 0;
  for (const stored of found.items) {
    if (++looked % maxItemsAtOnce === 0) await breath();
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
