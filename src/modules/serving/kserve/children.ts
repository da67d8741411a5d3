/** What an InferenceService is made of: Deployments, Services, HorizontalPodAutoscalers and addresses. Pure. */
import { createHash } from "node:crypto";
import type { ApplyObject } from "../../../kernel/client/types.js";
import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { ownerReferenceTo } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, isObject, toJson } from "../../../kernel/schema/index.js";
import { SCALING } from "../autoscaling/index.js";
import { HEALTH_ANNOTATION, TEMPLATE_ANNOTATION, WEIGHTS_ANNOTATION } from "../children.js";
import { THROUGH_ANNOTATION } from "../inside.js";
import type { BuiltTemplate } from "../pod-template.js";
import { KSERVE } from "./annotations.js";
import type { InferenceService } from "./inference-service-kind.js";
import type { PromotionState } from "./promotion.js";
import type { Scaling } from "./scaling.js";

/** The field manager of everything that the controller writes. */
export const ISVC_MANAGER = "inferenceservice";
/** Labels of pods and children. */
export const COMPONENT_LABEL = "component";
/** Label of the pods of one Deployment. */
export const VARIANT_LABEL = "serving.argosy.dev/variant";
/** Annotations of a Deployment: name of its revision, hash of what its pods are made from, name of the canary it is. */
export const REVISION_ANNOTATION = "serving.argosy.dev/revision";
export const HASH_ANNOTATION = "serving.argosy.dev/hash";
export const CANARY_ANNOTATION = "serving.argosy.dev/canary";
/** How far a revision is on its way to its share. */
export const PROMOTION_ANNOTATION = "serving.argosy.dev/promotion";
/** Hash of what the user asked for, apart from the runtime. */
export const ASKED_ANNOTATION = "serving.argosy.dev/asked";

/** Annotations of an Ingress, for the gateway. */
export const ROUTE = {
  affinity: "argosy.dev/affinity",
  pin: "argosy.dev/pin",
  timeout: "argosy.dev/timeout-seconds",
  shadows: "argosy.dev/shadows",
  /** It has no host outside of the cluster; Services lead through it. */
  insideOnly: "argosy.dev/inside-only",
} as const;

/** Labels of all children of an InferenceService. */
export const serviceLabels = (service: InferenceService): Record<string, string> => ({
  [KSERVE.service]: service.metadata.name,
});

/** Labels of the pods of one Deployment, and their selector. */
export const variantLabels = (
  service: InferenceService,
  component: string,
  deployment: string,
): Record<string, string> => ({
  ...serviceLabels(service),
  [COMPONENT_LABEL]: component,
  [VARIANT_LABEL]: deployment,
});

/** A stable name of anything that JSON can carry. */
export const hashOf = (value: unknown): string =>
  createHash("sha256")
    .update(JSON.stringify(sorted(toJson(value))))
    .digest("hex")
    .slice(0, 32);

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, member === undefined ? null : sorted(member)]),
  );
}

function metadataOf(
  service: InferenceService,
  name: string,
  labels: Record<string, string> = {},
  annotations: Record<string, string> = {},
): ApplyObject["metadata"] {
  return {
    name,
    namespace: service.metadata.namespace ?? "",
    labels: { ...serviceLabels(service), ...labels },
    annotations,
    ownerReferences: [toJson(ownerReferenceTo(service))],
  };
}

/** One Deployment of a component. */
export interface VariantObjects {
  readonly component: string;
  readonly deployment: string;
  readonly revision: string;
  readonly hash: string;
  readonly asked: string;
  readonly canary?: string;
  readonly promotion?: PromotionState | undefined;
  readonly built: BuiltTemplate;
  readonly scaling: Scaling;
  /** Absent: an autoscaler's. */
  readonly replicas: number | undefined;
  readonly strategy: JsonObject;
}

/** Its Deployment. */
export function deploymentOf(service: InferenceService, variant: VariantObjects): ApplyObject {
  const { component, deployment, revision, hash, asked, canary, built, scaling, replicas } = variant;
  const labels = variantLabels(service, component, deployment);
  const annotations = {
    [REVISION_ANNOTATION]: revision,
    [HASH_ANNOTATION]: hash,
    [ASKED_ANNOTATION]: asked,
    [TEMPLATE_ANNOTATION]: JSON.stringify(built),
    ...(canary === undefined ? {} : { [CANARY_ANNOTATION]: canary }),
    ...(variant.promotion === undefined ? {} : { [PROMOTION_ANNOTATION]: JSON.stringify(variant.promotion) }),
    ...scaling.annotations,
  };
  return {
    metadata: metadataOf(service, deployment, { ...labels, ...scaling.labels }, annotations),
    spec: {
      ...(replicas === undefined ? {} : { replicas }),
      selector: { matchLabels: labels },
      strategy: variant.strategy,
      progressDeadlineSeconds: 600,
      template: withLabels(built.template, { ...labels, app: `isvc.${deployment}` }),
    },
  };
}

