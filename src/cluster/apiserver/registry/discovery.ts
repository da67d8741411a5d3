import { createHash } from "node:crypto";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { apiVersionOf } from "../../../kernel/kinds/object.js";
import { unknownResource } from "../failures.js";
import { type Conversion, pickFormat } from "../request/accept.js";
import { toYaml } from "../request/negotiate.js";
import type { ApiRequest, ApiResponse, ResourceType, SubresourceType } from "../types.js";
import { bytesAnswer, checkRoute, documentAnswer, hashOf, jsonAnswer, pageNotFound } from "./answers.js";
import { compareVersions } from "./custom-definition.js";
import { asString } from "./read.js";

/** A group with its served versions, preferred first. */
interface Group {
  readonly name: string;
  readonly versions: readonly { readonly version: string; readonly types: readonly ResourceType[] }[];
}

/** Answers /api, /apis and what is below down to the list of a version's resources; `undefined` for other paths. Throws 404 for a known group's unknown version; 405 and 406 where upstream's router stands before the document. */
export function answerDiscovery(request: ApiRequest, types: readonly ResourceType[]): ApiResponse | undefined {
  if (request.path === "/") return jsonAnswer({ paths: rootPaths(types) });
  const segments = request.path.split("/").filter((segment) => segment !== "");
  const [root, first, second] = segments;
  if (root === "api") {
    if (segments.length === 1) return answerCoreRoot(request, types);
    if (segments.length > 2) return undefined;
    if (first !== "v1") throw unknownResource();
    return versionAnswer(request, { group: "", version: "v1" }, types);
  }
  if (root !== "apis") return undefined;
  if (first === undefined) return answerGroups(request, types);
  const group = groupsOf(types).find((one) => one.name === first);
  if (segments.length > 3) return undefined;
  if (group === undefined || first === "") return pageNotFound();
  if (second === undefined) return documentAnswer(request, { kind: "APIGroup", apiVersion: "v1", ...groupJson(group) });
  if (!group.versions.some((one) => one.version === second)) {
    if (isCustom(group)) return pageNotFound();
    throw unknownResource();
  }
  return versionAnswer(request, { group: first, version: second }, types);
}

/** Upstream's router knows no groups of definitions. */
function isCustom({ versions }: Group): boolean {
  return versions.every(({ types }) => types.every((type) => type.custom));
}

const fixedPaths = ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/"];
const otherPaths = [
  "/healthz",
  "/livez",
  "/metrics",
  "/openapi/v2",
  "/openapi/v3",
  "/openid/v1/jwks",
  "/readyz",
  "/version",
];

/** What the root says there is. */
function rootPaths(types: readonly ResourceType[]): string[] {
  const groups = types.filter((type) => type.group !== "");
  const paths = groups.flatMap((type) => [`/apis/${type.group}`, `/apis/${apiVersionOf(type)}`]);
  return [...new Set([...fixedPaths, ...paths.sort(), ...otherPaths])];
}

function answerCoreRoot(request: ApiRequest, types: readonly ResourceType[]): ApiResponse {
  checkRoute(request);
  const core = types.filter((type) => type.group === "");
  return (
    aggregated(request, groupsOf(core)) ??
    documentAnswer(request, {
      kind: "APIVersions",
      versions: ["v1"],
      serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress: request.headers["host"] ?? "" }],
    })
  );
}

function answerGroups(request: ApiRequest, types: readonly ResourceType[]): ApiResponse {
  const groups = groupsOf(types.filter((type) => type.group !== ""));
  // With a slash at its end the path is another one, where upstream has no such list.
  const whole = request.path.endsWith("/") ? undefined : aggregated(request, groups);
  return whole ?? documentAnswer(request, { kind: "APIGroupList", apiVersion: "v1", groups: groups.map(groupJson) });
}

/** Groups in the order in which types name them; versions best first. */
function groupsOf(types: readonly ResourceType[]): Group[] {
  const groups = new Map<string, Map<string, ResourceType[]>>();
  for (const type of types) {
    const versions = groups.get(type.group) ?? new Map<string, ResourceType[]>();
    groups.set(type.group, versions);
    const list = versions.get(type.version) ?? [];
    versions.set(type.version, list);
    list.push(type);
  }
  return [...groups].map(([name, versions]) => ({
    name,
    versions: [...versions]
      .map(([version, list]) => ({ version, types: list }))
      .sort((a, b) => compareVersions(a.version, b.version)),
  }));
}

function groupJson(group: Group): JsonObject {
  const versions = group.versions.map(({ version }) => ({ groupVersion: `${group.name}/${version}`, version }));
  return { name: group.name, versions, preferredVersion: versions[0] };
}

/** By name; the status of custom resources comes before their scale. */
function listingName(resource: JsonObject, group: string): string {
  const name = asString(resource["name"]);
  return group.includes(".") && !group.endsWith(".k8s.io") ? name.replace(/\/scale$/, "/status/scale") : name;
}

