import type { StatusCause } from "../../../kernel/errors/index.js";
import { badRequest, failure, invalid, unexplained } from "../failures.js";
import { isObject } from "../fields.js";
import { goSyntaxFault, rawBase64Fault } from "../request/go-json.js";
import { isTrue } from "../request/info.js";
import { parseSelectors, type Selection, type Selectors, selectionOf } from "../request/selectors.js";
import type { ResourceType, Store } from "../types.js";

/** What a list or watch asks for, besides its selectors. */
export interface ListOptions {
  readonly limit: number | undefined;
  readonly continueAfter: string | undefined;
  /** The revision that a continue token, or an exact match, wants; absent: the latest. */
  readonly at: number | undefined;
  /** As given; `undefined` when it was not, or empty. */
  readonly resourceVersion: number | undefined;
  readonly match: "" | "Exact" | "NotOlderThan";
  readonly sendInitialEvents: boolean | undefined;
  readonly allowBookmarks: boolean;
  readonly timeoutSeconds: number | undefined;
}

/** Reads and cross-checks the query, as upstream's ListOptions validation does. Throws 400 or 422. */
export function readListOptions(
  type: ResourceType,
  query: URLSearchParams,
  verb: "list" | "watch",
): { readonly options: ListOptions; readonly selection: Selection } {
  const { limit, timeoutSeconds, terms, versionText, match, sendInitialEvents } = checkListOptions(query, verb);
  const selection = selectionOf(type, terms);
  const token = verb === "watch" ? "" : (query.get("continue") ?? "");
  const position = token === "" ? undefined : decodeContinue(token);
  if (token !== "" && versionText !== "" && versionText !== "0") {
    throw badRequest("specifying resource version is not allowed when using continue");
  }
  const resourceVersion = verb === "watch" ? readPlainVersion(versionText) : readListVersion(versionText);
  const isExact = match === "Exact" || (match === "" && limit !== undefined && (resourceVersion ?? 0) > 0);
  const options = {
    limit: limit === 0 ? undefined : limit,
    continueAfter: position?.after,
    at: position === undefined ? (isExact ? resourceVersion : undefined) : position.revision,
    resourceVersion,
    match: asMatch(match),
    sendInitialEvents,
    allowBookmarks: isTrue(query.get("allowWatchBookmarks")),
    timeoutSeconds,
  };
  return { options, selection };
}

interface Checked {
  readonly limit: number | undefined;
  readonly timeoutSeconds: number | undefined;
  readonly terms: Selectors;
  readonly versionText: string;
  readonly match: string;
  readonly sendInitialEvents: boolean | undefined;
}

/** What is looked at before the form of the answer is. Throws 400 or 422. */
export function checkListOptions(query: URLSearchParams, verb: "list" | "watch"): Checked {
  const limit = readCount(query, "limit");
  const timeoutSeconds = readCount(query, "timeoutSeconds");
  const terms = parseSelectors(query);
  const versionText = query.get("resourceVersion") ?? "";
  const initial = query.get("sendInitialEvents");
  const given = query.get("resourceVersionMatch") ?? "";
  // A watch of "whatever there is" begins with it, and says where that ends.
  const isLegacy = verb === "watch" && initial === null && given === "" && (versionText === "" || versionText === "0");
  const match = isLegacy ? "NotOlderThan" : given;
  const sendInitialEvents = isLegacy || (initial === null ? undefined : isTrue(initial));
  checkMatch({ match, versionText, hasContinue: (query.get("continue") ?? "") !== "", sendInitialEvents, verb });
  return { limit, timeoutSeconds, terms, versionText, match, sendInitialEvents };
}

function asMatch(text: string): ListOptions["match"] {
  return text === "Exact" || text === "NotOlderThan" ? text : "";
}

interface MatchQuestion {
  readonly match: string;
  readonly versionText: string;
  readonly hasContinue: boolean;
  readonly sendInitialEvents: boolean | undefined;
  readonly verb: "list" | "watch";
}

function checkMatch(question: MatchQuestion): void {
  const causes = question.verb === "watch" ? watchCauses(question) : listCauses(question);
  if (causes.length > 0) throw invalid({ group: "meta.k8s.io", kind: "ListOptions" }, "", causes);
}

const field = "resourceVersionMatch";
const refused = (message: string): StatusCause => ({
  reason: "FieldValueForbidden",
  field,
  message: `Forbidden: ${message}`,
});
const unsupported = (match: string, supported: string): StatusCause => ({
  reason: "FieldValueNotSupported",
  field,
  message: `Unsupported value: ${JSON.stringify(match)}: supported values: ${supported}`,
});

