import type { Faults } from "../../../../kernel/kinds/index.js";
import { labelFaults, subdomainFaults } from "../../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { validateAnnotations, validateLabels } from "../../registry/metadata.js";
import { asNumber, asObject, asObjects, asString, at, isEmpty } from "../../registry/read.js";
import { validateClaimSpec } from "../claims.js";
import { fileMode, follows, localPath, needed, neededOneOf, quantityOf } from "../rules.js";
import { validateSelector } from "../selectors.js";
import { checkFieldReference, checkResourceReference, fileFields } from "./downward.js";
import { checkSources, podSources, type SourceCheck } from "./volume-sources.js";

/** Whose volumes are checked: a pod (with its name, if it has one yet), or a template. */
export interface VolumeOwner {
  readonly isPod: boolean;
  readonly podName: string;
}

/** Checks a pod's volumes; returns the sound ones by their names. */
export function validateVolumes(
  volumes: readonly JsonObject[],
  path: string,
  faults: Faults,
  owner: VolumeOwner,
): Map<string, JsonObject> {
  const claims = new Set<string>();
  if (owner.podName !== "")
    for (const volume of volumes)
      if (volume["ephemeral"] !== undefined) claims.add(`${owner.podName}-${asString(volume["name"])}`);
  const sound = new Map<string, JsonObject>();
  for (const [index, volume] of volumes.entries()) {
    const place = `${path}[${index}]`;
    const name = asString(volume["name"]);
    const before = faults.causes.length;
    checkVolume(volume, place, faults, owner);
    if (name === "") faults.required(`${place}.name`);
    else follows(labelFaults, name, `${place}.name`, faults);
    if (sound.has(name)) faults.duplicate(`${place}.name`, name);
    if (faults.causes.length === before) sound.set(name, volume);
    const claim = asString(at(volume, "persistentVolumeClaim", "claimName"));
    if (volume["persistentVolumeClaim"] !== undefined && claims.has(claim))
      faults.invalid(
        `${place}.persistentVolumeClaim.claimName`,
        claim,
        "must not reference a PVC that gets created for an ephemeral volume",
      );
  }
  return sound;
}

function checkVolume(volume: JsonObject, path: string, faults: Faults, owner: VolumeOwner): void {
  const name = asString(volume["name"]);
  const limit = quantityOf(at(volume, "emptyDir", "sizeLimit"));
  if (limit !== undefined && limit.nanos < 0n)
    faults.forbidden(`${path}.emptyDir.sizeLimit`, "SizeLimit field must be a valid resource quantity");
  const found = checkSources(volume, owner.isPod ? ofPods : ofTemplates, { path, faults, owner: name });
  if (found !== "ephemeral" || owner.podName === "" || name === "") return;
  const claim = `${owner.podName}-${name}`;
  for (const fault of subdomainFaults(claim))
    faults.invalid(`${path}.name`, name, `PVC name ${JSON.stringify(claim)}: ${fault}`);
}

function checkItems(items: readonly JsonObject[], path: string, faults: Faults): void {
  for (const [index, item] of items.entries()) {
    const place = `${path}[${index}]`;
    needed(item, "key", place, faults);
    localPath(needed(item, "path", place, faults), `${place}.path`, faults);
    fileMode(item["mode"], `${place}.mode`, faults);
  }
}

/** Files out of a Secret or ConfigMap, which `field` names. */
const files =
  (field: string): SourceCheck =>
  (source, path, faults) => {
    needed(source, field, path, faults);
    fileMode(source["defaultMode"], `${path}.defaultMode`, faults);
    checkItems(asObjects(source["items"]), `${path}.items`, faults);
  };

/** As upstream, all files are reported at the path of what holds them. */
function checkDownwardFile(file: JsonObject, path: string, faults: Faults): void {
  localPath(needed(file, "path", path, faults), `${path}.path`, faults);
  const [field, resource] = [file["fieldRef"], file["resourceFieldRef"]];
  if (field !== undefined) {
    checkFieldReference(asObject(field), `${path}.fieldRef`, fileFields, faults);
    if (resource !== undefined)
      faults.invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
  } else if (resource !== undefined)
    checkResourceReference(asObject(resource), `${path}.resourceFieldRef`, faults, true);
  else faults.required(path, "one of fieldRef and resourceFieldRef is required");
  fileMode(file["mode"], `${path}.mode`, faults);
}

const downwardApi: SourceCheck = (source, path, faults) => {
  fileMode(source["defaultMode"], `${path}.defaultMode`, faults);
  for (const file of asObjects(source["items"])) checkDownwardFile(file, path, faults);
};

const ephemeral: SourceCheck = (source, path, faults) => {
  const template = source["volumeClaimTemplate"];
  const place = `${path}.volumeClaimTemplate`;
  if (template === undefined) {
    faults.required(place);
    return;
  }
  const metadata = asObject(at(template, "metadata"));
  validateAnnotations(asObject(metadata["annotations"]), `${place}.metadata.annotations`, faults);
  validateLabels(metadata["labels"] ?? {}, `${place}.metadata.labels`, faults);
  for (const field of Object.keys(metadata))
    if (field !== "labels" && field !== "annotations" && !isEmpty(metadata[field]))
      faults.forbidden(`${place}.metadata.${spelledAsInGo(field)}`, "cannot be set");
  validateClaimSpec(asObject(at(template, "spec")), `${place}.spec`, faults);
};

