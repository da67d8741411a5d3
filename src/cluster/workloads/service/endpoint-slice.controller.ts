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
import { emptySlice, managedByLabel, ownSlices, placeEndpoints, serviceLabel, writeSlices } from "./slices.js";

const fieldManager = "endpoint-slice-controller";
const manager = "endpointslice-controller.k8s.io";

/** Keeps EndpointSlices of at most 100 addresses for every Service with a selector. Endpoints stay in the slice they are in. */
export function endpointSliceController(): ControllerSpec<Service> {
  return {
    name: fieldManager,
    kind: ServiceKind,
    owns: [EndpointSliceKind],
    watches: [podWatch, { kind: NodeKind, keys: () => [] }],
    async reconcile(_key, service, context) {
      // Slices of a Service that is gone go with their owner; those of one without selector are somebody else's.
      if (service === undefined || isDeleting(service)) return;
      const slices = ownSlices(service, manager, context);
      const about = { owner: service, labels: labelsFor(service), fieldManager };
      if (service.spec.type === "ExternalName" || !hasSelector(service)) {
        await writeSlices(about, { wanted: [], slices }, context);
        return;
      }
      const { informers } = context.cluster;
      const pods: readonly Pod[] = informers.informer(PodKind).list(service.metadata.namespace ?? "");
      const nodes = informers.informer(NodeKind);
      const zoneOf = (node: string): string | undefined =>
        nodes.get({ namespace: "", name: node })?.metadata.labels?.["topology.kubernetes.io/zone"];
      const selected = pods.filter((pod) => selects(service, pod.metadata.labels));
      const wanted = familiesOf(service).flatMap((family) => {
        const placed = placeEndpoints(endpointsOf(service, selected, { family, zoneOf }), slices);
        return placed.length > 0 ? placed : [emptySlice(family, slices)];
      });
      await writeSlices(about, { wanted, slices }, context);
    },
  };
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
