import type { EndpointAddress, EndpointPort, EndpointSubset } from "kubernetes-types/core/v1.js";
import type { ControllerSpec, ReconcileContext } from "../../../kernel/control/index.js";
import { isAlreadyExists } from "../../../kernel/errors/index.js";
import {
  type Endpoints,
  EndpointsKind,
  isConditionTrue,
  isDeleting,
  type Pod,
  PodKind,
  type Service,
  ServiceKind,
} from "../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";
import { isTerminal } from "../shared/pods.js";
import { addressOf, familiesOf, hasSelector, hostnameOf, podWatch, portsFor, selects } from "./endpoints.js";
import { changeTime } from "./slices.js";
import { TriggerTimes } from "./trigger-times.js";

const fieldManager = "endpoint-controller";
const managedBy = { "endpoints.kubernetes.io/managed-by": "endpoint-controller" };
const headlessLabel = "service.kubernetes.io/headless";
const overCapacity = "endpoints.kubernetes.io/over-capacity";
const maxAddresses = 1000;

/** Keeps the Endpoints of Services with a selector: the old form of EndpointSlices, which older clients still read. */
export function endpointsController(): ControllerSpec<Service> {
  const times = new TriggerTimes();
  return {
    name: fieldManager,
    kind: ServiceKind,
    watches: [
      podWatch,
      { kind: EndpointsKind, keys: ({ metadata }) => [{ namespace: metadata.namespace ?? "", name: metadata.name }] },
    ],
    async reconcile({ namespace, name }, service, { cluster }) {
      const resource = cluster.client.resource(EndpointsKind);
      const found = cluster.informers.informer(EndpointsKind).get({ namespace, name });
      if (service === undefined) {
        const isOurs = found?.metadata.labels?.["endpoints.kubernetes.io/managed-by"] === fieldManager;
        if (isOurs) await resource.delete(name, { namespace, preconditions: { uid: found.metadata.uid } });
        return;
      }
      if (isDeleting(service) || !hasSelector(service) || service.spec.type === "ExternalName") return;
      const pods = cluster.informers.informer(PodKind).list(namespace);
      const selected = pods.filter((pod) => selects(service, pod.metadata.labels));
      const headless = service.spec.clusterIP === "None" ? { [headlessLabel]: "" } : {};
      const labels = { ...service.metadata.labels, ...managedBy, ...headless };
      const changedAt = times.next(service, selected);
      const wanted = { ...subsetsOf(service, selected), labels, changedAt };
      if (found !== undefined && isSame(found, wanted)) return;
      await writeEndpoints(service, { found, wanted }, { cluster });
    },
  };
}

async function writeEndpoints(
  { metadata: { namespace = "", name } }: Service,
  { found, wanted }: { readonly found: Endpoints | undefined; readonly wanted: Wanted },
  { cluster }: Pick<ReconcileContext<Service>, "cluster">,
): Promise<void> {
  const resource = cluster.client.resource(EndpointsKind);
  const { [overCapacity]: _cut, [changeTime]: _before, ...kept } = found?.metadata.annotations ?? {};
  const annotations = {
    ...kept,
    ...(wanted.changedAt === undefined ? {} : { [changeTime]: wanted.changedAt }),
    ...(wanted.isCut ? { [overCapacity]: "truncated" } : {}),
  };
  const labels = { ...wanted.labels };
  const subsets = [...wanted.subsets];
  const options = { namespace, fieldManager };
  if (found !== undefined) {
    await resource.update({ ...found, metadata: { ...found.metadata, labels, annotations }, subsets }, options);
    return;
  }
  const metadata = { name, namespace, labels, annotations };
  try {
    await resource.create({ apiVersion: "v1", kind: "Endpoints", metadata, subsets }, options);
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}

interface Wanted {
  readonly labels: Readonly<Record<string, string>>;
  readonly subsets: readonly EndpointSubset[];
  readonly isCut: boolean;
  readonly changedAt: string | undefined;
}

function isSame({ metadata, subsets = [] }: Endpoints, wanted: Wanted): boolean {
  return (
    equalJson(toJson(subsets), toJson(wanted.subsets)) &&
    equalJson(toJson(metadata.labels ?? {}), toJson(wanted.labels)) &&
    (metadata.annotations?.[overCapacity] !== undefined) === wanted.isCut
  );
}

interface Entry {
  readonly address: EndpointAddress;
  readonly isReady: boolean;
  readonly ports: readonly EndpointPort[];
}

/** Addresses by the ports that they share; ready ones first when there are more than an object should hold. */
function subsetsOf(
  service: Service,
  pods: readonly Pod[],
): { readonly subsets: readonly EndpointSubset[]; readonly isCut: boolean } {
  const entries = pods.flatMap((pod) => entryOf(service, pod));
  const ordered = entries.toSorted(
    (a, b) => Number(b.isReady) - Number(a.isReady) || (a.address.ip < b.address.ip ? -1 : 1),
  );
  const groups = new Map<string, { ready: EndpointAddress[]; unready: EndpointAddress[]; ports: EndpointPort[] }>();
  for (const { address, isReady, ports } of ordered.slice(0, maxAddresses)) {
    const id = JSON.stringify(ports);
    const group = groups.get(id) ?? { ready: [], unready: [], ports: [...ports] };
    groups.set(id, group);
    (isReady ? group.ready : group.unready).push(address);
  }
  const subsets = [...groups.values()].map(({ ready, unready, ports }) => ({
    ...(ready.length > 0 ? { addresses: ready } : {}),
    ...(unready.length > 0 ? { notReadyAddresses: unready } : {}),
    ...(ports.length > 0 ? { ports } : {}),
  }));
  return { subsets, isCut: ordered.length > maxAddresses };
}

function entryOf(service: Service, pod: Pod): readonly Entry[] {
  const takesAll = service.spec.publishNotReadyAddresses === true;
  const ip = addressOf(pod, familiesOf(service)[0] ?? "IPv4");
  if (ip === undefined || isTerminal(pod) || (isDeleting(pod) && !takesAll)) return [];
  const ports = portsFor(service, pod).map(({ name = "", port, protocol = "TCP", appProtocol }) => ({
    ...(name === "" ? {} : { name }),
    port,
    protocol,
    ...(appProtocol === undefined ? {} : { appProtocol }),
  }));
  if (ports.length === 0 && (service.spec.ports ?? []).length > 0) return [];
  const { namespace = "", name, uid } = pod.metadata;
  const hostname = hostnameOf(service, pod);
  const address = {
    ip,
    ...(hostname === undefined ? {} : { hostname }),
    ...(pod.spec.nodeName === undefined ? {} : { nodeName: pod.spec.nodeName }),
    targetRef: { kind: "Pod", namespace, name, uid },
  };
  return [{ address, isReady: takesAll || isConditionTrue(pod.status?.conditions, "Ready"), ports }];
}
