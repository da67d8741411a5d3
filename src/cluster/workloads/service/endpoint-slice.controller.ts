import type { ControllerSpec } from "../../../kernel/control/index.js";
import {
  EndpointSliceKind,
  isDeleting,
  NodeKind,
  type Pod,
  PodKind,
  type Service,
  ServiceKind,
} from "../../../kernel/kinds/index.js";
import { endpointsOf, familiesOf, hasSelector, podWatch, selects } from "./endpoints.js";
import {
  type EndpointGroup,
  emptySlice,
  managedByLabel,
  ownSlices,
  placeEndpoints,
  serviceLabel,
  writeSlices,
} from "./slices.js";
import { TriggerTimes } from "./trigger-times.js";

const fieldManager = "endpoint-slice-controller";
const manager = "endpointslice-controller.k8s.io";

/** Keeps EndpointSlices of at most 100 addresses for every Service with a selector. Endpoints stay in the slice they are in. */
export function endpointSliceController(): ControllerSpec<Service> {
  const times = new TriggerTimes();
  return {
    name: fieldManager,
    kind: ServiceKind,
    owns: [EndpointSliceKind],
    watches: [podWatch, { kind: NodeKind, keys: () => [] }],
    async reconcile(_key, service, context) {
      // Slices of a Service that is gone go with their owner; those of one that has no selector any more are left to whoever wants that.
      if (service === undefined || isDeleting(service)) return;
      if (service.spec.type === "ExternalName" || !hasSelector(service)) return;
      const slices = ownSlices(service, manager, context);
      const about = { owner: service, labels: labelsFor(service), fieldManager };
      const { informers } = context.cluster;
      const pods: readonly Pod[] = informers.informer(PodKind).list(service.metadata.namespace ?? "");
      const nodes = informers.informer(NodeKind);
      const zoneOf = (node: string): string | undefined =>
        nodes.get({ namespace: "", name: node })?.metadata.labels?.["topology.kubernetes.io/zone"];
      const selected = pods.filter((pod) => selects(service, pod.metadata.labels));
      const wanted = familiesOf(service).flatMap((family) => {
        const groups = endpointsOf(service, selected, { family, zoneOf }).map((group) => withHints(service, group));
        const placed = placeEndpoints(groups, slices);
        return placed.length > 0 ? placed : [emptySlice(family, slices)];
      });
      const changedAt = times.next(service, selected);
      await writeSlices({ ...about, changedAt }, { wanted, slices }, context);
    },
  };
}

const closeBy = new Set(["PreferClose", "PreferSameZone", "PreferSameNode"]);

/** Says of each ready endpoint for whom it is meant, where a Service wants its traffic kept near. */
function withHints({ spec }: Service, group: EndpointGroup): EndpointGroup {
  const wish = spec.trafficDistribution ?? "";
  if (!closeBy.has(wish)) return group;
  const endpoints = group.endpoints.map((endpoint) => {
    const { conditions, zone, nodeName } = endpoint;
    const forNode = wish === "PreferSameNode" ? nodeName : undefined;
    if (conditions?.ready !== true || (zone ?? forNode) === undefined) return endpoint;
    const forZones = zone === undefined ? {} : { forZones: [{ name: zone }] };
    return { ...endpoint, hints: { ...forZones, ...(forNode === undefined ? {} : { forNodes: [{ name: forNode }] }) } };
  });
  return { ...group, endpoints };
}

function labelsFor(service: Service): Record<string, string> {
  const headless = service.spec.clusterIP === "None" ? { "service.kubernetes.io/headless": "" } : {};
  return {
    ...service.metadata.labels,
    [managedByLabel]: manager,
    [serviceLabel]: service.metadata.name,
    ...headless,
  };
}
