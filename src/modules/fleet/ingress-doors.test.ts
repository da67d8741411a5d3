import { expect, test } from "vitest";
import { virtualClock } from "../../kernel/clock/index.js";
import { createManager } from "../../kernel/control/index.js";
import { EndpointSliceKind, IngressKind, NamespaceKind, ServiceKind } from "../../kernel/kinds/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { startTestCluster } from "../../testing/index.js";
import { recordingGateway } from "./fixture.js";
import { ingressController } from "./ingress.js";
import { DoorPorts } from "./ingress-doors.js";

const inDemo = { namespace: "demo" };
const options = { fieldManager: "test", ...inDemo };

async function begin() {
  const clock = virtualClock();
  const cluster = await startTestCluster({ name: "cloud", clock });
  const manager = createManager({ cluster, clock, random: cluster.random, log: silentLogger });
  const gateway = recordingGateway();
  const listener = { name: "ingress-cloud", host: "127.0.0.1", port: 8081 };
  const doorPorts = new DoorPorts();
  manager.add(ingressController({ gateway, listener, insideAddress: "127.0.0.1", doorPorts }));
  manager.start();
  const { client } = cluster;
  await client.resource(NamespaceKind).apply({ metadata: { name: "demo" } }, { fieldManager: "test" });
  const listeners = () =>
    (gateway.parts.get("ingress-cloud")?.listeners ?? []).filter(({ name }) => name !== listener.name);
  const applyIngress = (paths: number) =>
    client.resource(IngressKind).apply(
      {
        metadata: { name: "model" },
        spec: {
          ingressClassName: "argosy",
          rules: [
            {
              host: "model.test",
              http: {
                paths: Array.from({ length: paths }, (_, index) => ({
                  ...{ path: `/${index}`, pathType: "Prefix" },
                  backend: { service: { name: "model", port: { number: 80 } } },
                })),
              },
            },
          ],
        },
      },
      options,
    );
  const applyService = (name: string) =>
    client.resource(ServiceKind).apply(
      {
        metadata: { name, annotations: { "argosy.dev/through-ingress": "model" } },
        spec: { clusterIP: "None", ports: [{ port: 80 }] },
      },
      options,
    );
  return {
    ...{ clock, client, listeners, applyIngress, applyService, gateway },
    seen: (holds: () => boolean) => clock.runUntil(async () => holds(), 120_000),
    close: async () => {
      const closed = manager.close();
      // What is being gathered is let out.
      await clock.advance(2000);
      await closed;
      await cluster.close();
    },
  };
}

test("a door goes when its Service and its slice went at once, too", async () => {
  const { client, listeners, applyIngress, applyService, seen, close } = await begin();
  try {
    await applyIngress(1);
    await applyService("model");
    await seen(() => listeners().length === 1);
    await client.resource(ServiceKind).delete("model", inDemo);
    await seen(() => listeners().length === 0);

    expect(
      await client
        .resource(EndpointSliceKind)
        .list(inDemo)
        .then(({ items }) => items),
    ).toHaveLength(0);
  } finally {
    await close();
  }
});

test("an Ingress with more paths than a door may have gets none, and the others are in force", async () => {
  const { gateway, listeners, applyIngress, applyService, seen, close } = await begin();
  const routes = () => gateway.parts.get("ingress-cloud")?.routes.length;
  try {
    await applyIngress(65);
    await applyService("model");
    await seen(() => routes() === 65);
    expect(listeners()).toHaveLength(0);
    await applyIngress(64);
    await seen(() => listeners().length === 1);

    expect(routes()).toBe(128);
  } finally {
    await close();
  }
});

test("ports are in their range, each once, and end", () => {
  const ports = new DoorPorts();
  const claimed = [443, 65_535, 21_000, 21_000].map((preferred) => ports.claim(preferred, new Set()) ?? 0);
  expect(new Set(claimed).size).toBe(4);
  expect(claimed.every((port) => port >= 21_000 && port < 30_000)).toBe(true);
  for (let count = claimed.length; count < 3000; count++) ports.claim(21_000 + count, new Set());
  expect(ports.claim(21_000, new Set())).toBeUndefined();
  ports.free(claimed[2] ?? 0);
  expect(ports.claim(21_000, new Set())).toBe(21_000);
});
