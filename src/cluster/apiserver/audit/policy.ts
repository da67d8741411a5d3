import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asObjects, s } from "../../../kernel/schema/index.js";
import { ConfigFaults, type ConfigShape, parseConfig, readConfig } from "../config/index.js";
import { stringAt, stringsAt } from "../fields.js";
import type { RequestInfo, UserInfo } from "../types.js";

/** How much of a request is noted, in rising order. */
const levels = ["None", "Metadata", "Request", "RequestResponse"] as const;
const stages = ["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"] as const;

export type AuditLevel = (typeof levels)[number];
export type AuditStage = (typeof stages)[number];

/** What is noted of one request. */
export interface AuditScope {
  readonly level: AuditLevel;
  readonly omitStages: readonly string[];
  readonly omitManagedFields: boolean;
}

/** Rules in order: the first that matches says what is noted. */
export interface AuditPolicy {
  /** `user` is absent where authentication failed. */
  scopeOf(user: UserInfo | undefined, info: RequestInfo): AuditScope;
}

interface GroupResources {
  readonly group: string;
  readonly resources: readonly string[];
  readonly resourceNames: readonly string[];
}

interface Rule extends AuditScope {
  readonly users: readonly string[];
  readonly userGroups: readonly string[];
  readonly verbs: readonly string[];
  readonly resources: readonly GroupResources[];
  readonly namespaces: readonly string[];
  readonly nonResourceURLs: readonly string[];
}

const texts = s.array(s.string()).optional();
const stageList = s.array(s.enum(...stages)).optional();
const policyShape: ConfigShape = {
  kind: "Policy",
  apiVersions: ["audit.k8s.io/v1"],
  schema: s.object({
    metadata: s.preserveUnknown().optional(),
    omitStages: stageList,
    omitManagedFields: s.boolean().optional(),
    rules: s.array(
      s.object({
        level: s.enum(...levels),
        users: texts,
        userGroups: texts,
        verbs: texts,
        resources: s
          .array(s.object({ group: s.string().optional(), resources: texts, resourceNames: texts }))
          .optional(),
        namespaces: texts,
        nonResourceURLs: texts,
        omitStages: stageList,
        omitManagedFields: s.boolean().nullable().optional(),
      }),
      { min: 1 },
    ),
  }).schema,
};

/** Reads an audit Policy. Throws `InputError` with file and field. */
export async function readAuditPolicy(file: string): Promise<AuditPolicy> {
  return interpret(file, await readConfig(file, policyShape));
}

/** The same for a text; `file` is for messages. Throws `InputError`. */
export function parseAuditPolicy(file: string, text: string): AuditPolicy {
  return interpret(file, parseConfig(file, text, policyShape));
}

/**
 * For those who want a log and have no policy: what is written with its body, what is read without; of Secrets, ConfigMaps and tokens
 * no bodies; nothing of health checks, discovery, events and leases.
 */
export function defaultAuditPolicy(): AuditPolicy {
  return parseAuditPolicy("the default audit policy", defaultPolicy);
}

const defaultPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  nonResourceURLs: [/healthz*, /livez*, /readyz*, /version*, /api, /api/*, /apis, /apis/*, /openapi/*]
- level: None
  resources: [{group: "", resources: [events]}, {group: events.k8s.io, resources: [events]}]
- level: None
  resources: [{group: coordination.k8s.io, resources: [leases]}]
- level: Metadata
  resources:
  - {group: "", resources: [secrets, configmaps, serviceaccounts/token]}
  - {group: authentication.k8s.io, resources: [tokenreviews]}
- level: Metadata
  verbs: [get, list, watch]
- level: Request
`;

function interpret(file: string, policy: JsonObject): AuditPolicy {
  const faults = new ConfigFaults(file);
  const common = stringsAt(policy, "omitStages");
  const omitManagedFields = policy["omitManagedFields"] === true;
  const rules = asObjects(policy["rules"]).map((rule, index): Rule => {
    checkRule(rule, `rules[${index}]`, faults);
    const own = rule["omitManagedFields"];
    return {
      level: levels.find((level) => level === rule["level"]) ?? "None",
      users: stringsAt(rule, "users"),
      userGroups: stringsAt(rule, "userGroups"),
      verbs: stringsAt(rule, "verbs"),
      namespaces: stringsAt(rule, "namespaces"),
      nonResourceURLs: stringsAt(rule, "nonResourceURLs"),
      resources: asObjects(rule["resources"]).map((one) => ({
        group: stringAt(one, "group"),
        resources: stringsAt(one, "resources"),
        resourceNames: stringsAt(one, "resourceNames"),
      })),
      omitStages: [...common, ...stringsAt(rule, "omitStages")],
      omitManagedFields: typeof own === "boolean" ? own : omitManagedFields,
    };
  });
  faults.check();
  const otherwise: AuditScope = { level: "None", omitStages: common, omitManagedFields };
  return {
    scopeOf(user, info) {
      const scope = rules.find((rule) => matches(rule, user, info)) ?? otherwise;
      return isSecret(info) && levels.indexOf(scope.level) > 1 ? { ...scope, level: "Metadata" } : scope;
    },
  };
}

/** Requests whose bodies are secret: they are in no log, whatever the policy says. */
function isSecret({ isResource, group, resource, subresource }: RequestInfo): boolean {
  if (!isResource) return false;
  if (group === "authentication.k8s.io") return resource === "tokenreviews";
  return group === "" && (resource === "secrets" || (resource === "serviceaccounts" && subresource === "token"));
}

function checkRule(rule: JsonObject, field: string, faults: ConfigFaults): void {
  const urls = stringsAt(rule, "nonResourceURLs");
  const resources = asObjects(rule["resources"]);
  if (urls.length > 0 && (resources.length > 0 || stringsAt(rule, "namespaces").length > 0))
    faults.add(`${field}.nonResourceURLs`, "a rule is for resources and namespaces, or for other paths, not for both");
  for (const [index, url] of urls.entries()) {
    const at = `${field}.nonResourceURLs[${index}]`;
    if (url !== "*" && !url.startsWith("/")) faults.add(at, "must begin with a slash, or be *");
    if (url.slice(0, -1).includes("*")) faults.add(at, "may hold a * at its end only");
  }
  for (const [index, one] of resources.entries()) {
    const at = `${field}.resources[${index}]`;
    if (/[/ ]/.test(stringAt(one, "group"))) faults.add(`${at}.group`, "is a group's name without a version");
    if (stringsAt(one, "resourceNames").length > 0 && stringsAt(one, "resources").length === 0)
      faults.add(`${at}.resourceNames`, "goes with resources only");
  }
}

function matches(rule: Rule, user: UserInfo | undefined, info: RequestInfo): boolean {
  const { users, userGroups, verbs, namespaces, resources, nonResourceURLs } = rule;
  if (users.length > 0 && (user === undefined || !users.includes(user.username))) return false;
  if (userGroups.length > 0 && !userGroups.some((group) => user?.groups.includes(group) === true)) return false;
  if (verbs.length > 0 && !verbs.includes(info.verb)) return false;
  if (namespaces.length > 0 || resources.length > 0) return info.isResource && matchesResource(rule, info);
  if (nonResourceURLs.length === 0) return true;
  return !info.isResource && nonResourceURLs.some((url) => covers(url, info.path));
}

function covers(url: string, path: string): boolean {
  return url === "*" || url === path || (url.endsWith("*") && path.startsWith(url.slice(0, -1)));
}

function matchesResource({ namespaces, resources }: Rule, info: RequestInfo): boolean {
  if (namespaces.length > 0 && !namespaces.includes(info.namespace)) return false;
  if (resources.length === 0) return true;
  const { resource, subresource } = info;
  const combined = subresource === "" ? resource : `${resource}/${subresource}`;
  return resources.some((one) => {
    if (one.group !== info.group) return false;
    if (one.resources.length === 0) return true;
    if (one.resourceNames.length > 0 && !one.resourceNames.includes(info.name)) return false;
    return one.resources.some(
      (wanted) =>
        wanted === "*" ||
        wanted === combined ||
        wanted === `${resource}/*` ||
        (subresource !== "" && wanted === `*/${subresource}`),
    );
  });
}
