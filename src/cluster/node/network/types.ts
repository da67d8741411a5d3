import type { Server } from "node:net";
import type { Connect } from "../../../kernel/netns/index.js";

/** Where a pod is reached. */
export interface PodAddress {
  readonly ip: string;
  /** The command that runs another one in the pod's network; empty where pods share the machine's. */
  readonly enter: readonly string[];
  /** File that stands for its network namespace, where this process may join it. */
  readonly namespace?: string;
}

/**
 * Addresses of pods on one machine: one network a data directory, shared by all its nodes and clusters. Everything that it
 * makes carries a hash of the directory, so what a dead run left behind is found and removed by the next.
 */
export interface PodNetwork {
  readonly mode: "root" | "user";
  /** Whether `guard` keeps anybody out: pods have networks of their own. */
  readonly keepsApart: boolean;
  /** The machine as pods see it: InternalIP of nodes and address of `hostNetwork` pods. Set by `start`. */
  readonly hostAddress: string;
  /** The resolver that pods ask; absent: the machine's own. */
  readonly nameserver?: string;
  start(): Promise<void>;
  /** The pod's address; the same one again for the same pod. `ownerPath` must exist as long as the pod does. */
  attach(podUid: string, ownerPath: string): Promise<PodAddress>;
  detach(podUid: string): Promise<void>;
  /**
   * Lets only these addresses of the network, and the machine itself, reach a pod; `undefined`: all. May be said before the pod is attached. Rejects when
   * it cannot be carried out. Where pods have no network of their own nothing can be kept out.
   */
  guard(podUid: string, callers: readonly string[] | undefined): Promise<void>;
  /** Whose address it is. */
  podAt(ip: string): string | undefined;
  /** Whether a pod that runs from before has lost its network for good, so that it must be started anew. Known after `start`. */
  hasLost(podUid: string): boolean;
  /** Why no pod can have a network any more, in words; absent: nothing is in the way. */
  fault?(): string | undefined;
  /** Makes every address of a range (`198.19.1.0/24`, `198.19.1.7/32`) one of this machine's. */
  claimRange(cidr: string): Promise<void>;
  /** Connects to any address that this machine or its pods reach. */
  readonly connect: Connect;
  /** Lets a server accept connections to an address of this machine or of a claimed range. Rejects with the socket's error. */
  listen(server: Server, ip: string, port: number): Promise<void>;
  /** With `keepPods` everything stays for the next run. */
  close(options: { readonly keepPods: boolean }): Promise<void>;
}
