/** What an MLService is made of: a Deployment and a Service a release, and the addresses. */
import { createHash } from "node:crypto";
import type { ApplyObject } from "../../kernel/client/types.js";
import type { JsonObject } from "../../kernel/kinds/index.js";
import { ownerReferenceTo } from "../../kernel/kinds/index.js";
import { asObject, toJson } from "../../kernel/schema/index.js";
import { SCALING } from "./autoscaling/index.js";
import { THROUGH_ANNOTATION } from "./inside.js";
import type { MLService, Release, Transformer } from "./kinds.js";
import type { BuiltTemplate } from "./pod-template.js";
import { isScaled, type Scalable, scalingMetadata } from "./release-scaling.js";
import { markOf, type StoreTrust } from "./store-trust.js";

/** The field manager of everything that the MLService controller writes. */
export const FIELD_MANAGER = "mlservice";
/** Labels of everything that belongs to a release. */
export const SERVICE_LABEL = "tensorstack.dev/mlservice";
export const RELEASE_LABEL = "tensorstack.dev/mlservice-release";
/** Label that tells releases from the transformer. */
export const COMPONENT_LABEL = "tensorstack.dev/mlservice-component";
/** Weights of an Ingress' backends: JSON, Service name → whole number; 0 and absent get no traffic. */
export const WEIGHTS_ANNOTATION = "argosy.dev/weights";
/** Path of an Ingress that the gateway asks every pod for, so that a frozen one gets no more requests; any answer below 500 is alive. */
export const HEALTH_ANNOTATION = "argosy.dev/health-path";
/** SHA-256 of the release as it was when its pods' template was made. */
export const RELEASE_HASH_ANNOTATION = "argosy.dev/release-hash";
/** The pod template as it was made (runtimes change lazily). */
export const TEMPLATE_ANNOTATION = "argosy.dev/built-template";

/** Where a cluster's models answer. */
export interface ServingAddress {
  /** `cloud.argosy.localhost` */
  readonly domain: string;
  /** Port of the cluster's ingress; absent: 80. */
  readonly port?: number;
}

/** Name of a release's Deployment and Service. */
export const releaseName = (service: string, release: string): string => `${service}-predict-${release}`;

/** Host of a release, or of the service itself. */
export const hostOf = (name: string, namespace: string, address: ServingAddress): string =>
  `${name}.${namespace}.${address.domain}`;

/** URL of a host. */
export const urlOf = (host: string, address: ServingAddress): string =>
  `http://${host}${address.port === undefined || address.port === 80 ? "" : `:${address.port}`}`;

/** Name of the transformer's Deployment, Service and Ingress. */
export const transformerName = (service: string): string => `${service}-transform`;

/** Name of the Service, and of the Ingress behind it, by which a transformer reaches default and canary. */
export const predictorsName = (service: string): string => `${service}-predict`;

/** What the pods of a release, or of a transformer, depend on; the runtime's own changes are not part of it. */
function hashPods(
  pods: Release["predictor"] | Transformer,
  scheduler: MLService["spec"]["scheduler"],
  trust: StoreTrust,
): string {
  const { minReplicas: _min, maxReplicas: _max, ...rest } = pods;
  const trusted = markOf(trust);
  return hashOf({
    ...rest,
    ...(scheduler?.t9kScheduler === undefined ? {} : { scheduler }),
    ...(trusted === undefined ? {} : { trusted }),
  });
}

function hashOf(rest: object): string {
  return createHash("sha256")
    .update(JSON.stringify(sortKeys(toJson(rest))))
    .digest("hex")
    .slice(0, 32);
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, sortKeys(item)]),
  );
}

/** Labels of a release's children; also the selector of its pods. */
export const releaseLabels = (service: MLService, release: string): Record<string, string> => ({
  [SERVICE_LABEL]: service.metadata.name,
  [RELEASE_LABEL]: release,
  [COMPONENT_LABEL]: "predictor",
});

function metadataOf(
  service: MLService,
  name: string,
  labels: Record<string, string>,
  annotations: Record<string, string> = {},
): ApplyObject["metadata"] {
  return {
    name,
    namespace: service.metadata.namespace ?? "",
    labels: { ...labels },
    annotations: { ...annotations },
    ownerReferences: [toJson(ownerReferenceTo(service))],
  };
}

/** Pods of one kind: those of a release, or of the transformer. */
export interface PodSet {
  /** Name of their Deployment and Service. */
  readonly name: string;
  /** Also the selector. */
  readonly labels: Readonly<Record<string, string>>;
  readonly hash: string;
  readonly scalable: Scalable;
}

