import { join } from "node:path";
import { freePorts } from "../../../src/testing/ports.js";
import { startStack } from "../../../src/testing/real-stack.js";
import { apply, type Built, clientOf, type RunningCluster } from "./karmada.js";
import type { Network } from "./network.js";
import { type RealNode, startNode } from "./node.js";
import { Programs } from "./programs.js";

/** A whole cluster with its nodes. */
export interface Member extends RunningCluster {
  readonly name: string;
  /** The first of them. */
  readonly node: RealNode;
  readonly nodes: readonly RealNode[];
}

/** Starts a cluster: API server, all controllers, scheduler, and so many nodes that are Ready. */
export async function startMember(
  name: string,
  { plane, home }: Built,
  network: Network,
  nodeCount = 1,
): Promise<Member> {
  const stack = await startStack(plane, { isWhole: true });
  const programs = new Programs(stack.folder);
  const client = clientOf(stack);
  const close = async () => {
    await client.close();
    await programs.close();
    await stack.close();
  };
  try {
    const server = await network.relay(Number(new URL(stack.url).port));
    const [kcm, scheduler] = await freePorts(2);
    const common = { kubeconfig: stack.kubeconfig, "bind-address": "127.0.0.1", "leader-elect": "false" };
    programs.start(join(plane, "kube-controller-manager"), {
      ...common,
      "secure-port": String(kcm),
      "service-account-private-key-file": join(stack.folder, "sa.key"),
      "root-ca-file": join(stack.folder, "ca.crt"),
      "node-monitor-grace-period": "20s",
    });
    programs.start(join(plane, "kube-scheduler"), { ...common, "secure-port": String(scheduler) });
    // Pods ask the API server by way of the bridge; it itself only knows of its loopback.
    const { hostname, port } = new URL(server);
    await apply(client, {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { name: "kubernetes", namespace: "default", labels: { "kubernetes.io/service-name": "kubernetes" } },
      addressType: "IPv4",
      ports: [{ name: "https", port: Number(port), protocol: "TCP" }],
      endpoints: [{ addresses: [hostname], conditions: { ready: true } }],
    });
    const addNode = async (nodeName: string): Promise<RealNode> => {
      const node = await startNode({ stack, server, network, programs, built: home, name: nodeName });
      await programs.until(`node ${nodeName} is Ready`, async () => {
        const { conditions } = (
          (await client.json("GET", `/api/v1/nodes/${nodeName}`)) as {
            status: { conditions: { type: string; status: string }[] };
          }
        ).status;
        return conditions.some(({ type, status }) => type === "Ready" && status === "True");
      });
      return node;
    };
    const node = await addNode(`${name}-1`);
    const nodes = [node];
    while (nodes.length < nodeCount) nodes.push(await addNode(`${name}-${nodes.length + 1}`));
    return { name, stack, client, node, nodes, close };
  } catch (error) {
    await close();
    throw error;
  }
}
