import type { Endpoint, EndpointPort } from "kubernetes-types/discovery/v1.js";
import type { ControllerSpec, Key, ReconcileContext } from "../../../kernel/control/index.js";
import { isNotFound } from "../../../kernel/errors/index.js";
import {
  type EndpointSlice,
  EndpointSliceKind,
  isDeleting,
  ownerReferenceTo,
  type Pod,
  PodKind,
  type Service,
  ServiceKind,
  timeOf,
} from "../../../kernel/kinds/index.js";
import { type EndpointGroup, endpointsOf } from "./endpoints.js";

const name = "endpoint-slice-controller";
const managedBy = { "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io" };
const serviceLabel = "kubernetes.io/service-name";
const changeTime = "endpoints.kubernetes.io/last-change-trigger-time";
const maxEndpoints = 100;

/** Keeps EndpointSlices of at most 100 addresses for every Service with a selector. Endpoints stay in the slice they are in. */
export function endpointSliceController(): ControllerSpec<Service> {
  return {
    name,
    kind: ServiceKind,
    owns: [EndpointSliceKind],
    watches: [
      {
        kind: PodKind,
        keys: (pod, informers) => {
          const services = informers.informer(ServiceKind).list(pod.metadata.namespace ?? "");
          return services.filter((service) => selects(service, pod.metadata.labels)).map(keyOf);
        },
      },
    ],
    async reconcile(_key, service, context) {
      // Slices of a Service that is gone go with their owner.
      if (service === undefined || isDeleting(service)) return;
      const slices = ownSlices(service, context);
      if (service.spec.type === "ExternalName" || !hasSelector(service)) {
        await write({ service, context, wanted: [], slices: hasSelector(service) ? slices : [] });
        return;
      }
      const pods: readonly Pod[] = context.cluster.informers.informer(PodKind).list(service.metadata.namespace ?? "");
      const selected = pods.filter((pod) => selects(service, pod.metadata.labels));
      await write({ service, context, slices, wanted: place(endpointsOf(service, selected), slices) });
    },
  };
}

function keyOf({ metadata }: Service): Key {
  return { namespace: metadata.namespace ?? "", name: metadata.name };
}

function hasSelector(service: Service): boolean {
  return Object.keys(service.spec.selector ?? {}).length > 0;
}

function selects(service: Service, labels: Readonly<Record<string, string>> = {}): boolean {
  return (
    hasSelector(service) && Object.entries(service.spec.selector ?? {}).every(([key, value]) => labels[key] === value)
  );
}

function ownSlices(service: Service, { cluster }: ReconcileContext<Service>): EndpointSlice[] {
  const informer = cluster.informers.informer(EndpointSliceKind);
  return informer
    .list(service.metadata.namespace ?? "")
    .filter(({ metadata }) => metadata.labels?.[serviceLabel] === service.metadata.name && !isDeleting({ metadata }))
    .filter(({ metadata }) => metadata.ownerReferences?.some((owner) => owner.uid === service.metadata.uid));
}

/** A slice as it should be; `slice` is the one that becomes it, absent for a new one. */
interface Wanted {
  readonly slice?: EndpointSlice;
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly Endpoint[];
}

/** Shares the endpoints out over slices: those that are there keep theirs, new ones fill gaps, then new slices. */
function place(groups: readonly EndpointGroup[], slices: readonly EndpointSlice[]): Wanted[] {
  const free = new Set(slices);
  const wanted = groups.flatMap((group) => {
    const mine = slices.filter((slice) => samePorts(slice.ports ?? [], group.ports) && free.delete(slice));
    return fill(group, mine);
  });
  if (wanted.length > 0) return wanted;
  // An empty slice says "nobody" where no slice would say "unknown".
  const [kept] = slices;
  return [{ ports: [], endpoints: [], ...(kept === undefined ? {} : { slice: kept }) }];
}

function fill({ ports, endpoints }: EndpointGroup, slices: readonly EndpointSlice[]): Wanted[] {
  const rest = new Map(endpoints.map((endpoint) => [idOf(endpoint), endpoint]));
  const filled: { slice?: EndpointSlice; ports: readonly EndpointPort[]; endpoints: Endpoint[] }[] = slices.map(
    (slice) => {
      const kept = (slice.endpoints ?? []).flatMap((endpoint) => {
        const now = rest.get(idOf(endpoint));
        rest.delete(idOf(endpoint));
        return now === undefined ? [] : [now];
      });
      return { slice, ports, endpoints: kept };
    },
  );
  for (const endpoint of rest.values()) {
    let target = filled.find((slice) => slice.endpoints.length < maxEndpoints);
    if (target === undefined) {
      target = { ports, endpoints: [] };
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

interface Write {
  readonly service: Service;
  readonly context: ReconcileContext<Service>;
  readonly wanted: readonly Wanted[];
  readonly slices: readonly EndpointSlice[];
}

async function write({ service, context, wanted, slices }: Write): Promise<void> {
  const calls = context.cluster.client.resource(EndpointSliceKind);
  const namespace = service.metadata.namespace ?? "";
  const labels = labelsFor(service);
  const annotations = { [changeTime]: timeOf(context.clock.now()) };
  const used = new Set(wanted.map(({ slice }) => slice?.metadata.uid));
  for (const { slice, ports, endpoints } of wanted) {
    const content = { addressType: "IPv4", endpoints: [...endpoints], ports: [...ports] };
    if (slice === undefined) {
      const metadata = {
        generateName: `${service.metadata.name}-`,
        namespace,
        labels,
        annotations,
        ownerReferences: [ownerReferenceTo(service)],
      };
      await calls.create(
        { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", metadata, ...content },
        { namespace, fieldManager: name },
      );
    } else if (!isSame(slice, content, labels)) {
      const metadata = { ...slice.metadata, labels, annotations: { ...slice.metadata.annotations, ...annotations } };
      await calls.update({ ...slice, metadata, ...content }, { namespace, fieldManager: name });
    }
  }
  for (const slice of slices.filter(({ metadata }) => !used.has(metadata.uid))) await remove(context, slice);
}

async function remove({ cluster }: ReconcileContext<Service>, { metadata }: EndpointSlice): Promise<void> {
  const preconditions = { uid: metadata.uid };
  try {
    await cluster.client
      .resource(EndpointSliceKind)
      .delete(metadata.name, { namespace: metadata.namespace ?? "", preconditions });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

function labelsFor(service: Service): Record<string, string> {
  const headless = service.spec.clusterIP === "None" ? { "service.kubernetes.io/headless": "" } : {};
  return { ...service.metadata.labels, ...managedBy, [serviceLabel]: service.metadata.name, ...headless };
}

function isSame(
  slice: EndpointSlice,
  content: { endpoints: Endpoint[]; ports: EndpointPort[] },
  labels: Record<string, string>,
): boolean {
  if (!samePorts(slice.ports ?? [], content.ports)) return false;
  const text = (endpoints: readonly Endpoint[]) =>
    JSON.stringify(
      endpoints.map(({ addresses, conditions, targetRef, nodeName, hostname }) => [
        addresses,
        conditions?.ready,
        conditions?.serving,
        conditions?.terminating,
        targetRef?.uid,
        nodeName,
        hostname,
      ]),
    );
  if (text(slice.endpoints ?? []) !== text(content.endpoints)) return false;
  const given = slice.metadata.labels ?? {};
  const keys = new Set([...Object.keys(given), ...Object.keys(labels)]);
  return [...keys].every((key) => given[key] === labels[key]);
}
