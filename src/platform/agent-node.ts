import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { createPodNetwork, detectIsolation, type EndpointOptions, isolationIn } from "../cluster/node/index.js";
import type { ClusterContext } from "../kernel/client/index.js";
import type { Clock, Timer } from "../kernel/clock/index.js";
import { InputError, messageOf } from "../kernel/errors/index.js";
import { openAuthority } from "../kernel/identity/index.js";
import type { OwnedAccess, Surroundings } from "./access.js";
import type { Closers } from "./closers.js";
import type { Layout } from "./layout.js";
import { startNode, startPodNetwork, startRuntimes, startServiceProxy } from "./nodes.js";
import type { NodeRuntime } from "./runtime.js";

/** So long a start may take before it is said what it waits for. */
const UNREAD_MS = 5000;

/** How a node of this machine joins a cluster. */
export interface NodeLevelOptions {
  /** Default: this machine's name. */
  readonly name?: string;
  /** PEM file with certificate and key, for the API server's calls; absent: one by an authority of the node's own. */
  readonly servingCertificate?: string;
  /** PEM file with the authority of the API server's client certificate; absent: the kubeconfig's. */
  readonly clientCa?: string;
  /** Common name of that certificate; default `kube-apiserver-kubelet-client`. */
  readonly clientName?: string;
  /** Whether ClusterIPs are made to answer here; not where a kube-proxy already does. */
  readonly serviceProxy: boolean;
  /** Absent: as at the last start. */
  readonly runtime?: NodeRuntime;
}

export interface NodeLevelInput extends Surroundings {
  readonly options: { readonly node: NodeLevelOptions; readonly note: (text: string) => void };
  readonly layout: Layout;
  readonly closers: Closers;
  readonly context: ClusterContext;
  readonly access: OwnedAccess;
  readonly ending: { readonly keepPods: boolean };
}

/** What the node is called: as told, else as the machine. */
export function nodeNameOf({ name }: NodeLevelOptions): string {
  return name ?? hostname().toLowerCase();
}

/** Makes this machine a node of the cluster; what that waits for is told. Returns one line for people. */
export async function startNodeLevel(input: NodeLevelInput): Promise<string> {
  const { options, access, clock } = input;
  const name = nodeNameOf(options.node);
  const waiting = tellUnread({ name, clock, unread: () => access.informers.faults(), note: options.note });
  try {
    return await startNamed(input, name);
  } finally {
    waiting.cancel();
  }
}

/** Says once what cannot be read, when a start has waited for that for a while: without rights it would wait in silence. */
export function tellUnread({
  name,
  clock,
  unread,
  note,
}: {
  readonly name: string;
  readonly clock: Clock;
  readonly unread: () => ReadonlyMap<string, string>;
  readonly note: (text: string) => void;
}): Timer {
  return clock.setTimer(UNREAD_MS, () => {
    const faults = unread();
    const [why] = faults.values();
    if (why !== undefined)
      note(
        `waits: ${[...faults.keys()].join(", ")} cannot be read (${why}); \`argosy agent rbac --level node --node-name ${name}\` prints the rights that a node needs`,
      );
  });
}

async function startNamed(input: NodeLevelInput, name: string): Promise<string> {
  const { options, layout, access } = input;
  const isolation = isolationIn(layout.root, detectIsolation());
  const endpoint = await endpointOf(input, name);
  const runtimes = await startRuntimes(options.node.runtime, { ...input, isolation });
  const network = createPodNetwork({ dataDir: layout.root, isolation, log: input.log });
  await startPodNetwork(network, input);
  if (options.node.serviceProxy) {
    await startServiceProxy({ ...input, cluster: access, network });
  }
  await startNode({
    ...input,
    name,
    cluster: access,
    isolation,
    network,
    runtimes,
    labels: { "topology.kubernetes.io/region": access.name },
    ...(endpoint === undefined ? {} : { endpoint }),
  });
  const proxy = options.node.serviceProxy ? "ClusterIPs answer here" : "no service proxy";
  return `node ${name} at ${network.hostAddress}; ${proxy}${runtimes.name === "podman" ? "; containers by podman" : ""}`;
}

async function endpointOf(input: NodeLevelInput, name: string): Promise<EndpointOptions | undefined> {
  const { options, layout, context, clock } = input;
  const { clientCa, clientName, servingCertificate } = options.node;
  const clientCaPem = clientCa === undefined ? context.transport.caPem : await pemOf(clientCa, "--client-ca");
  if (clientCaPem === undefined) {
    options.note("no logs, exec and port-forward: the kubeconfig names no authority; give --client-ca FILE");
    return undefined;
  }
  const caller = clientName === undefined ? {} : { caller: clientName };
  if (servingCertificate !== undefined) {
    const pem = await pemOf(servingCertificate, "--serving-certificate");
    return { ...caller, clientCaPem, issueCertificate: async () => ({ certPem: pem, keyPem: pem }) };
  }
  const authority = await openAuthority({ clock, name: `${name}-serving`, directory: layout.pki });
  return { ...caller, clientCaPem, issueCertificate: (names) => authority.issueServer(names) };
}

async function pemOf(file: string, option: string): Promise<string> {
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    throw new InputError(`${option}: ${messageOf(error)}`, { cause: error });
  });
  if (!text.includes("-----BEGIN CERTIFICATE-----")) {
    throw new InputError(`${option}: ${file} holds no PEM certificate`);
  }
  return text;
}
