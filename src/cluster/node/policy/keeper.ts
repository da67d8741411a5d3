import type { Clock, Random } from "../../../kernel/clock/index.js";
import { type ClusterAccess, createEventRecorder, type OwnedEventRecorder } from "../../../kernel/control/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import {
  type KubeObject,
  NamespaceKind,
  type NetworkPolicy,
  NetworkPolicyKind,
  type Pod,
  PodKind,
  type Service,
} from "../../../kernel/kinds/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import { equalJson } from "../../../kernel/schema/index.js";
import type { PodNetwork } from "../network/types.js";
import { callersOf, looksElsewhere, notEnforced, type PolicyWorld } from "./callers.js";

/** What the keeper of one cluster needs. */
export interface PolicyKeeperOptions {
  /** Needs to read Pods, Namespaces and NetworkPolicies and to write Events. */
  readonly cluster: ClusterAccess;
  /** Started by its owner. */
  readonly network: PodNetwork;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Keeps pods from others as the NetworkPolicies of a cluster say. */
export interface PolicyKeeper {
  /** Resolves when what was there is carried out. */
  start(): Promise<void>;
  /** Why a connection by a Service from an address to a pod's, or to a gateway before pods, is refused, in words; absent: it is let through. */
  refusal(from: string, to: string, service: Service): string | undefined;
  close(): Promise<void>;
}

/** Of a Service that leads to a gateway rather than to its pods. */
const throughAnnotation = "argosy.dev/through-ingress";

const BY_UID = "uid";

/** A pod that is guarded. */
interface Guard {
  readonly namespace: string;
  readonly callers: ReadonlySet<string>;
  /** The addresses that its network was told. */
  readonly told: string;
}

/** Carries NetworkPolicies out for pods on this machine: who may come in, not on which ports, and not what goes out. */
export function createPolicyKeeper(options: PolicyKeeperOptions): PolicyKeeper {
  return new Keeper(options);
}

class Keeper implements PolicyKeeper {
  readonly #options: PolicyKeeperOptions;
  readonly #events: OwnedEventRecorder;
  readonly #stops: (() => void)[] = [];
  readonly #guards = new Map<string, Guard>();
  /** Namespaces with policies, and what holds in each. */
  readonly #spaces = new Map<string, { readonly pods: ReadonlySet<string>; readonly looksElsewhere: boolean }>();
  /** Namespaces that are to be looked at: a change in one concerns its own policies, and those that look elsewhere. */
  readonly #dirty = new Set<string>();
  /** Those where something could not be carried out: tried again with the next change. */
  readonly #failed = new Set<string>();
  /** Who may call a gateway that stands before pods, by Service. */
  readonly #gateways = new Map<string, ReadonlySet<string> | "all">();
  #working: Promise<void> | undefined;
  #closed = false;

  constructor(options: PolicyKeeperOptions) {
    this.#options = options;
    const { clock, random, log, cluster } = options;
    this.#events = createEventRecorder({ client: cluster.client, clock, random, log, component: "network-policies" });
  }

  async start(): Promise<void> {
    const { informers } = this.#options.cluster;
    const policies = informers.informer(NetworkPolicyKind);
    const [pods, namespaces] = [informers.informer(PodKind), informers.informer(NamespaceKind)];
    pods.addIndex(BY_UID, ({ metadata }) => [metadata.uid]);
    await Promise.all([policies.synced(), pods.synced(), namespaces.synced()]);
    this.#stops.push(
      policies.onChange((now, old) => {
        if (now !== undefined && now.metadata.generation !== old?.metadata.generation) this.#tell(now);
        this.#look(now ?? old);
      }),
      // A pod's status says many things; here only its address counts.
      pods.onChange((now, old) => {
        if (now === undefined || old === undefined || !isAlike(now, old)) this.#look(now ?? old, true);
      }),
      // Its labels count elsewhere.
      namespaces.onChange((now, old) => {
        if (!equalJson(now?.metadata.labels ?? {}, old?.metadata.labels ?? {})) this.#look(undefined, true);
      }),
    );
    for (const policy of policies.list()) {
      this.#tell(policy);
      this.#look(policy);
    }
    await this.#working;
  }

  refusal(from: string, to: string, service: Service): string | undefined {
    const { network, cluster } = this.#options;
    const [caller, called] = [network.podAt(from), network.podAt(to)];
    if (caller === undefined || caller === called) return undefined;
    const callers = called === undefined ? this.#callersOfGateway(service) : this.#guards.get(called)?.callers;
    if (callers === undefined || callers.has(caller)) return undefined;
    const [pod] = cluster.informers.informer(PodKind).byIndex(BY_UID, caller);
    return `connections from pods of ${pod === undefined ? "other clusters" : `namespace ${pod.metadata.namespace ?? ""}`} are refused, as NetworkPolicies say (kubectl get networkpolicies)`;
  }

