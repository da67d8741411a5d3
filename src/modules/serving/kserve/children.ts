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
import { WORKER_CONTAINER } from "./workers.js";

/** The field manager of everything that the controller writes. */
export const ISVC_MANAGER = "inferenceservice";
/** Labels of pods and children. */
export const COMPONENT_LABEL = "component";
/** Component of pods that work for a predictor's. */
const WORKER = "worker";
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
/** How many pods the revisions of a rollout share, where an autoscaler had decided about them before it. */
export const PODS_ANNOTATION = "serving.argosy.dev/rollout-pods";

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

/** KServe's label of the pods of a Deployment, within the length of a label. */
const appOf = (deployment: string): string => `isvc.${deployment}`.slice(0, 63).replace(/[^a-z0-9]+$/, "");

/** One Deployment of a component. */
export interface VariantObjects {
  readonly component: string;
  readonly deployment: string;
  readonly revision: string;
  readonly hash: string;
  readonly asked: string;
  readonly canary?: string;
  readonly promotion?: PromotionState | undefined;
  /** Pods that it shares with the other revision of a rollout. */
  readonly shared?: number | undefined;
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
    ...(variant.shared === undefined ? {} : { [PODS_ANNOTATION]: String(variant.shared) }),
    ...scaling.annotations,
  };
  return {
    metadata: metadataOf(service, deployment, { ...labels, ...scaling.labels }, annotations),
    spec: {
      ...(replicas === undefined ? {} : { replicas }),
      selector: { matchLabels: labels },
      strategy: variant.strategy,
      progressDeadlineSeconds: 600,
      template: withLabels(built.template, {
        ...labels,
        ...(built.workers === undefined ? {} : { [REVISION_ANNOTATION]: revision }),
        app: appOf(deployment),
      }),
    },
  };
}

/** The Deployment of the pods that work for a head's, and the Services by which both find each other while they are not ready yet. */
export function workersOf(
  service: InferenceService,
  variant: VariantObjects,
  { template, count }: NonNullable<BuiltTemplate["workers"]>,
): { readonly deployment: ApplyObject; readonly head: ApplyObject; readonly workers: ApplyObject } {
  const name = `${variant.deployment}-worker`;
  const number = Number(/-(\d+)$/.exec(variant.revision)?.[1] ?? 1);
  const [headService, workerService] = [
    `${service.metadata.name}-head-${number}`,
    `${service.metadata.name}-worker-${number}`,
  ];
  const labels = variantLabels(service, WORKER, name);
  const ofRevision = { [REVISION_ANNOTATION]: variant.revision };
  const isSurging = asObject(variant.strategy["rollingUpdate"])["maxSurge"] !== 0;
  const headless = (of: string, selector: Record<string, string>): ApplyObject => ({
    metadata: metadataOf(service, of, { [COMPONENT_LABEL]: WORKER }),
    spec: {
      clusterIP: "None",
      publishNotReadyAddresses: true,
      selector: { ...selector, ...ofRevision },
      ports: [{ name: "http", port: variant.built.port, protocol: "TCP" }],
    },
  });
  const found = { HEAD_SVC: headService, WORKER_SVC: workerService };
  return {
    deployment: {
      metadata: metadataOf(service, name, labels, { [REVISION_ANNOTATION]: variant.revision }),
      spec: {
        replicas: variant.replicas === 0 ? 0 : count,
        selector: { matchLabels: labels },
        // Those of one revision work together: all of them are there, or none.
        strategy: isSurging
          ? { type: "RollingUpdate", rollingUpdate: { maxSurge: "100%", maxUnavailable: 0 } }
          : { type: "Recreate" },
        progressDeadlineSeconds: 600,
        template: withLabels(withVariables(template, found), { ...labels, ...ofRevision, app: appOf(name) }),
      },
    },
    head: headless(headService, variantLabels(service, variant.component, variant.deployment)),
    workers: headless(workerService, labels),
  };
}

function withVariables(template: JsonObject, variables: Readonly<Record<string, string>>): JsonObject {
  const spec = asObject(template["spec"]);
  const added = Object.entries(variables).map(([name, value]): JsonObject => ({ name, value }));
  const containers = asObjects(spec["containers"]).map((container) =>
    container["name"] === WORKER_CONTAINER
      ? { ...container, env: [...added, ...asObjects(container["env"])] }
      : container,
  );
  return { ...template, spec: { ...spec, containers } };
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
    const amounts = [...Object.entries(asObject(limits)), ...Object.entries(asObject(requests))];
    return amounts.some(([name, amount]) => name.includes("/") && Number(amount) !== 0);
  });
}
