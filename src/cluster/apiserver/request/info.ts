import { badRequest } from "../failures.js";
import type { RequestInfo, Verb } from "../types.js";
import { lowerCase } from "./lower.unsafe.js";

const verbOfMethod: Readonly<Record<string, Verb>> = {
  GET: "get",
  HEAD: "get",
  POST: "create",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

/** Subresources of the namespace itself; anything else after /namespaces/<name> is a resource inside it. */
const namespaceSubresources = new Set(["status", "finalize"]);

/** A path that names no resource; the verb is the method in lower case. */
function nonResource(method: string, path: string): RequestInfo {
  const nothing = { group: "", version: "", resource: "", subresource: "", namespace: "", name: "" };
  return { isResource: false, verb: lowerCase(method), path, ...nothing };
}

/** What a request line asks for, as upstream's RequestInfo resolver reads it. Throws 400 for a path that is badly escaped. */
export function parseRequestInfo(method: string, path: string, query: URLSearchParams): RequestInfo {
  if (path.startsWith("//")) return nonResource(method, path);
  const segments = decodeSegments(path);
  const isCore = segments[0] === "api";
  if (!isCore && segments[0] !== "apis") return nonResource(method, path);
  const head = isCore ? 2 : 3;
  if (segments.length <= head) return nonResource(method, path);
  const group = isCore ? "" : (segments[1] ?? "");
  const version = segments[head - 1] ?? "";
  const rest = segments.slice(head);
  const isOldWatch = rest[0] === "watch" && rest.length > 1;
  const place = locate(isOldWatch ? rest.slice(1) : rest);
  const verb = isOldWatch ? "watch" : refineVerb(verbOfMethod[method] ?? lowerCase(method), place.name, query);
  return { isResource: true, verb, path, group, version, ...place, name: place.name || selectedName(verb, query) };
}

function decodeSegments(path: string): string[] {
  try {
    const segments = path.split("/").filter((segment) => segment !== "");
    return path.includes("%") ? segments.map(decodeURIComponent) : segments;
  } catch {
    throw badRequest(`the path is badly escaped: ${path}`);
  }
}

function locate(parts: readonly string[]): Pick<RequestInfo, "namespace" | "resource" | "name" | "subresource"> {
  const [first = "", second = "", third] = parts;
  if (first !== "namespaces")
    return { namespace: "", resource: first, name: second, subresource: subresourceOf(parts.slice(2)) };
  if (third !== undefined && !namespaceSubresources.has(third)) {
    return { namespace: second, resource: third, name: parts[3] ?? "", subresource: subresourceOf(parts.slice(4)) };
  }
  return { namespace: second, resource: first, name: second, subresource: third ?? "" };
}

/** What follows `proxy` is the proxied request's own path. */
function subresourceOf(parts: readonly string[]): string {
  return parts[0] === "proxy" ? "proxy" : parts.join("/");
}

function refineVerb(verb: RequestInfo["verb"], name: string, query: URLSearchParams): RequestInfo["verb"] {
  if (name !== "") return verb;
  if (verb === "get") return isTrue(query.get("watch")) ? "watch" : "list";
  return verb === "delete" ? "deletecollection" : verb;
}

/** A list or watch of one name is authorized as a request for that name. */
function selectedName(verb: string, query: URLSearchParams): string {
  if (verb !== "list" && verb !== "watch" && verb !== "deletecollection") return "";
  const match = /^metadata\.name==?([^,=!]+)$/.exec(query.get("fieldSelector") ?? "");
  return match?.[1] ?? "";
}

/** A query flag as upstream reads it: there, and neither "false" nor "0". */
export function isTrue(value: string | null): boolean {
  return value !== null && value !== "false" && value !== "0";
}
