import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type VirtualClock, virtualClock } from "../../../kernel/clock/index.js";
import { EndpointSliceKind, type Pod, type Service, ServiceKind } from "../../../kernel/kinds/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { HostsFiles } from "./hosts.js";

let folder = "";
let clock: VirtualClock;
let cluster: TestCluster;
let hosts: HostsFiles;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "argosy-hosts-"));
  clock = virtualClock(Date.UTC(2026, 0, 1));
  cluster = await startTestCluster({ clock });
  hosts = new HostsFiles({ informers: cluster.informers, clock, clusterDomain: "cluster.local" });
  hosts.start();
  hosts.add(pod, folder, "198.18.0.7");
});

afterEach(async () => {
  hosts.close();
  await cluster.close();
  rmSync(folder, { recursive: true, force: true });
});

const pod: Pod = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web-0", namespace: "default", uid: "u", resourceVersion: "1", creationTimestamp: "" },
  spec: {
    hostname: "web-0",
    subdomain: "web",
    containers: [],
    hostAliases: [{ ip: "10.0.0.1", hostnames: ["db", "db.local"] }],
  },
};

const service = (name: string, namespace: string, spec: Service["spec"]) =>
  cluster.client
    .resource(ServiceKind)
    .create({ apiVersion: "v1", kind: "Service", metadata: { name, namespace }, spec });

async function lines(): Promise<string[]> {
  await clock.advance(100);
  return readFileSync(join(folder, "hosts"), "utf8").split("\n");
}

test("a pod knows itself, its aliases, and services near and far", async () => {
  await service("api", "default", { clusterIP: "198.19.0.50", ports: [{ port: 80 }] });
  await service("far", "kube-system", { clusterIP: "198.19.0.51", ports: [{ port: 80 }] });

  const text = await lines();

  expect(text).toContain("198.18.0.7 web-0.web.default.svc.cluster.local web-0");
  expect(text).toContain("10.0.0.1 db db.local");
  expect(text).toContain("198.19.0.50 api api.default api.default.svc api.default.svc.cluster.local");
  expect(text).toContain("198.19.0.51 far.kube-system far.kube-system.svc far.kube-system.svc.cluster.local");
});

test("a headless service is its ready pods; the file stays the same file", async () => {
  const before = statSync(join(folder, "hosts")).ino;
  await service("web", "default", { clusterIP: "None", ports: [{ port: 80 }] });
  await cluster.client.resource(EndpointSliceKind).create({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "web-1", namespace: "default", labels: { "kubernetes.io/service-name": "web" } },
    addressType: "IPv4",
    ports: [{ name: "", port: 80 }],
    endpoints: [
      { addresses: ["198.18.0.8"], hostname: "web-1", conditions: { ready: true } },
      { addresses: ["198.18.0.9"], hostname: "web-2", conditions: { ready: false } },
    ],
  });

  const text = (await lines()).join("\n");

  expect(text).toContain(
    "198.18.0.8 web web.default web.default.svc web.default.svc.cluster.local web-1.web web-1.web.default.svc web-1.web.default.svc.cluster.local",
  );
  expect(text).not.toContain("198.18.0.9");
  expect(statSync(join(folder, "hosts")).ino).toBe(before);
});