/** The pods of a release. */
export const releasePods = (service: MLService, release: Release, trust: StoreTrust): PodSet => ({
  name: releaseName(service.metadata.name, release.name),
  labels: releaseLabels(service, release.name),
  hash: hashPods(release.predictor, service.spec.scheduler, trust),
  scalable: release,
});

/** The pods of the transformer. */
export const transformerPods = (service: MLService, transformer: Transformer, trust: StoreTrust): PodSet => ({
  name: transformerName(service.metadata.name),
  labels: { [SERVICE_LABEL]: service.metadata.name, [COMPONENT_LABEL]: "transformer" },
  hash: hashPods(transformer, service.spec.scheduler, trust),
  scalable: { predictor: transformer },
});

/** The Deployment of some pods. Without `replicas` their number is the autoscaler's to say. */
export function deploymentOf(
  service: MLService,
  { name, labels, hash, scalable }: PodSet,
  built: BuiltTemplate,
  replicas: number | undefined,
): ApplyObject {
  const annotations = { [RELEASE_HASH_ANNOTATION]: hash, [TEMPLATE_ANNOTATION]: JSON.stringify(built) };
  const scaled = replicas === undefined ? scalingMetadata(scalable) : { labels: {}, annotations: {} };
  return {
    metadata: metadataOf(service, name, { ...labels, ...scaled.labels }, { ...scaled.annotations, ...annotations }),
    spec: {
      ...(replicas === undefined ? {} : { replicas }),
      selector: { matchLabels: labels },
      // A new pod answers before an old one goes.
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      progressDeadlineSeconds: 300,
      template: built.template,
    },
  };
}

/** The Service of some pods. */
export function serviceOf(service: MLService, { name, labels }: PodSet, port: number): ApplyObject {
  return {
    metadata: metadataOf(service, name, labels),
    spec: { selector: labels, ports: [{ name: "http", port: 80, targetPort: port, protocol: "TCP" }] },
  };
}

/**
 * The Service by which the transformer reaches default and canary: it leads to the default release's pods, or through the gateway where shares must hold or pods be
 * waited for.
 */
export function predictorsOf(
  service: MLService,
  { labels, port }: { readonly labels: Readonly<Record<string, string>>; readonly port: number },
  way: { readonly ingress: string; readonly isOpen: boolean } | undefined,
): ApplyObject {
  const annotations = way === undefined ? {} : { [THROUGH_ANNOTATION]: way.ingress };
  const own = { [SERVICE_LABEL]: service.metadata.name };
  return {
    metadata: metadataOf(service, predictorsName(service.metadata.name), own, annotations),
    spec: {
      ...(way?.isOpen === true ? {} : { selector: labels }),
      ports: [{ name: "http", port: 80, targetPort: port, protocol: "TCP" }],
    },
  };
}

/** An address: one host, one or several Services behind it. The first one is the Ingress' own backend. */
export function ingressOf(
  service: MLService,
  name: string,
  host: string,
  weights: Readonly<Record<string, number>>,
): ApplyObject {
  const names = Object.keys(weights);
  const { transformer, releases } = service.spec;
  const scaled = releases.filter(isScaled).map((release) => releaseName(service.metadata.name, release.name));
  if (transformer !== undefined && isScaled({ predictor: transformer }))
    scaled.push(transformerName(service.metadata.name));
  const held = scaled.filter((deployment) => names.includes(deployment));
  const annotations: Record<string, string> = {
    [HEALTH_ANNOTATION]: "/v2/health/ready",
    ...(held.length === 0 ? {} : { [SCALING.activator]: held.join(",") }),
    ...(names.length > 1 ? { [WEIGHTS_ANNOTATION]: JSON.stringify(weights) } : {}),
  };
  const backend: JsonObject = { service: { name: names[0] ?? "", port: { name: "http" } } };
  return {
    metadata: metadataOf(service, name, { [SERVICE_LABEL]: service.metadata.name }, annotations),
    spec: {
      ingressClassName: "argosy",
      rules: [{ host, http: { paths: [{ path: "/", pathType: "Prefix", backend }] } }],
    },
  };
}

/** The same without a host outside of the cluster: only Services lead through it. */
export function insideOnly({ metadata, ...rest }: ApplyObject): ApplyObject {
  const annotations = { ...asObject(metadata["annotations"]), "argosy.dev/inside-only": "true" };
  return { metadata: { ...metadata, annotations }, ...rest };
}