function versionAnswer(
  request: ApiRequest,
  { group, version }: { readonly group: string; readonly version: string },
  types: readonly ResourceType[],
): ApiResponse {
  const own = types.filter((type) => type.group === group && type.version === version);
  if (!own.every((type) => type.custom)) checkRoute(request);
  const apiVersion = apiVersionOf({ group, version });
  return documentAnswer(request, {
    kind: "APIResourceList",
    ...(group === "" ? {} : { apiVersion: "v1" }),
    groupVersion: apiVersion,
    resources: own
      .flatMap((type) => [
        resourceJson(type),
        ...[...type.subresources.values()].map((sub) => subresourceJson(type, sub)),
      ])
      .sort((a, b) => (listingName(a, group) < listingName(b, group) ? -1 : 1)),
  });
}

function resourceJson(type: ResourceType): JsonObject {
  return {
    name: type.plural,
    singularName: type.singular,
    namespaced: type.namespaced,
    kind: type.kind,
    verbs: [...type.verbs],
    ...(type.shortNames.length === 0 ? {} : { shortNames: [...type.shortNames] }),
    ...(type.categories.length === 0 ? {} : { categories: [...type.categories] }),
    ...(type.verbs.includes("watch") ? { storageVersionHash: storageHash(type) } : {}),
  };
}

/** Versions that upstream stores and no longer serves: the hash is of them. */
const formerVersions: Readonly<Record<string, string>> = { "apiextensions.k8s.io/CustomResourceDefinition": "v1beta1" };

function storageHash(type: ResourceType): string {
  const version = formerVersions[`${type.group}/${type.kind}`] ?? type.storageVersion;
  const stored = `${type.storageGroup ?? type.group}/${version}/${type.kind}`;
  return createHash("sha256").update(stored).digest().subarray(0, 8).toString("base64");
}

function isOther(type: ResourceType, sub: SubresourceType): boolean {
  return sub.group !== type.group || sub.version !== type.version;
}

function subresourceJson(type: ResourceType, sub: SubresourceType): JsonObject {
  return {
    name: `${type.plural}/${sub.name}`,
    singularName: "",
    namespaced: type.namespaced,
    ...(isOther(type, sub) ? { group: sub.group, version: sub.version } : {}),
    kind: sub.kind,
    verbs: [...sub.verbs],
  };
}

/** All groups with their resources in one list, where the client takes it. */
function isAggregated(conversion: Conversion | undefined): boolean {
  return (
    conversion?.group === "apidiscovery.k8s.io" &&
    conversion.version === "v2" &&
    conversion.kind === "APIGroupDiscoveryList"
  );
}

function aggregated(request: ApiRequest, groups: readonly Group[]): ApiResponse | undefined {
  const wanted = pickFormat(request.headers["accept"], isAggregated);
  if (wanted?.conversion === undefined) return undefined;
  const body: JsonObject = {
    kind: "APIGroupDiscoveryList",
    apiVersion: "apidiscovery.k8s.io/v2",
    metadata: {},
    items: groups.map((group) => ({
      metadata: group.name === "" ? {} : { name: group.name },
      versions: group.versions.map((one) => ({
        version: one.version,
        resources: one.types.map(discoveryJson),
        freshness: "Current",
      })),
    })),
  };
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  const etag = `"${hashOf(bytes)}"`;
  const headers = { vary: "Accept", etag };
  if (request.headers["if-none-match"] === etag) return { status: 304, headers, body: new Uint8Array() };
  return bytesAnswer(wanted.format === "json" ? bytes : toYaml(bytes), {
    type: `application/${wanted.format};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList`,
    headers,
  });
}

function discoveryJson(type: ResourceType): Json {
  const subresources = [...type.subresources.values()].map((sub) => ({
    subresource: sub.name,
    responseKind: responseKind(type, sub.kind, isOther(type, sub) ? sub : undefined),
    verbs: [...sub.verbs],
  }));
  return {
    resource: type.plural,
    responseKind: responseKind(type, type.kind, undefined),
    scope: type.namespaced ? "Namespaced" : "Cluster",
    singularResource: type.singular,
    verbs: [...type.verbs],
    ...(type.shortNames.length === 0 ? {} : { shortNames: [...type.shortNames] }),
    ...(type.categories.length === 0 ? {} : { categories: [...type.categories] }),
    ...(subresources.length === 0 ? {} : { subresources }),
  };
}

/** Group and version are only said where they are not those of the list; custom resources always say theirs. */
function responseKind(type: ResourceType, kind: string, other: SubresourceType | undefined): JsonObject {
  if (other !== undefined) return { group: other.group, version: other.version, kind };
  return type.custom ? { group: type.group, version: type.version, kind } : { group: "", version: "", kind };
}
