import type { Faults } from "../../../../kernel/kinds/index.js";
import { labelFaults, subdomainFaults } from "../../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import { asList, asNumber, asObject, asString, isEmpty } from "../../registry/read.js";
import { descendingPath, follows, needed, noBackSteps, oneOf, oneOfIfSet, optional, within } from "../rules.js";

/** Checks one source of a volume. `owner` is the name of the volume, or of the PersistentVolume. */
export type SourceCheck = (source: JsonObject, path: string, faults: Faults, owner: string) => void;

/** A source of which some texts (or lists) must be there. */
const needs =
  (...fields: readonly string[]): SourceCheck =>
  (source, path, faults) => {
    for (const field of fields) if (isEmpty(source[field])) faults.required(`${path}.${field}`);
  };

/** One check after the other. */
const both =
  (...checks: readonly SourceCheck[]): SourceCheck =>
  (source, path, faults, owner) => {
    for (const check of checks) check(source, path, faults, owner);
  };

const secretName =
  (...fields: readonly string[]): SourceCheck =>
  (source, path, faults) => {
    if (source["secretRef"] === undefined) return;
    for (const field of fields) needed(asObject(source["secretRef"]), field, `${path}.secretRef`, faults);
  };

const hostPathTypes = [
  "",
  "BlockDevice",
  "CharDevice",
  "Directory",
  "DirectoryOrCreate",
  "File",
  "FileOrCreate",
  "Socket",
];

const hostPath: SourceCheck = (source, path, faults) => {
  const value = needed(source, "path", path, faults);
  if (value === "") return;
  noBackSteps(value, `${path}.path`, faults);
  oneOfIfSet(source["type"], hostPathTypes, `${path}.type`, faults);
};

const gitRepo: SourceCheck = (source, path, faults) => {
  needed(source, "repository", path, faults);
  descendingPath(asString(source["directory"]), `${path}.directory`, faults);
};

const partition: SourceCheck = (source, path, faults) => {
  const value = asNumber(source["partition"]) ?? 0;
  if (value < 0 || value > 255) faults.invalid(`${path}.partition`, value, "must be between 1 and 255, inclusive");
};

const nfs: SourceCheck = (source, path, faults) => {
  needed(source, "server", path, faults);
  const value = needed(source, "path", path, faults);
  if (!value.startsWith("/")) faults.invalid(`${path}.path`, value, "must be an absolute path");
};

const initiators: readonly (readonly [string, RegExp])[] = [
  ["iqn", /iqn\.\d{4}-\d{2}\.([A-Za-z0-9\-.]+)(:[^,;*&$|\s]+)$/],
  ["eui", /^eui.[A-Za-z0-9]{16}$/],
  ["naa", /^naa.[A-Za-z0-9]{32}$/],
];

/** A name in one of iSCSI's formats; `strange` is said of others. */
function checkInitiator(value: string, path: string, strange: string, faults: Faults): void {
  const format = initiators.find(([prefix]) => value.startsWith(prefix));
  if (format === undefined) faults.invalid(path, value, strange);
  else if (!format[1].test(value)) faults.invalid(path, value, "must be valid format");
}

const iscsi =
  (isPersistent: boolean): SourceCheck =>
  (source, path, faults, owner) => {
    const strange = `must be valid format${isPersistent ? "" : " starting with iqn, eui, or naa"}`;
    const portal = needed(source, "targetPortal", path, faults);
    const tooLong =
      "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
    const isTooLong = source["initiatorName"] !== undefined && `${owner}:${portal}`.length > 64;
    if (isPersistent && isTooLong) faults.invalid(`${path}.targetportal`, portal, tooLong);
    const iqn = needed(source, "iqn", path, faults);
    if (iqn !== "") checkInitiator(iqn, `${path}.iqn`, strange, faults);
    within(source["lun"] ?? 0, [0, 255], `${path}.lun`, faults);
    const isAuthenticated = source["chapAuthDiscovery"] === true || source["chapAuthSession"] === true;
    if (isAuthenticated && source["secretRef"] === undefined) faults.required(`${path}.secretRef`);
    if (isPersistent) secretName("name")(source, path, faults, owner);
    if (source["initiatorName"] !== undefined)
      checkInitiator(asString(source["initiatorName"]), `${path}.initiatorname`, strange, faults);
    if (!isPersistent && isTooLong) faults.invalid(`${path.replace(/\.iscsi$/, "")}.name`, owner, tooLong);
  };

