import type { Endpoint, EndpointPort } from "kubernetes-types/discovery/v1.js";
import type { ReconcileContext } from "../../../kernel/control/index.js";
import { isNotFound } from "../../../kernel/errors/index.js";
import {
  type EndpointSlice,
  EndpointSliceKind,
  isDeleting,
  type KubeObject,
  ownerReferenceTo,
} from "../../../kernel/kinds/index.js";

/** Says which controller keeps a slice. */
export const managedByLabel = "endpointslice.kubernetes.io/managed-by";
/** Says to which Service a slice belongs. */
export const serviceLabel = "kubernetes.io/service-name";
/** When what a slice says last changed. */
export const changeTime = "endpoints.kubernetes.io/last-change-trigger-time";
const maxEndpoints = 100;

/** Endpoints that are reached at the same ports; they share slices. */
export interface EndpointGroup {
  readonly addressType: "IPv4" | "IPv6";
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly Endpoint[];
}

/** Whose slices, and how they are marked. */
export interface SliceOwner {
  readonly owner: KubeObject;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly fieldManager: string;
  /** Of the change that is written, where it is known. */
  readonly changedAt: string | undefined;
}

type Context = Pick<ReconcileContext<KubeObject>, "cluster">;

/** The slices of a Service that `manager` keeps for `owner`. */
export function ownSlices(owner: KubeObject, manager: string, { cluster }: Context): EndpointSlice[] {
  const { namespace = "", name, uid } = owner.metadata;
  return cluster.informers
    .informer(EndpointSliceKind)
    .list(namespace)
    .filter(
      ({ metadata }) =>
        metadata.labels?.[serviceLabel] === name &&
        metadata.labels[managedByLabel] === manager &&
        !isDeleting({ metadata }) &&
        metadata.ownerReferences?.some((reference) => reference.uid === uid),
    );
}

/** A slice as it should be; `slice` is the one that becomes it, absent for a new one. */
export interface WantedSlice extends EndpointGroup {
  readonly slice?: EndpointSlice;
}

/** Shares the endpoints out over slices of at most 100: those that are there keep theirs, new ones fill gaps, then new slices. */
export function placeEndpoints(
  groups: readonly EndpointGroup[],
  slices: readonly EndpointSlice[],
): readonly WantedSlice[] {
  const free = new Set(slices);
  return groups.flatMap((group) => {
    const mine = slices.filter(
      (slice) =>
        slice.addressType === group.addressType && samePorts(slice.ports ?? [], group.ports) && free.delete(slice),
    );
    return fill(group, mine);
  });
}

/** An empty slice says "nobody" where no slice would say "unknown". */
export function emptySlice(addressType: "IPv4" | "IPv6", slices: readonly EndpointSlice[]): WantedSlice {
  const kept = slices.find((slice) => slice.addressType === addressType);
  return { addressType, ports: [], endpoints: [], ...(kept === undefined ? {} : { slice: kept }) };
}

function fill({ addressType, ports, endpoints }: EndpointGroup, slices: readonly EndpointSlice[]): WantedSlice[] {
  const rest = new Map(endpoints.map((endpoint) => [idOf(endpoint), endpoint]));
  const filled: (Omit<WantedSlice, "endpoints"> & { endpoints: Endpoint[] })[] = slices.map((slice) => {
    const kept = (slice.endpoints ?? []).flatMap((endpoint) => {
      const now = rest.get(idOf(endpoint));
      rest.delete(idOf(endpoint));
      return now === undefined ? [] : [now];
    });
    return { slice, addressType, ports, endpoints: kept };
  });
  for (const endpoint of rest.values()) {
    let target = filled.find((slice) => slice.endpoints.length < maxEndpoints);
    if (target === undefined) {
      target = { addressType, ports, endpoints: [] };
      filled.push(target);
    }
    target.endpoints.push(endpoint);
  }
  return filled.filter((slice) => slice.endpoints.length > 0);
}

function idOf(endpoint: Endpoint): string {
  return `${endpoint.targetRef?.uid ?? ""}/${endpoint.addresses[0] ?? ""}`;
}

function samePorts(left: readonly EndpointPort[], right: readonly EndpointPort[]): boolean {
  const text = (ports: readonly EndpointPort[]) =>
    JSON.stringify(
      ports.map(({ name: label, port, protocol, appProtocol }) => [label ?? "", port, protocol ?? "TCP", appProtocol]),
    );
  return text(left) === text(right);
}

/** Makes the slices that there are be those that are wanted. */
export async function writeSlices(
  { owner, labels, annotations = {}, fieldManager, changedAt }: SliceOwner,
  { wanted, slices }: { readonly wanted: readonly WantedSlice[]; readonly slices: readonly EndpointSlice[] },
  context: Context,
): Promise<void> {
  const calls = context.cluster.client.resource(EndpointSliceKind);
  const { namespace = "", name } = owner.metadata;
  const notes = { ...annotations, ...(changedAt === undefined ? {} : { [changeTime]: changedAt }) };
  const used = new Set(wanted.map(({ slice }) => slice?.metadata.uid));
  for (const { slice, addressType, ports, endpoints } of wanted) {
    const content = { addressType, endpoints: [...endpoints], ports: [...ports] };
    if (slice === undefined) {
      const metadata = {
        generateName: `${name}-`,
        namespace,
        labels: { ...labels },
        ...(Object.keys(notes).length === 0 ? {} : { annotations: notes }),
        ownerReferences: [ownerReferenceTo(owner)],
      };
      await calls.create(
        { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", metadata, ...content },
        { namespace, fieldManager },
      );
    } else if (!isSame(slice, content, labels)) {
      const { [changeTime]: _before, ...kept } = slice.metadata.annotations ?? {};
      const metadata = { ...slice.metadata, labels: { ...labels }, annotations: { ...kept, ...notes } };
      await calls.update({ ...slice, metadata, ...content }, { namespace, fieldManager });
    }
  }
  for (const slice of slices.filter(({ metadata }) => !used.has(metadata.uid))) await remove(slice, context);
}

async function remove({ metadata }: EndpointSlice, { cluster }: Context): Promise<void> {
  const { name, namespace = "", uid } = metadata;
  try {
    await cluster.client.resource(EndpointSliceKind).delete(name, { namespace, preconditions: { uid } });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

function isSame(
  slice: EndpointSlice,
  content: { endpoints: Endpoint[]; ports: EndpointPort[] },
  labels: Readonly<Record<string, string>>,
): boolean {
  if (!samePorts(slice.ports ?? [], content.ports)) return false;
  const text = (endpoints: readonly Endpoint[]) =>
    JSON.stringify(
      endpoints.map(({ addresses, conditions, targetRef, nodeName, zone, hostname, hints }) => [
        addresses,
        conditions?.ready,
        conditions?.serving,
        conditions?.terminating,
        targetRef?.uid,
        nodeName,
        zone,
        hostname,
        JSON.stringify(hints),
      ]),
    );
  if (text(slice.endpoints ?? []) !== text(content.endpoints)) return false;
  const given = slice.metadata.labels ?? {};
  const keys = new Set([...Object.keys(given), ...Object.keys(labels)]);
  return [...keys].every((key) => given[key] === labels[key]);
}
