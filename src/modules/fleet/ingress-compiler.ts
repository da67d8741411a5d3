import { checkRoute, type ListenerInput, type RouteInput } from "../../dataplane/gateway/index.js";
import type { InformerSet, ReconcileContext } from "../../kernel/control/index.js";
import {
  EndpointSliceKind,
  type Ingress,
  IngressKind,
  isDeleting,
  type Kind,
  type KubeObject,
  ServiceKind,
} from "../../kernel/kinds/index.js";
import { policiesIn } from "./ingress-policies.js";
import { routesOf, SERVICE_LABEL, servicesOf, weightsIn } from "./ingress-routes.js";
import { ARGOSY } from "./names.js";

const SERVICE_INDEX = "fleet-service-name";
const CLASS = "argosy";
/** The gateway's table is everybody's: a cluster has a part of it, and no Ingress or namespace has all of that. */
const MAX_ROUTES = { ingress: 1_000, namespace: 10_000, cluster: 20_000 } as const;

type Context = ReconcileContext<Ingress>;

/** All routes of the cluster, and what could not become one, by the Ingress' uid. */
export interface Compiled {
  readonly routes: readonly RouteInput[];
  readonly faults: ReadonlyMap<string, readonly string[]>;
}

/** What was made of an Ingress. */
interface Made {
  readonly ingress: Ingress;
  readonly routes: readonly { readonly route: RouteInput; readonly claim: string; readonly fault: string }[];
  readonly faults: readonly string[];
  /** The oldest Ingress first. */
  readonly order: string;
}

/** Whether an Ingress is of our class. */
export function isOurs(ingress: Ingress): boolean {
  return (ingress.spec.ingressClassName ?? ingress.metadata.annotations?.["kubernetes.io/ingress.class"]) === CLASS;
}

/** The Ingresses that name a Service, or the Service of a slice. */
export function ingressesOf(
  service: string | undefined,
  namespace: string | undefined,
  informers: InformerSet,
): Ingress[] {
  const ingresses = informers.informer(IngressKind);
  ingresses.addIndex(SERVICE_INDEX, (ingress) =>
    servicesOf(ingress).map((name) => `${ingress.metadata.namespace ?? ""}/${name}`),
  );
  return [...ingresses.byIndex(SERVICE_INDEX, `${namespace ?? ""}/${service ?? ""}`)];
}

const idOf = ({ metadata }: KubeObject): string => `${metadata.namespace ?? ""}/${metadata.name}`;

/** Makes routes of all Ingresses; those of an Ingress stay the same objects until something changes that they are made from. */
export class RouteCompiler {
  readonly #listener: ListenerInput;
  readonly #context: Context;
  readonly #made = new Map<string, Made>();
  readonly #changed = new Set<string>();
  #inOrder: readonly Made[] = [];

  constructor(listener: ListenerInput, context: Context) {
    this.#listener = listener;
    this.#context = context;
    const { informers } = context.cluster;
    for (const ingress of context.informer.list()) this.#changed.add(idOf(ingress));
    this.#follow(IngressKind, (ingress) => [ingress]);
    this.#follow(ServiceKind, ({ metadata }) => ingressesOf(metadata.name, metadata.namespace, informers));
    this.#follow(EndpointSliceKind, ({ metadata }) =>
      ingressesOf(metadata.labels?.[SERVICE_LABEL], metadata.namespace, informers),
    );
  }

  #follow(kind: Kind, concerned: (object: KubeObject) => readonly KubeObject[]): void {
    const { cluster, signal } = this.#context;
    const stop = cluster.informers.informer(kind).onChange((now, old) => {
      for (const object of [now, old])
        for (const one of object === undefined ? [] : concerned(object)) this.#changed.add(idOf(one));
    });
    signal.addEventListener("abort", stop, { once: true });
  }

  /** Of two Ingresses that claim the same host and path, the older one has it. To be called after a pause: an informer tells one after the other. */
  compile(): Compiled {
    this.#update();
    const owners = new Map<string, Ingress>();
    const shares = new Map<string, number>();
    const routes: RouteInput[] = [];
    const faults = new Map<string, readonly string[]>();
    for (const made of this.#inOrder) {
      const own = [...made.faults];
      const { namespace = "" } = made.ingress.metadata;
      const share = shares.get(namespace) ?? 0;
      const room = Math.min(MAX_ROUTES.ingress, MAX_ROUTES.namespace - share, MAX_ROUTES.cluster - routes.length);
      const before = routes.length;
      for (const { route, claim, fault: flaw } of made.routes) {
        const elder = owners.get(claim);
        const fault = elder === undefined ? flaw : describeElder(route, elder);
        if (fault !== "") own.push(fault);
        else if (routes.length - before < room) {
          owners.set(claim, made.ingress);
          routes.push(route);
        }
      }
      shares.set(namespace, share + routes.length - before);
      if (made.routes.length > room) own.push(describeRoom(made.routes.length, room));
      if (own.length > 0) faults.set(made.ingress.metadata.uid, own);
    }
    return { routes, faults };
  }

  #update(): void {
    for (const id of this.#changed) {
      const [namespace = "", name = ""] = id.split("/");
      const ingress = this.#context.informer.get({ namespace, name });
      if (ingress === undefined || !isOurs(ingress) || isDeleting(ingress)) this.#made.delete(id);
      else this.#made.set(id, this.#make(ingress));
    }
    if (this.#changed.size > 0) this.#inOrder = [...this.#made.values()].sort((a, b) => (a.order < b.order ? -1 : 1));
    this.#changed.clear();
  }

  #make(ingress: Ingress): Made {
    const { namespace = "", name, creationTimestamp, annotations } = ingress.metadata;
    const { fault } = weightsIn(ingress);
    const policies = policiesIn(ingress);
    const isInside = annotations?.[ARGOSY.insideOnly] === "true";
    const routes = isInside ? [] : routesOf(ingress, policies, this.#listener, this.#context);
    return {
      ingress,
      routes: routes.map((route) => ({ route, claim: claimOf(route), fault: checkRoute(route) })),
      faults: [...(fault === undefined ? [] : [fault]), ...policies.faults],
      order: `${creationTimestamp} ${namespace}/${name}`,
    };
  }
}

function describeRoom(wanted: number, room: number): string {
  const { ingress, namespace, cluster } = MAX_ROUTES;
  return `of its ${wanted} routes ${Math.max(0, room)} are carried out: there may be ${ingress} of an Ingress, ${namespace} of a namespace and ${cluster} of a cluster`;
}

function describeElder(route: RouteInput, { metadata }: Ingress): string {
  return `host ${route.hosts?.join() ?? "*"} path ${route.path ?? "/"} belongs to Ingress ${metadata.namespace ?? ""}/${metadata.name}, which is older`;
}

function claimOf(route: RouteInput): string {
  return JSON.stringify([route.hosts, route.exact === true, (route.path ?? "/").replace(/\/+$/, "")]);
}