const fibreChannel: SourceCheck = (source, path, faults) => {
  const [targets, ids] = [asList(source["targetWWNs"]), asList(source["wwids"])];
  if (targets.length + ids.length === 0)
    faults.required(`${path}.targetWWNs`, "must specify either targetWWNs or wwids, but not both");
  if (targets.length > 0 && ids.length > 0)
    faults.invalid(`${path}.targetWWNs`, [...targets], "targetWWNs and wwids can not be specified simultaneously");
  if (targets.length === 0) return;
  if (source["lun"] === undefined) faults.required(`${path}.lun`, "lun is required if targetWWNs is specified");
  else within(source["lun"], [0, 255], `${path}.lun`, faults);
};

const isHostPort = (text: string): boolean => /^([^:[\]]*|\[[^[\]]*\]):[^:[\]]*$/.test(text);

const quobyte: SourceCheck = (source, path, faults) => {
  const [registry, tenant] = [asString(source["registry"]), asString(source["tenant"])];
  const words = "must be a host:port pair or multiple pairs separated by commas";
  if (registry === "") faults.required(`${path}.registry`, words);
  else if (tenant.length >= 65)
    faults.required(`${path}.tenant`, "must be a UUID and may not exceed a length of 64 characters");
  else
    for (const pair of registry.split(",")) if (!isHostPort(pair)) faults.invalid(`${path}.registry`, registry, words);
  needed(source, "volume", path, faults);
};

const flocker: SourceCheck = (source, path, faults) => {
  const [name, id] = [asString(source["datasetName"]), asString(source["datasetUUID"])];
  if (name === "" && id === "") faults.required(path, "one of datasetName and datasetUUID is required");
  if (name !== "" && id !== "")
    faults.invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously");
  if (name.includes("/")) faults.invalid(`${path}.datasetName`, name, "must not contain '/'");
};

const flexVolume: SourceCheck = (source, path, faults) => {
  needed(source, "driver", path, faults);
  for (const key of Object.keys(asObject(source["options"]))) {
    const domain = `.${(key.split("/")[0] ?? "").toLowerCase()}`;
    if (domain.endsWith(".kubernetes.io") || domain.endsWith(".k8s.io"))
      faults.invalid(`${path}.options[${key}]`, key, "kubernetes.io and k8s.io namespaces are reserved");
  }
};

const azureDisk: SourceCheck = (source, path, faults) => {
  needed(source, "diskName", path, faults);
  const uri = needed(source, "diskURI", path, faults);
  const kind = source["kind"];
  oneOfIfSet(source["cachingMode"], ["None", "ReadOnly", "ReadWrite"], `${path}.cachingMode`, faults);
  if (kind === undefined) return;
  oneOf(kind, ["Dedicated", "Managed", "Shared"], `${path}.kind`, faults);
  const managed = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
  const blob = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
  if (kind === "Managed" ? !uri.startsWith("/subscriptions/") : !uri.startsWith("https://"))
    faults.unsupported(`${path}.diskURI`, uri, [kind === "Managed" ? managed : blob]);
};

const storageOs =
  (...secret: readonly string[]): SourceCheck =>
  (source, path, faults, owner) => {
    const name = needed(source, "volumeName", path, faults);
    optional(labelFaults, name, `${path}.volumeName`, faults);
    optional(labelFaults, source["volumeNamespace"], `${path}.volumeNamespace`, faults);
    secretName(...secret)(source, path, faults, owner);
  };

/** Checks the name of a CSI driver. */
export function checkDriverName(name: string, path: string, faults: Faults): void {
  if (name === "") faults.required(path);
  if (name.length > 63) faults.tooLong(path, 63);
  for (const fault of subdomainFaults(name.toLowerCase())) faults.invalid(path, name, fault);
}

const inlineCsi: SourceCheck = (source, path, faults) => {
  checkDriverName(asString(source["driver"]), `${path}.driver`, faults);
  if (source["nodePublishSecretRef"] === undefined) return;
  const name = needed(asObject(source["nodePublishSecretRef"]), "name", `${path}.nodePublishSecretRef`, faults);
  optional(subdomainFaults, name, `${path}.name`, faults);
};

const secretReferences = [
  "controllerPublishSecretRef",
  "controllerExpandSecretRef",
  "nodePublishSecretRef",
  "nodeExpandSecretRef",
];

const persistentCsi: SourceCheck = (source, path, faults) => {
  checkDriverName(asString(source["driver"]), `${path}.driver`, faults);
  needed(source, "volumeHandle", path, faults);
  for (const field of secretReferences) {
    if (source[field] === undefined) continue;
    const reference = asObject(source[field]);
    const place = `${path}.${field}`;
    optional(subdomainFaults, needed(reference, "name", place, faults), `${place}.name`, faults);
    optional(labelFaults, needed(reference, "namespace", place, faults), `${place}.namespace`, faults);
  }
};

