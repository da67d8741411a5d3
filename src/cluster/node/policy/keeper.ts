import type { Clock, Random } from "../../../kernel/clock/index.js";
import { type ClusterAccess, createEventRecorder, type OwnedEventRecorder } from "../../../kernel/control/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import {
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
import { callersOf, notEnforced, type PolicyWorld } from "./callers.js";

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

/** A pod that is guarded. */
interface Guard {
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
  #guards = new Map<string, Guard>();
  #policies: readonly NetworkPolicy[] = [];
  /** Who may call a gateway that stands before pods, by Service. */
  readonly #gateways = new Map<string, ReadonlySet<string> | "all">();
  #working: Promise<void> | undefined;
  #isDirty = false;
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
    await Promise.all([policies.synced(), pods.synced(), namespaces.synced()]);
    const look = (): void => this.#look();
    this.#stops.push(
      policies.onChange((now, old) => {
        if (now !== undefined && now.metadata.generation !== old?.metadata.generation) this.#tell(now);
        look();
      }),
      // A pod's status says many things; here only its address counts.
      pods.onChange((now, old) => {
        if (now === undefined || old === undefined || !isAlike(now, old)) look();
      }),
      namespaces.onChange(look),
    );
    for (const policy of policies.list()) this.#tell(policy);
    this.#look();
    await this.#working;
  }

  refusal(from: string, to: string, service: Service): string | undefined {
    const { network, cluster } = this.#options;
    const [caller, called] = [network.podAt(from), network.podAt(to)];
    if (caller === undefined || caller === called) return undefined;
    const callers = called === undefined ? this.#callersOfGateway(service) : this.#guards.get(called)?.callers;
    if (callers === undefined || callers.has(caller)) return undefined;
    const pod = cluster.informers
      .informer(PodKind)
      .list()
      .find(({ metadata }) => metadata.uid === caller);
    return `connections from pods of ${pod === undefined ? "other clusters" : `namespace ${pod.metadata.namespace ?? ""}`} are refused, as NetworkPolicies say (kubectl get networkpolicies)`;
  }

  /** A gateway stands before the pods of a Service, if any run: whoever may call a pod with the Service's labels may call it. */
  #callersOfGateway(service: Service): ReadonlySet<string> | undefined {
    const { annotations, uid, resourceVersion } = service.metadata;
    if (annotations?.[throughAnnotation] === undefined || this.#policies.length === 0) return undefined;
    const key = `${uid}/${resourceVersion}`;
    const known = this.#gateways.get(key);
    if (known !== undefined) return known === "all" ? undefined : known;
    const stand: Pod = {
      ...{ apiVersion: "v1", kind: "Pod", spec: { containers: [] } },
      metadata: { ...service.metadata, uid: key },
    };
    const callers = callersOf(this.#policies, this.#world([stand])).get(key);
    this.#gateways.set(key, callers ?? "all");
    return callers;
  }

  #world(more: readonly Pod[] = []): PolicyWorld {
    const { informers } = this.#options.cluster;
    return {
      pods: [...informers.informer(PodKind).list(), ...more],
      namespaces: informers.informer(NamespaceKind).list(),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const stop of this.#stops) stop();
    await this.#working;
    await this.#events.close();
  }

  #look(): void {
    this.#isDirty = true;
    if (this.#closed) return;
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
    });
  }

  async #work(): Promise<void> {
    // One turn later, so that changes that come together are seen together.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#isDirty && !this.#closed) {
      this.#isDirty = false;
      await this.#carryOut();
    }
  }

  async #carryOut(): Promise<void> {
    const { informers } = this.#options.cluster;
    const policies = informers.informer(NetworkPolicyKind).list();
    this.#policies = policies;
    this.#gateways.clear();
    if (policies.length === 0 && this.#guards.size === 0) return;
    const world = this.#world();
    const addresses = new Map(
      // The address of a pod that has ended may be another's by now.
      world.pods
        .filter(({ status }) => !isOver(status?.phase))
        .map(({ metadata, status }) => [metadata.uid, status?.podIP]),
    );
    const before = this.#guards;
    const changed: (readonly [string, readonly string[] | undefined])[] = [];
    const guards = new Map<string, Guard>();
    for (const [uid, callers] of callersOf(policies, world)) {
      const ips = [...callers].flatMap((each) => addresses.get(each) ?? []).sort();
      const told = ips.join(" ");
      guards.set(uid, { callers, told });
      if (before.get(uid)?.told !== told) changed.push([uid, ips]);
    }
    for (const uid of before.keys()) if (!guards.has(uid)) changed.push([uid, undefined]);
    // What is refused at addresses of Services holds at once.
    this.#guards = guards;
    await Promise.all(changed.map(([uid, ips]) => this.#guard(uid, ips)));
  }

  async #guard(uid: string, ips: readonly string[] | undefined): Promise<void> {
    try {
      await this.#options.network.guard(uid, ips);
    } catch (error) {
      // It is tried again with the next change.
      const guard = this.#guards.get(uid);
      if (guard !== undefined) this.#guards.set(uid, { ...guard, told: "?" });
      this.#options.log.error("a pod is not guarded as NetworkPolicies say", { pod: uid, cause: messageOf(error) });
    }
  }

  #tell(policy: NetworkPolicy): void {
    for (const words of notEnforced(policy))
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
