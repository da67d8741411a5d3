import type { InformerSet } from "../../../kernel/control/index.js";
import {
  controllerOf,
  isDeleting,
  type Node,
  type PersistentVolume,
  type PersistentVolumeClaim,
  PersistentVolumeClaimKind,
  PersistentVolumeKind,
  type Pod,
  type StorageClass,
  StorageClassKind,
} from "../../../kernel/kinds/index.js";
import { amountOf, isReachable, volumeFor } from "../volume/match.js";
import { finalObstacle, type NodeView, type Obstacle, type Snapshot } from "./snapshot.js";
import type { Change } from "./topology-filters.js";
import { isBound, selectedNode, type VolumePlan } from "./volume-binding.js";

/** Why a pod's volumes keep it from every node, or from one. */
export type VolumeCheck = { readonly everywhere: string } | NodeVolumes;

interface NodeVolumes {
  readonly on: (view: NodeView, change: Change) => Obstacle | undefined;
  /** What is to be done about claims that wait for the node; `undefined` when there is nothing. */
  readonly plan: (node: Node) => VolumePlan | undefined;
}

interface Wanted {
  readonly name: string;
  readonly isEphemeral: boolean;
}

/** The claims that a pod uses, generic ephemeral volumes included. */
function claimsOf(pod: Pod): readonly Wanted[] {
  return (pod.spec.volumes ?? []).flatMap((volume): Wanted[] => {
    const claim = volume.persistentVolumeClaim;
    if (claim !== undefined) return [{ name: claim.claimName, isEphemeral: false }];
    return volume.ephemeral === undefined ? [] : [{ name: `${pod.metadata.name}-${volume.name}`, isEphemeral: true }];
  });
}

/** Checks that claims exist, that there are volumes for them, and that a node is where these lie. */
export function volumeCheck(pod: Pod, snapshot: Snapshot, informers: InformerSet): VolumeCheck {
  const wanted = claimsOf(pod);
  if (wanted.length === 0) return { on: () => undefined, plan: () => undefined };
  const namespace = pod.metadata.namespace ?? "";
  const find = (name: string) => informers.informer(PersistentVolumeClaimKind).get({ namespace, name });
  const fault = claimFault(pod, wanted, find);
  if (fault !== undefined) return { everywhere: fault };
  const claims = wanted.flatMap(({ name }) => find(name) ?? []);
  const unbound = claims.filter((claim) => !isBound(claim)).map((claim) => ({ claim, ...bindingOf(claim, informers) }));
  if (unbound.some(({ mode }) => mode === "immediate"))
    return { everywhere: "pod has unbound immediate PersistentVolumeClaims" };
  const volumes: PersistentVolume[] = [];
  for (const { spec } of claims.filter(isBound)) {
    const volume = informers.informer(PersistentVolumeKind).get({ namespace: "", name: spec.volumeName ?? "" });
    if (volume === undefined) return { everywhere: `persistentvolume "${spec.volumeName}" not found` };
    volumes.push(volume);
  }
  const isTaken = exclusiveCheck(pod, claims, snapshot);
  const plan = planner(unbound, informers);
  const on = (view: NodeView, change: Change): Obstacle | undefined => {
    const { node } = view;
    if (isTaken(change)) return taken;
    const reasons = [
      ...(volumes.every((volume) => isReachable(volume, node))
        ? []
        : ["node(s) didn't match PersistentVolume's node affinity"]),
      ...(plan(node) !== undefined ? [] : ["node(s) didn't find available persistent volumes to bind"]),
    ];
    if (reasons.length > 0) return { reasons, isFinal: true };
    return volumes.every((volume) => isInZone(volume, node))
      ? undefined
      : finalObstacle("node(s) had no available volume zone");
  };
  return {
    on,
    plan(node) {
      const found = plan(node);
      return found === undefined || found.bindings.length + found.provisions.length === 0 ? undefined : found;
    },
  };
}

type Find = (name: string) => PersistentVolumeClaim | undefined;

/** What is wrong with the claims themselves. */
function claimFault(pod: Pod, wanted: readonly Wanted[], find: Find): string | undefined {
  const isMissing = ({ name, isEphemeral }: Wanted): boolean => !isEphemeral && find(name) === undefined;
  const missing = wanted.find(isMissing);
  if (missing !== undefined) return `persistentvolumeclaim "${missing.name}" not found`;
  for (const { name, isEphemeral } of wanted) {
    const claim = find(name);
    if (claim === undefined)
      return `waiting for ephemeral volume controller to create the persistentvolumeclaim "${name}"`;
    if (claim.status?.phase === "Lost")
      return `persistentvolumeclaim "${name}" bound to non-existent persistentvolume "${claim.spec.volumeName ?? ""}"`;
    if (isDeleting(claim)) return `persistentvolumeclaim "${name}" is being deleted`;
    const { namespace } = pod.metadata;
    if (isEphemeral && controllerOf(claim)?.uid !== pod.metadata.uid)
      return `PVC ${namespace}/${name} was not created for pod ${namespace}/${pod.metadata.name} (pod is not owner)`;
  }
  return undefined;
}

