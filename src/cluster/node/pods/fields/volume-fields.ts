import { type FieldRule, honoured } from "./types.js";

const own = (field: string, note: string): FieldRule => honoured(`volumes[].${field}`, note);

/** Kinds of volumes whose content lies outside of the machine. */
const outside = [
  "awsElasticBlockStore",
  "azureDisk",
  "azureFile",
  "cephfs",
  "cinder",
  "csi",
  "fc",
  "flexVolume",
  "flocker",
  "gcePersistentDisk",
  "glusterfs",
  "iscsi",
  "nfs",
  "photonPersistentDisk",
  "portworxVolume",
  "quobyte",
  "rbd",
  "scaleIO",
  "storageos",
  "vsphereVolume",
];

/** Everything of volumes. */
export const volumeFields: readonly FieldRule[] = [
  own("name", "mounts go by it"),
  own("configMap", "follows changes of the ConfigMap"),
  own("downwardAPI", "fields and resources as files"),
  {
    field: "volumes[].emptyDir.medium",
    value: { text: "`HugePages…`", test: (value) => typeof value === "string" && value.startsWith("HugePages") },
    root: "refused",
    user: "refused",
    note: "this node offers no huge pages; use medium Memory or none",
  },
  own("emptyDir.sizeLimit", "the pod is evicted when there is more in it; looked at every ten seconds"),
  own("emptyDir", "a folder of the pod, on disk or in memory"),
  own("ephemeral", "a claim of the pod's own, by class `local`"),
  {
    field: "volumes[].gitRepo",
    root: "refused",
    user: "refused",
    note: "nothing is cloned; clone into an emptyDir in an init container",
  },
  own("hostPath", "of the machine, but never Argosy's own data"),
  {
    field: "volumes[].image",
    root: "refused",
    user: "refused",
    note: "images are no volumes here; copy from the image into an emptyDir in an init container",
  },
  own("persistentVolumeClaim", "volumes that are folders of this node: class `local`, `local` and `hostPath`"),
  {
    field: "volumes[].projected.sources[].clusterTrustBundle",
    root: "refused",
    user: "refused",
    note: "this cluster has no trust bundles; use a ConfigMap",
  },
  {
    field: "volumes[].projected.sources[].podCertificate",
    root: "refused",
    user: "refused",
    note: "this cluster signs no certificates for pods; use a Secret",
  },
  own("projected", "ConfigMaps, Secrets, fields, tokens (renewed in time)"),
  own("secret", "follows changes of the Secret"),
  ...outside.map(
    (kind): FieldRule => ({
      field: `volumes[].${kind}`,
      root: "refused",
      user: "refused",
      note: "this node mounts no storage from outside; mount it on the machine and use hostPath, or use a claim of class local",
    }),
  ),
];
