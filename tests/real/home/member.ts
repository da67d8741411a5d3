import { join } from "node:path";
import { freePorts, startStack } from "../../../src/testing/real-stack.js";
import { apply, type Built, clientOf, type RunningCluster } from "./karmada.js";
import type { Network } from "./network.js";
import { type RealNode, startNode } from "./node.js";
import { Programs } from "./programs.js";

/** A whole cluster with one node. */
export interface Member extends RunningCluster {
  readonly name: string;
  readonly node: RealNode;
}

/** Starts a cluster: API server, all controllers, scheduler, one node that is Ready. */
export async function startMember(name: string, { plane, home }: Built, network: Network): Promise<Member> {
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
    const node = await startNode({ stack, server, network, programs, built: home, name: `${name}-1` });
    await programs.until(`node ${node.name} is Ready`, async () => {
      const { conditions } = (
        (await client.json("GET", `/api/v1/nodes/${node.name}`)) as {
          status: { conditions: { type: string; status: string }[] };
        }
      ).status;
      return conditions.some(({ type, status }) => type === "Ready" && status === "True");
    });
    return { name, stack, client, node, close };
  } catch (error) {
    await close();
    throw error;
  }
}
