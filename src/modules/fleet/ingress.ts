import type { GatewayDriver, ListenerInput } from "../../dataplane/gateway/index.js";
import { type ControllerSpec, type Key, type ReconcileContext, syncStatus } from "../../kernel/control/index.js";
import {
  EndpointSliceKind,
  type Ingress,
  IngressKind,
  isDeleting,
  type KubeObject,
  ServiceKind,
} from "../../kernel/kinds/index.js";
import { derivedFrom } from "./derived.js";
import { type Built, GatewayWriter } from "./gateway-writer.js";
import { type Compiled, ingressesOf, isOurs, RouteCompiler } from "./ingress-compiler.js";
import { DoorPorts, Doors, throughOf } from "./ingress-doors.js";
import { policiesIn } from "./ingress-policies.js";
import { routesOf, SERVICE_LABEL } from "./ingress-routes.js";

const NAME = "ingress-controller";
/** Ingresses that are looked at together share one look at the table. */
const MANY = 64;

/** What an ingress controller works with. */
export interface IngressOptions {
  readonly gateway: GatewayDriver;
  /** The listener of this cluster's ingress. */
  readonly listener: ListenerInput;
  /** Address by which the cluster's pods reach what the gateway listens on; absent: not known. */
  readonly insideAddress?: string | undefined;
  /** Shared by all clusters of the gateway; absent: this is the only one. */
  readonly doorPorts?: DoorPorts;
}

type Context = ReconcileContext<Ingress>;

/** What lasts from one look to the next. */
interface Worker {
  readonly context: Context;
  readonly writer: GatewayWriter<Compiled>;
  readonly doors: Doors;
}

function startWorker({ listener, gateway, insideAddress, doorPorts }: IngressOptions, context: Context): Worker {
  const doors = new Doors({
    gateway,
    listener,
    address: insideAddress,
    ports: doorPorts ?? new DoorPorts(),
    routesOf: (ingress, door, at) => routesOf(ingress, policiesIn(ingress), door, at),
  });
  const compiler = new RouteCompiler(listener, context);
  const kinds = [IngressKind, ServiceKind, EndpointSliceKind];
  const compiled = derivedFrom(context.cluster.informers, kinds, context.signal, () => compiler.compile());
  const build = (): Built<Compiled> => {
    const from = compiled();
    const inside = doors.part(context);
    const part = { listeners: [listener, ...inside.listeners], routes: [...from.routes, ...inside.routes] };
    return { part, from };
  };
  const source = `ingress-${context.cluster.name}`;
  return { context, doors, writer: new GatewayWriter(gateway, context.clock, source, build) };
}

/** Carries the Ingresses of class `argosy` of one cluster out: host and path to the ready pods of a Service. */
export function ingressController(options: IngressOptions): ControllerSpec<Ingress> {
  const { listener } = options;
  let worker: Worker | undefined;
  return {
    name: NAME,
    kind: IngressKind,
    concurrency: MANY,
    watches: [
      {
        kind: ServiceKind,
        keys: (service, informers) => [
          ...ingressesOf(service.metadata.name, service.metadata.namespace, informers).map(keyOf),
          ...throughOf(service, informers),
        ],
      },
      {
        kind: EndpointSliceKind,
        keys: (slice, informers) => [
          ...ingressesOf(slice.metadata.labels?.[SERVICE_LABEL], slice.metadata.namespace, informers).map(keyOf),
          ...throughOf(slice, informers),
        ],
      },
    ],
    async reconcile(key, ingress, context) {
      if (worker === undefined || worker.context.signal.aborted) worker = startWorker(options, context);
      const inForce = await worker.writer.flush();
      const isCarried = ingress !== undefined && !isDeleting(ingress) && isOurs(ingress);
      const againMs = await worker.doors.tend(key, isCarried ? ingress : undefined, context);
      const result = againMs === undefined ? undefined : { requeueAfterMs: againMs };
      if (!isCarried) return result;
      if ((ingress.spec.tls ?? []).length > 0) {
        const message = "spec.tls is not carried out: this cluster's ingress has one certificate for its listener";
        context.events.record(ingress, "Warning", "TLSIgnored", message);
      }
      for (const message of inForce.faults.get(ingress.metadata.uid) ?? []) {
        context.events.record(ingress, "Warning", "RouteRefused", message);
      }
      const status = {
        loadBalancer: { ingress: [{ ip: listener.host, ports: [{ port: listener.port, protocol: "TCP" }] }] },
      };
      await syncStatus(context.cluster.client.resource(IngressKind), ingress, status, NAME);
      return result;
    },
  };
}

function keyOf(object: KubeObject): Key {
  return { namespace: object.metadata.namespace ?? "", name: object.metadata.name };
}