/** The template is the same for all Deployments that it could be in; the labels are each one's own. */
function withLabels(template: JsonObject, labels: Record<string, string>): JsonObject {
  const metadata = asObject(template["metadata"]);
  return { ...template, metadata: { ...metadata, labels: { ...asObject(metadata["labels"]), ...labels } } };
}

/** A Service in front of a Deployment's pods; with a `way`, in front of an Ingress, and of the pods too until that is open. */
export function serviceOf(
  service: InferenceService,
  name: string,
  variant: Pick<VariantObjects, "component" | "deployment" | "built">,
  way?: { readonly ingress: string; readonly isOpen: boolean },
): ApplyObject {
  const labels = variantLabels(service, variant.component, variant.deployment);
  const annotations = way === undefined ? {} : { [THROUGH_ANNOTATION]: way.ingress };
  return {
    metadata: metadataOf(service, name, { [COMPONENT_LABEL]: variant.component }, annotations),
    spec: {
      ...(way?.isOpen === true ? {} : { selector: labels }),
      ports: [{ name: "http", port: 80, targetPort: variant.built.port, protocol: "TCP" }],
    },
  };
}

/** A HorizontalPodAutoscaler of a Deployment. */
export function hpaOf(
  service: InferenceService,
  variant: VariantObjects,
  hpa: NonNullable<Scaling["hpa"]>,
): ApplyObject {
  return {
    metadata: metadataOf(service, variant.deployment, { [COMPONENT_LABEL]: variant.component }),
    spec: {
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: variant.deployment },
      ...hpa,
    },
  };
}

/** One host, and where its paths go. */
export interface RouteHost {
  readonly host: string;
  /** Path that is taken whole → Service. */
  readonly exact?: Readonly<Record<string, string>>;
  /** Everything else. */
  readonly service: string;
}

/** What holds for all hosts of an Ingress. */
export interface RouteSettings {
  /** Service → share, where one of them is a host's. */
  readonly weights?: Readonly<Record<string, number>>;
  /** What the gateway asks each pod for. */
  readonly healthPath?: string | undefined;
  /** Deployments whose requests wait for a pod. */
  readonly held?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Addresses. */
export function ingressOf(
  service: InferenceService,
  name: string,
  hosts: readonly RouteHost[],
  { weights = {}, healthPath, held = [], annotations = {} }: RouteSettings,
): ApplyObject {
  const backend = (to: string): JsonObject => ({ service: { name: to, port: { name: "http" } } });
  return {
    metadata: metadataOf(
      service,
      name,
      {},
      {
        ...annotations,
        ...(healthPath === undefined ? {} : { [HEALTH_ANNOTATION]: healthPath }),
        ...(held.length === 0 ? {} : { [SCALING.activator]: held.join(",") }),
        ...(Object.keys(weights).length > 1 ? { [WEIGHTS_ANNOTATION]: JSON.stringify(weights) } : {}),
      },
    ),
    spec: {
      ingressClassName: "argosy",
      rules: hosts.map(({ host, exact = {}, service: to }) => ({
        host,
        http: {
          paths: [
            ...Object.entries(exact).map(([path, other]) => ({ path, pathType: "Exact", backend: backend(other) })),
            { path: "/", pathType: "Prefix", backend: backend(to) },
          ],
        },
      })),
    },
  };
}

/** Whether the pods of a template hold GPUs or other devices, which no second pod can have meanwhile. */
export function holdsDevices(template: JsonObject): boolean {
  const { containers, initContainers, resourceClaims } = asObject(template["spec"]);
  if (asObjects(resourceClaims).length > 0) return true;
  return [...asObjects(containers), ...asObjects(initContainers)].some(({ resources }) => {
    const { limits, requests } = asObject(resources);
    return [...Object.keys(asObject(limits)), ...Object.keys(asObject(requests))].some((name) => name.includes("/"));
  });
}
