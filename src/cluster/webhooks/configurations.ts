import type { JsonObject, OwnerReference } from "../../kernel/kinds/object.js";
import type { ObjectCheck } from "../apiserver/index.js";

/** Where an API server finds us. */
export type HookPlace =
  | { readonly url: string }
  | { readonly service: { readonly namespace: string; readonly name: string; readonly port: number } };

/** What configurations are made from. */
export interface HooksInput {
  readonly name: string;
  readonly checks: readonly ObjectCheck[];
  readonly place: HookPlace;
  /** Who signs our certificate. */
  readonly caPem: string;
  /** In which the probe is written (dry run). */
  readonly namespace: string;
  /** Takes the configurations along when it is deleted. */
  readonly owner?: OwnerReference;
}

/** Paths of the two questions: what is missing, and whether it may be. */
export const COMPLETE_PATH = "/complete";
export const REVIEW_PATH = "/review";
/** The label of the object by which it is found out whether we are asked. */
export const PROBE = { key: "argosy.dev/probe", value: "admission" } as const;

type Asked = "complete" | "review" | "reviewDeletion";
/** What is relied on waits longer. */
const PATIENCE = { Fail: 10, Ignore: 5 } as const;

/** The bodies of the MutatingWebhookConfiguration and of the ValidatingWebhookConfiguration by which a server asks the checks. Pure. */
export function hooksFor(input: HooksInput): { readonly mutating: JsonObject; readonly validating: JsonObject } {
  const { name, owner } = input;
  const metadata = {
    name,
    labels: { "app.kubernetes.io/part-of": "argosy" },
    ...(owner === undefined ? {} : { ownerReferences: [{ ...owner }] }),
  };
  const completing = kindsWith(input.checks, "complete").map((about) => hookOf(input, about, "complete"));
  return {
    mutating: { metadata, webhooks: [probeHook(input, COMPLETE_PATH), ...completing] },
    validating: { metadata, webhooks: [probeHook(input, REVIEW_PATH), ...reviewing(input), ...labelled(input)] },
  };
}

/** The configuration by which only the probe is asked for. Pure. */
export function probeOnly(input: HooksInput): JsonObject {
  const { validating } = hooksFor({ ...input, checks: [] });
  return validating;
}

type About = NonNullable<ObjectCheck["about"]>;

function kindsWith(checks: readonly ObjectCheck[], ...asked: readonly Asked[]): About[] {
  const found = checks.flatMap((check) =>
    check.about === undefined || asked.every((each) => check[each] === undefined) ? [] : [check.about],
  );
  return [...new Map(found.map((about) => [`${about.kind}.${about.group}`, about])).values()];
}

function reviewing(input: HooksInput): JsonObject[] {
  return kindsWith(input.checks, "review", "reviewDeletion").map((about) => hookOf(input, about, "review"));
}

/** A kind that is filled in is relied on to be; of others the controllers say themselves what is wrong with them. */
function hookOf(input: HooksInput, about: About, asked: "complete" | "review"): JsonObject {
  const { group, kind, plural } = about;
  const isAsked = (what: Asked): boolean =>
    kindsWith(input.checks, what).some((other) => other.group === group && other.kind === kind);
  const isRelied = isAsked("complete");
  const written = asked === "complete" || isAsked("review") ? ["CREATE", "UPDATE"] : [];
  const operations = [...written, ...(asked === "review" && isAsked("reviewDeletion") ? ["DELETE"] : [])];
  return {
    ...hook(input, nameOf(about), asked === "complete" ? COMPLETE_PATH : REVIEW_PATH, isRelied ? "Fail" : "Ignore"),
    rules: [{ operations, apiGroups: [group], apiVersions: ["*"], resources: [plural], scope: "*" }],
  };
}

/** As Karmada calls its own for Karmada's kinds: a refusal names the webhook. */
function nameOf({ group, kind }: About): string {
  return `${kind.toLowerCase()}.${group.endsWith(".karmada.io") ? "karmada.io" : group}`;
}

/** What is asked about objects of every kind that have a label. */
function labelled(input: HooksInput): JsonObject[] {
  return input.checks.flatMap((check) => {
    const { about, label } = check;
    if (about !== undefined || label === undefined || check.reviewDeletion === undefined) return [];
    const rule = { operations: ["DELETE"], apiGroups: ["*"], apiVersions: ["*"], resources: ["*"], scope: "*" };
    return [
      {
        ...hook(input, label.webhook, REVIEW_PATH, "Fail"),
        rules: [rule],
        objectSelector: { matchLabels: { [label.key]: label.value } },
      },
    ];
  });
}

function probeHook(input: HooksInput, path: string): JsonObject {
  const rule = {
    operations: ["CREATE"],
    apiGroups: ["coordination.k8s.io"],
    apiVersions: ["*"],
    resources: ["leases"],
  };
  return {
    ...hook(input, "probe.argosy.dev", path, "Ignore"),
    rules: [{ ...rule, scope: "Namespaced" }],
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": input.namespace } },
    objectSelector: { matchLabels: { [PROBE.key]: PROBE.value } },
  };
}

function hook({ place, caPem }: HooksInput, name: string, path: string, failurePolicy: "Fail" | "Ignore"): JsonObject {
  const caBundle = Buffer.from(caPem).toString("base64");
  return {
    name,
    clientConfig:
      "url" in place ? { url: `${place.url}${path}`, caBundle } : { service: { ...place.service, path }, caBundle },
    failurePolicy,
    timeoutSeconds: PATIENCE[failurePolicy],
    sideEffects: "None",
    admissionReviewVersions: ["v1"],
  };
}
