import { expect, onTestFinished, test } from "vitest";
import type { JsonObject } from "../kernel/kinds/object.js";
import { startTestCluster } from "../testing/index.js";
import { describeRights } from "./agent.js";
import { agentDeployment } from "./agent-deployment.js";

const common = { namespace: "argosy-system", image: "argosy.dev/argosy:1", options: [] };

async function stored(objects: readonly JsonObject[]): Promise<Record<string, JsonObject>> {
  const cluster = await startTestCluster();
  const { client } = cluster;
  onTestFinished(() => cluster.close());
  const result: Record<string, JsonObject> = {};
  for (const object of objects) {
    const { apiVersion, kind, metadata } = object as { apiVersion: string; kind: string; metadata: { name: string } };
    const known = await client.findKind(apiVersion, kind);
    if (known === undefined) throw new TypeError(`no kind ${kind}`);
    const options = { fieldManager: "test", force: true, fieldValidation: "Strict" as const };
    result[`${kind} ${metadata.name}`] = (await client
      .dynamic(known)
      .apply({ ...object, metadata }, options)) as unknown as JsonObject;
  }
  return result;
}

test("a member's agent runs in a pod with its own rights, no others, and is reached by a port of the nodes", async () => {
  const level = "cluster";
  const objects = await stored([
    ...describeRights({ level, namespace: common.namespace, installCrds: true }),
    ...agentDeployment({
      ...common,
      level,
      cluster: "edge",
      nodePort: 30080,
      services: { northbound: { host: "10.0.0.1", port: 15000 }, artifacts: { host: "fd00::1", port: 9000 } },
      options: ["--domain", "edge.example.org"],
    }),
  ]);
  expect(objects["Deployment argosy-cluster-agent"]).toMatchObject({
    spec: {
      template: {
        spec: {
          serviceAccountName: "argosy-cluster-agent",
          securityContext: { runAsNonRoot: true },
          containers: [{ securityContext: { readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } } }],
        },
      },
    },
  });
  expect(JSON.stringify(objects["Deployment argosy-cluster-agent"])).toContain('"--domain","edge.example.org"');
  expect(objects["Service argosy-cluster-agent"]).toMatchObject({
    spec: { type: "NodePort", ports: [{ port: 80, targetPort: "ingress", nodePort: 30080 }] },
  });
  expect(objects["EndpointSlice tracking"]).toMatchObject({
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.0.0.1"] }],
    ports: [{ port: 15000 }],
  });
  expect(objects["EndpointSlice artifacts"]).toMatchObject({ addressType: "IPv6" });
});

test("the hub's agent keeps its records, and only one holds them at a time", async () => {
  const objects = await stored([
    { apiVersion: "v1", kind: "Namespace", metadata: { name: common.namespace } },
    ...agentDeployment({ ...common, level: "continuum", cluster: "hub" }),
  ]);
  expect(Object.keys(objects)).toEqual([
    "Namespace argosy-system",
    "PersistentVolumeClaim argosy-continuum-agent",
    "Deployment argosy-continuum-agent",
    "Service argosy-continuum-agent",
  ]);
  expect(objects["Deployment argosy-continuum-agent"]).toMatchObject({ spec: { strategy: { type: "Recreate" } } });
  expect(objects["Service argosy-continuum-agent"]).toMatchObject({ spec: { type: "ClusterIP" } });
});