const glusterfsNamespace: SourceCheck = (source, path, faults) => {
  const namespace = source["endpointsNamespace"];
  if (namespace === undefined) return;
  const place = `${path}.endpointsNamespace`;
  if (namespace === "")
    faults.invalid(place, namespace, "if the endpointnamespace is set, it must be a valid namespace name");
  else follows(labelFaults, asString(namespace), place, faults);
};

const azureFileNamespace: SourceCheck = (source, path, faults) => {
  if (source["secretNamespace"] === "") faults.required(`${path}.secretNamespace`);
};

const local: SourceCheck = (source, path, faults) => {
  const value = needed(source, "path", path, faults);
  noBackSteps(value, `${path}.path`, faults);
};

/** What upstream calls a field in faults of the source, where that is another name than the field's. */
const spelled: Readonly<Record<string, string>> = { gcePersistentDisk: "persistentDisk" };
/** What it calls it where there is one source too many. */
const spelledAsSecond: Readonly<Record<string, string>> = { downwardAPI: "downwarAPI", cephfs: "cephFS" };

const disk = both(needs("volumeID"), partition);
const shared: Readonly<Record<string, SourceCheck>> = {
  hostPath,
  gcePersistentDisk: both(needs("pdName"), partition),
  awsElasticBlockStore: disk,
  nfs,
  flocker,
  rbd: needs("monitors", "image"),
  cephfs: needs("monitors"),
  quobyte,
  fc: fibreChannel,
  flexVolume,
  vsphereVolume: needs("volumePath"),
  photonPersistentDisk: needs("pdID"),
  portworxVolume: needs("volumeID"),
  azureDisk,
  scaleIO: needs("gateway", "system", "volumeName"),
};

/** Sources that pods' volumes may have and that are checked alone, besides those that hold files (`volumes.ts`). */
export const podSources: Readonly<Record<string, SourceCheck>> = {
  ...shared,
  gitRepo,
  iscsi: iscsi(false),
  glusterfs: needs("endpoints", "path"),
  persistentVolumeClaim: needs("claimName"),
  cinder: both(needs("volumeID"), secretName("name")),
  azureFile: needs("secretName", "shareName"),
  storageos: storageOs("name"),
  csi: inlineCsi,
};

/** Sources of PersistentVolumes, in the order in which upstream looks at them. */
export const persistentSources: readonly (readonly [string, SourceCheck])[] = [
  ["hostPath", hostPath],
  ["gcePersistentDisk", both(needs("pdName"), partition)],
  ["awsElasticBlockStore", disk],
  ["glusterfs", both(needs("endpoints", "path"), glusterfsNamespace)],
  ["flocker", flocker],
  ["nfs", nfs],
  ["rbd", needs("monitors", "image")],
  ["quobyte", quobyte],
  ["cephfs", needs("monitors")],
  ["iscsi", iscsi(true)],
  ["cinder", both(needs("volumeID"), secretName("name", "namespace"))],
  ["fc", fibreChannel],
  ["flexVolume", flexVolume],
  ["azureFile", both(needs("secretName", "shareName"), azureFileNamespace)],
  ["vsphereVolume", needs("volumePath")],
  ["photonPersistentDisk", needs("pdID")],
  ["portworxVolume", needs("volumeID")],
  ["azureDisk", azureDisk],
  ["scaleIO", needs("gateway", "system", "volumeName")],
  ["local", local],
  ["storageos", storageOs("name", "namespace")],
  ["csi", persistentCsi],
];

/** Checks the sources that a volume has: one, and that one well. Returns the field of the one that was looked at. */
export function checkSources(
  holder: JsonObject,
  sources: readonly (readonly [string, SourceCheck])[],
  { path, faults, owner }: { readonly path: string; readonly faults: Faults; readonly owner: string },
): string {
  let found = "";
  for (const [field, check] of sources) {
    const source: Json | undefined = holder[field];
    if (source === undefined) continue;
    // Upstream lets these stand beside others.
    if (found !== "" && !(field === "flexVolume" && sources === persistentSources))
      faults.forbidden(`${path}.${spelledAsSecond[field] ?? field}`, "may not specify more than 1 volume type");
    else {
      found = field;
      check(asObject(source), `${path}.${spelled[field] ?? field}`, faults, owner);
    }
  }
  if (found === "") faults.required(path, "must specify a volume type");
  return found;
}