/** Made by the cluster's own nodes when a pod comes; see the node agent. */
const localClass = "local";

interface Binding {
  /** How a claim that has no volume yet gets one: before any pod, from what lies ready once the node is known, or from a provisioner then. */
  readonly mode: "immediate" | "static" | "provisioned";
  readonly storageClass?: StorageClass;
}

function bindingOf({ spec }: PersistentVolumeClaim, informers: InformerSet): Binding {
  const name = spec.storageClassName;
  // Somebody promised it a volume: it has only to be bound.
  if ((spec.volumeName ?? "") !== "") return { mode: "immediate" };
  if (name === undefined || name === localClass) return { mode: "provisioned" };
  const storageClass = informers.informer(StorageClassKind).get({ namespace: "", name });
  if (storageClass?.volumeBindingMode !== "WaitForFirstConsumer") return { mode: "immediate" };
  const isStatic = storageClass.provisioner === "kubernetes.io/no-provisioner";
  return { mode: isStatic ? "static" : "provisioned", storageClass };
}

/** How every claim that waits for a node gets a volume there, each one of its own; `undefined` where one gets none. */
function planner(
  unbound: readonly ({ readonly claim: PersistentVolumeClaim } & Binding)[],
  informers: InformerSet,
): (node: Node) => VolumePlan | undefined {
  if (unbound.length === 0) return () => ({ bindings: [], provisions: [] });
  const all = informers.informer(PersistentVolumeKind).list();
  const size = ({ claim }: { readonly claim: PersistentVolumeClaim }): bigint =>
    amountOf(claim.spec.resources?.requests);
  const sorted = unbound.toSorted((a, b) => (size(a) < size(b) ? -1 : size(a) > size(b) ? 1 : 0));
  return (node) => {
    const bindings: { claim: PersistentVolumeClaim; volume: PersistentVolume }[] = [];
    const provisions: PersistentVolumeClaim[] = [];
    for (const { claim, mode, storageClass } of sorted) {
      // Its own nodes make these when the pod is there.
      if (storageClass === undefined) continue;
      const selected = claim.metadata.annotations?.[selectedNode];
      if (selected !== undefined && selected !== node.metadata.name) return undefined;
      const free = all.filter((one) => !bindings.some(({ volume }) => volume === one));
      const volume = selected === undefined ? volumeFor(claim, free, node) : undefined;
      if (volume !== undefined) bindings.push({ claim, volume });
      else if (mode === "provisioned" && isAllowed(storageClass, node)) provisions.push(claim);
      else return undefined;
    }
    return { bindings, provisions };
  };
}

/** Whether a provisioner may make volumes for this node. */
function isAllowed(storageClass: StorageClass, node: Node): boolean {
  const terms = storageClass.allowedTopologies ?? [];
  return (
    terms.length === 0 ||
    terms.some(({ matchLabelExpressions = [] }) =>
      matchLabelExpressions.every(({ key, values }) => values.includes(node.metadata.labels?.[key] ?? "")),
    )
  );
}

const taken: Obstacle = {
  reasons: [
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod",
  ],
  isFinal: false,
};

/** Whether another pod uses a claim that only one may use. */
function exclusiveCheck(
  pod: Pod,
  claims: readonly PersistentVolumeClaim[],
  { nodes }: Snapshot,
): (change: Change) => boolean {
  const names = claims
    .filter(({ spec }) => spec.accessModes?.includes("ReadWriteOncePod") === true)
    .map(({ metadata }) => metadata.name);
  if (names.length === 0) return () => false;
  const uses = (other: Pod): number =>
    other.metadata.namespace === pod.metadata.namespace
      ? claimsOf(other).filter(({ name }) => names.includes(name)).length
      : 0;
  const sum = (pods: readonly Pod[]): number => pods.reduce((total, other) => total + uses(other), 0);
  const all = nodes.flatMap(({ pods }) => pods);
  // Each claim counts once, however many use it.
  const used = names.filter((name) =>
    all.some((other) => uses(other) > 0 && claimsOf(other).some((one) => one.name === name)),
  );
  if (used.length === 0) return () => false;
  return ({ added, removed }) => used.length + sum(added) - sum(removed) > 0;
}

const zone = "topology.kubernetes.io/zone";
const region = "topology.kubernetes.io/region";
/** Labels that say where a volume lies, with the name that they got later. */
const zoneLabels: ReadonlyMap<string, string> = new Map([
  ["failure-domain.beta.kubernetes.io/zone", zone],
  ["failure-domain.beta.kubernetes.io/region", region],
  [zone, zone],
  [region, region],
]);

/** Whether a volume that is labelled with its zone is in the node's; nodes without such labels are in all. */
function isInZone({ metadata }: PersistentVolume, node: Node): boolean {
  const labels = node.metadata.labels ?? {};
  if (![...zoneLabels.keys()].some((key) => labels[key] !== undefined)) return true;
  return [...zoneLabels].every(([key, later]) => {
    const zones = metadata.labels?.[key]?.split("__");
    const own = labels[key] ?? labels[later];
    return zones === undefined || (own !== undefined && zones.includes(own));
  });
}