  /** A gateway stands before the pods of a Service, if any run: whoever may call a pod with the Service's labels may call it. */
  #callersOfGateway(service: Service): ReadonlySet<string> | undefined {
    const { annotations, uid, resourceVersion, namespace = "" } = service.metadata;
    if (annotations?.[throughAnnotation] === undefined || !this.#spaces.has(namespace)) return undefined;
    const key = `${uid}/${resourceVersion}`;
    const known = this.#gateways.get(key);
    if (known !== undefined) return known === "all" ? undefined : known;
    const stand: Pod = {
      ...{ apiVersion: "v1", kind: "Pod", spec: { containers: [] } },
      metadata: { ...service.metadata, uid: key },
    };
    const world = this.#world();
    const policies = this.#options.cluster.informers.informer(NetworkPolicyKind).list(namespace);
    const podsIn = (of: string): readonly Pod[] => [...world.podsIn(of), ...(of === namespace ? [stand] : [])];
    const callers = callersOf(policies, { ...world, podsIn }).get(key);
    this.#gateways.set(key, callers ?? "all");
    return callers;
  }

  #world(): PolicyWorld {
    const { informers } = this.#options.cluster;
    const pods = informers.informer(PodKind);
    return {
      podsIn: (namespace) => pods.list(namespace),
      pods: () => pods.list(),
      namespaces: () => informers.informer(NamespaceKind).list(),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const stop of this.#stops) stop();
    await this.#working;
    await this.#events.close();
  }

  /** Something changed; `counts`: for policies of other namespaces too. */
  #look(changed: KubeObject | undefined, counts = false): void {
    if (changed !== undefined) this.#dirty.add(changed.metadata.namespace ?? "");
    if (counts) for (const [name, space] of this.#spaces) if (space.looksElsewhere) this.#dirty.add(name);
    for (const name of this.#failed) this.#dirty.add(name);
    this.#failed.clear();
    if (this.#closed) return;
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
    });
  }

  async #work(): Promise<void> {
    // One turn later, so that changes that come together are seen together.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#dirty.size > 0 && !this.#closed) {
      const names = [...this.#dirty];
      this.#dirty.clear();
      this.#gateways.clear();
      // What is refused at addresses of Services holds at once, everywhere.
      const changes = names.flatMap((name) => this.#settle(name));
      await Promise.all(changes.map(([uid, ips]) => this.#guard(uid, ips)));
    }
  }

  /** Says who may call the pods of a namespace; returns for which of them their network is to be told. */
  #settle(namespace: string): (readonly [string, readonly string[] | undefined])[] {
    const { informers } = this.#options.cluster;
    const policies = informers.informer(NetworkPolicyKind).list(namespace);
    const before = this.#spaces.get(namespace);
    if (policies.length === 0 && before === undefined) return [];
    const changed: (readonly [string, readonly string[] | undefined])[] = [];
    const callers = callersOf(policies, this.#world());
    for (const [uid, who] of callers) {
      const ips = [...who].flatMap((each) => this.#addressOf(each) ?? []).sort();
      const told = ips.join(" ");
      if (this.#guards.get(uid)?.told !== told) changed.push([uid, ips]);
      this.#guards.set(uid, { namespace, callers: who, told });
    }
    for (const uid of before?.pods ?? []) {
      if (callers.has(uid)) continue;
      this.#guards.delete(uid);
      changed.push([uid, undefined]);
    }
    if (policies.length === 0) this.#spaces.delete(namespace);
    else
      this.#spaces.set(namespace, {
        pods: new Set(callers.keys()),
        looksElsewhere: policies.some(looksElsewhere),
      });
    return changed;
  }

  /** The address of a pod that has ended may be another's by now. */
  #addressOf(uid: string): string | undefined {
    const [pod] = this.#options.cluster.informers.informer(PodKind).byIndex(BY_UID, uid);
    return isOver(pod?.status?.phase) ? undefined : pod?.status?.podIP;
  }

  async #guard(uid: string, ips: readonly string[] | undefined): Promise<void> {
    try {
      await this.#options.network.guard(uid, ips);
    } catch (error) {
      const guard = this.#guards.get(uid);
      if (guard !== undefined) {
        this.#guards.set(uid, { ...guard, told: "?" });
        this.#failed.add(guard.namespace);
      }
      this.#options.log.error("a pod is not guarded as NetworkPolicies say", { pod: uid, cause: messageOf(error) });
    }
  }

  #tell(policy: NetworkPolicy): void {
    const all =
      "any of it: its pods share the machine's network, and nothing keeps them apart (argosy doctor says why)";
    for (const words of this.#options.network.keepsApart ? notEnforced(policy) : [all])
      this.#events.record(policy, "Warning", "NotEnforced", `this cluster does not carry out ${words}`);
  }
}

const isOver = (phase: string | undefined): boolean => phase === "Succeeded" || phase === "Failed";

function isAlike(now: Pod, old: Pod): boolean {
  return (
    now.status?.podIP === old.status?.podIP &&
    isOver(now.status?.phase) === isOver(old.status?.phase) &&
    equalJson(now.metadata.labels, old.metadata.labels)
  );
}