function listCauses(question: MatchQuestion): StatusCause[] {
  const causes = matchCauses(question);
  if (question.sendInitialEvents !== undefined)
    causes.push({
      reason: "FieldValueForbidden",
      field: "sendInitialEvents",
      message: "Forbidden: sendInitialEvents is forbidden for list",
    });
  return causes;
}

function matchCauses({ match, versionText, hasContinue }: MatchQuestion): StatusCause[] {
  const causes: StatusCause[] = [];
  if (match === "") return causes;
  if (versionText === "") causes.push(refused("resourceVersionMatch is forbidden unless resourceVersion is provided"));
  if (hasContinue) causes.push(refused("resourceVersionMatch is forbidden when continue is provided"));
  if (match !== "Exact" && match !== "NotOlderThan") {
    causes.push(unsupported(match, '"Exact", "NotOlderThan", ""'));
  }
  if (match === "Exact" && versionText === "0") {
    causes.push(refused('resourceVersionMatch "exact" is forbidden for resourceVersion "0"'));
  }
  return causes;
}

function watchCauses({ match, hasContinue, sendInitialEvents }: MatchQuestion): StatusCause[] {
  const causes: StatusCause[] = [];
  const isInitial = sendInitialEvents !== undefined;
  if (isInitial && match !== "NotOlderThan")
    causes.push(refused("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
  if (match === "") return causes;
  if (!isInitial)
    causes.push(refused("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"));
  if (match !== "NotOlderThan") causes.push(unsupported(match, '"NotOlderThan"'));
  if (hasContinue) causes.push(refused("resourceVersionMatch is forbidden when continue is provided"));
  return causes;
}

function readListVersion(text: string): number | undefined {
  const version = versionOf(text);
  if (typeof version !== "string") return version;
  throw badRequest(`invalid resource version: ${version}`);
}

/** The version that a watch or the reading of one object names. Throws 500, as upstream. */
export function readPlainVersion(text: string): number | undefined {
  const version = versionOf(text);
  if (typeof version !== "string") return version;
  throw unexplained(version);
}

/** The version, or what is wrong with it. */
function versionOf(text: string): number | string | undefined {
  if (text === "") return undefined;
  const version = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(version)) return version;
  const shown = JSON.stringify(text);
  return `resourceVersion: Invalid value: ${shown}: strconv.ParseUint: parsing ${shown}: invalid syntax`;
}

function readCount(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name) ?? "";
  if (text === "") return undefined;
  if (!/^-?\d+$/.test(text)) {
    throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  }
  return Math.max(0, Number(text));
}

/** Where the next page starts: after this key, in the state of that revision (-1: of now, inconsistently). */
export function encodeContinue(after: string, revision: number): string {
  return Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", rv: revision, start: after })).toString("base64url");
}

function decodeContinue(token: string): { after: string; revision: number | undefined } {
  const refuse = (why: string): Error => badRequest(`invalid continue token: continue key is not valid: ${why}`);
  const fault = rawBase64Fault(token);
  if (fault >= 0) throw refuse(`illegal base64 data at input byte ${fault}`);
  const text = Buffer.from(token, "base64url").toString("latin1");
  const syntax = goSyntaxFault(text, "latin1");
  if (syntax !== undefined) throw refuse(syntax);
  const value = parseToken(text);
  if (!isObject(value)) throw refuse("json: cannot unmarshal into Go value of type storage.continueToken");
  const { v: version, rv, start } = value;
  if (version !== "meta.k8s.io/v1") {
    const shown = typeof version === "string" ? version : "";
    throw badRequest(
      `invalid continue token: continue key is not valid: server does not recognize this encoded version ${shown}`,
    );
  }
  if (typeof rv !== "number" || rv === 0)
    throw badRequest(
      "invalid continue token: continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
    );
  if (typeof start !== "string" || start === "")
    throw badRequest(
      "invalid continue token: continue key is not valid: encoded start key empty (version meta.k8s.io/v1)",
    );
  return { after: start, revision: rv < 0 ? undefined : rv };
}

function parseToken(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Refuses a version that has not happened yet: clients ask again in a second. */
export function refuseFuture(store: Store, version: number | undefined): void {
  if (version === undefined || version <= store.revision) return;
  throw failure(504, "Timeout", `Timeout: Too large resource version: ${version}, current: ${store.revision}`, {
    causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version", field: "" }],
    retryAfterSeconds: 1,
  });
}