/** Upstream lowers the first letter of Go's name of the field. */
const spelledAsInGo = (field: string): string => (field === "uid" ? "uID" : field);

const image =
  (isPod: boolean): SourceCheck =>
  (source, path, faults) => {
    if (isPod) needed(source, "reference", path, faults);
    neededOneOf(source["pullPolicy"], ["Always", "IfNotPresent", "Never"], `${path}.pullPolicy`, faults);
  };

/** Notes the paths of a projected volume, each of which may come once; `shown` stands for the source. */
type Claim = (path: string, shown: string) => void;

interface Projecting {
  readonly path: string;
  /** Of the whole volume. */
  readonly volumePath: string;
  readonly faults: Faults;
  readonly claim: Claim;
}

function projectFiles(source: JsonObject, { path, faults, claim }: Projecting): void {
  const name = needed(source, "name", path, faults);
  const items = asObjects(source["items"]);
  for (const [index, item] of items.entries()) {
    const place = `${path}.items[${index}]`;
    needed(item, "key", place, faults);
    localPath(needed(item, "path", place, faults), `${place}.path`, faults);
    fileMode(item["mode"], `${place}.mode`, faults);
    if (asString(item["path"]) !== "") claim(asString(item["path"]), name);
  }
}

function projectDownward(source: JsonObject, { path, faults, claim }: Projecting): void {
  for (const file of asObjects(source["items"])) {
    checkDownwardFile(file, path, faults);
    if (asString(file["path"]) !== "") claim(asString(file["path"]), asString(file["path"]));
  }
}

const shortest = 600;
const longest = 2 ** 32;

function projectToken(source: JsonObject, { path, volumePath, faults }: Projecting): void {
  const seconds = asNumber(source["expirationSeconds"]) ?? 0;
  const place = `${path}.expirationSeconds`;
  if (seconds < shortest) faults.invalid(place, seconds, "may not specify a duration less than 10 minutes");
  if (seconds > longest) faults.invalid(place, seconds, "may not specify a duration larger than 2^32 seconds");
  const target = needed(source, "path", volumePath, faults);
  if (target !== "") localPath(target, `${volumePath}.path`, faults);
}

function projectBundle(source: JsonObject, { path, faults, claim }: Projecting): void {
  const [name, signer] = [source["name"], source["signerName"]];
  if (name !== undefined && signer !== undefined)
    faults.invalid(path, source, "only one of name and signerName may be used");
  else if (name !== undefined) {
    if (name === "") faults.required(`${path}.name`, "must be a valid object name");
    for (const fault of subdomainFaults(asString(name)))
      faults.invalid(`${path}.name`, name, `not a valid clustertrustbundlename: ${fault}`);
    if (source["labelSelector"] !== undefined)
      faults.invalid(
        `${path}.labelSelector`,
        source["labelSelector"],
        "labelSelector must be unset if name is specified",
      );
  } else if (signer !== undefined) {
    if (signer === "") faults.required(`${path}.signerName`, "must be a valid signer name");
    validateSelector(source["labelSelector"], `${path}.labelSelector`, faults);
  } else faults.required(path, "either name or signerName must be specified");
  const target = needed(source, "path", path, faults);
  localPath(target, `${path}.path`, faults);
  claim(target, target);
}

const projections: Readonly<Record<string, (source: JsonObject, projecting: Projecting) => void>> = {
  secret: projectFiles,
  configMap: projectFiles,
  downwardAPI: projectDownward,
  serviceAccountToken: projectToken,
  clusterTrustBundle: projectBundle,
};

const projected: SourceCheck = (source, path, faults) => {
  fileMode(source["defaultMode"], `${path}.defaultMode`, faults);
  const taken = new Set<string>();
  const claim: Claim = (target, shown) => {
    if (taken.has(target)) faults.invalid(path, shown, "conflicting duplicate paths");
    taken.add(target);
  };
  for (const [index, one] of asObjects(source["sources"]).entries()) {
    const place = `${path}.sources[${index}]`;
    const fields = Object.keys(projections).filter((field) => one[field] !== undefined);
    for (const field of fields)
      projections[field]?.(asObject(one[field]), { path: `${place}.${field}`, volumePath: path, faults, claim });
    const count = fields.length + (one["podCertificate"] === undefined ? 0 : 1);
    if (count > 1) faults.forbidden(place, "may not specify more than 1 volume type per source");
  }
};

/** In the order in which upstream looks at them. */
const order = (
  "emptyDir hostPath gitRepo gcePersistentDisk awsElasticBlockStore secret nfs iscsi glusterfs flocker persistentVolumeClaim rbd " +
  "cinder cephfs quobyte downwardAPI fc flexVolume configMap azureFile vsphereVolume photonPersistentDisk portworxVolume azureDisk " +
  "storageos projected scaleIO csi ephemeral image"
).split(" ");

const sourcesOf = (isPod: boolean): readonly (readonly [string, SourceCheck])[] => {
  const all: Readonly<Record<string, SourceCheck>> = {
    ...podSources,
    secret: files("secretName"),
    configMap: files("name"),
    downwardAPI: downwardApi,
    projected,
    ephemeral,
    image: image(isPod),
  };
  return order.map((field) => [field, all[field] ?? (() => undefined)]);
};
const ofPods = sourcesOf(true);
const ofTemplates = sourcesOf(false);
