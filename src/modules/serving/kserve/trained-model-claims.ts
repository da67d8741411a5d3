/** TrainedModels that lie in claims: volumes of the pods that load them. */
import type { InformerSet, Key } from "../../../kernel/control/types.js";
import type { Deployment, JsonObject, KubeObject } from "../../../kernel/kinds/index.js";
import { PersistentVolumeClaimKind } from "../../../kernel/kinds/index.js";
import { asObject, asObjects, asString, toJsonObject } from "../../../kernel/schema/index.js";
import type { Fault } from "../diagnosis.js";
import { hashOf } from "./children.js";
import type { InferenceService } from "./inference-service-kind.js";
import { type TrainedModel, TrainedModelKind } from "./storage-kinds.js";
import { claimOf, parseStorageUri } from "./storage-uri.js";

/** Where the claims of TrainedModels are mounted. */
const CLAIMS_FOLDER = "/mnt/claims";
/** Most claims that the pods of one InferenceService mount. */
const MAX_CLAIMS = 16;
const BY_SERVICE = "inference-service";
const BY_CLAIM = "claim";

const volumeOf = (claim: string): string => `claim-${hashOf(claim).slice(0, 12)}`;

/** What a server is told of where a model is: claims are folders of its pod, and it fetches images that pods would mount. */
export function loadedFrom(uri: string): string {
  const claim = claimOf(uri);
  if (claim !== undefined) return `file://${CLAIMS_FOLDER}/${claim.claim}/${claim.path}`;
  const { scheme, rest } = parseStorageUri(uri);
  return scheme === "oci+native" ? `oci+fetch://${rest}` : uri;
}

function modelsIn(informers: InformerSet) {
  const models = informers.informer(TrainedModelKind);
  models.addIndex(BY_SERVICE, ({ metadata, spec }) => [`${metadata.namespace ?? ""}/${spec.inferenceService}`]);
  models.addIndex(BY_CLAIM, ({ metadata, spec }) => {
    const claim = claimOf(spec.model.storageUri);
    return claim === undefined ? [] : [`${metadata.namespace ?? ""}/${claim.claim}`];
  });
  return models;
}

/** The TrainedModels of an InferenceService. */
export const modelsFor = ({ metadata }: KubeObject, informers: InformerSet): readonly TrainedModel[] =>
  modelsIn(informers).byIndex(BY_SERVICE, `${metadata.namespace ?? ""}/${metadata.name}`);

/** The claims that the pods of an InferenceService mount for its TrainedModels: those that there are, so that no other model waits for one. */
export function claimsFor(service: KubeObject, informers: InformerSet): string[] {
  const { namespace = "" } = service.metadata;
  const claims = informers.informer(PersistentVolumeClaimKind);
  const named = modelsFor(service, informers)
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .flatMap(({ spec }) => claimOf(spec.model.storageUri)?.claim ?? []);
  return [...new Set(named)]
    .filter((name) => claims.get({ namespace, name }) !== undefined)
    .sort()
    .slice(0, MAX_CLAIMS);
}

/** Mounts claims in a pod, in place. */
export function addClaims(
  claims: readonly string[] | undefined,
  { volumes, mounts }: { readonly volumes: JsonObject[]; readonly mounts: JsonObject[] },
): void {
  for (const claim of claims ?? []) {
    volumes.push({ name: volumeOf(claim), persistentVolumeClaim: { claimName: claim, readOnly: true } });
    mounts.push({ name: volumeOf(claim), mountPath: `${CLAIMS_FOLDER}/${claim}`, readOnly: true });
  }
}

/** The InferenceServices whose pods have, or are to have, a volume for a TrainedModel. */
export function servicesOfModel(model: KubeObject): Key[] {
  const spec = asObject(toJsonObject(model)["spec"]);
  return claimOf(asString(asObject(spec["model"])["storageUri"])) === undefined
    ? []
    : [{ namespace: model.metadata.namespace ?? "", name: asString(spec["inferenceService"]) }];
}

/** The same of a claim. */
export const servicesOfClaim = (claim: KubeObject, informers: InformerSet): Key[] =>
  modelsOfClaim(claim, informers).flatMap(servicesOfModel);

/** The TrainedModels that lie in a claim. */
export const modelsOfClaim = ({ metadata }: KubeObject, informers: InformerSet): readonly TrainedModel[] =>
  modelsIn(informers).byIndex(BY_CLAIM, `${metadata.namespace ?? ""}/${metadata.name}`);

/** Why the pods of its InferenceService do not have a model's claim. */
export function claimFault(
  { metadata, spec }: TrainedModel,
  service: InferenceService,
  { deployments, informers }: { readonly deployments: readonly Deployment[]; readonly informers: InformerSet },
): Fault | undefined {
  const claim = claimOf(spec.model.storageUri)?.claim;
  if (claim === undefined) return undefined;
  const { namespace = "" } = metadata;
  if (informers.informer(PersistentVolumeClaimKind).get({ namespace, name: claim }) === undefined)
    return { reason: "ClaimNotFound", message: `there is no PersistentVolumeClaim ${claim} in namespace ${namespace}` };
  if (!claimsFor(service, informers).includes(claim))
    return {
      reason: "TooManyClaims",
      message: `the models of InferenceService ${service.metadata.name} lie in more than ${MAX_CLAIMS} claims: put some together, or give some another InferenceService`,
    };
  const isMounted = ({ spec: { template } }: Deployment): boolean =>
    asObjects(toJsonObject(template.spec ?? {})["volumes"]).some(({ name }) => name === volumeOf(claim));
  return deployments.length === 0 || deployments.some(isMounted)
    ? undefined
    : {
        reason: "Loading",
        message: `the pods of InferenceService ${service.metadata.name} are started anew with the claim ${claim}`,
      };
}
