import { expect, test } from "vitest";
import { virtualClock } from "../../kernel/clock/index.js";
import { createManager } from "../../kernel/control/index.js";
import {
  EndpointSliceKind,
  type Ingress,
  IngressKind,
  type JsonObject,
  NamespaceKind,
  ServiceKind,
} from "../../kernel/kinds/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { startTestCluster } from "../../testing/index.js";
import { type Compiled, RouteCompiler } from "./ingress-compiler.js";

const inDemo = { namespace: "demo" };
const listener = { name: "ingress-cloud", host: "127.0.0.1", port: 0 };

const ingress = (name: string, host: string, service: string): JsonObject => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "Ingress",
  metadata: { name, ...inDemo },
  spec: {
    ingressClassName: "argosy",
    rules: [
      {
        host,
        http: {
          paths: [{ path: "/", pathType: "Prefix", backend: { service: { name: service, port: { number: 80 } } } }],
        },
      },
    ],
  },
});

const slice = (service: string, address: string): JsonObject => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: { name: service, ...inDemo, labels: { "kubernetes.io/service-name": service } },
  addressType: "IPv4",
  ports: [{ name: "", port: 8080, protocol: "TCP" }],
  endpoints: [{ addresses: [address], conditions: { ready: true } }],
});

test("what does not change keeps its routes; what does is made anew; of two that claim one host the older has it until it goes", async () => {
  const clock = virtualClock();
  const cluster = await startTestCluster({ name: "cloud", clock });
  const { client, random, informers } = cluster;
  const manager = createManager({ cluster, clock, random, log: silentLogger });
  let compiler: RouteCompiler | undefined;
  let compiled: Compiled | undefined;
  manager.add<Ingress>({
    name: "compiler",
    kind: IngressKind,
    watches: [
      { kind: ServiceKind, keys: () => [{ ...inDemo, name: "a" }] },
      { kind: EndpointSliceKind, keys: () => [{ ...inDemo, name: "a" }] },
    ],
    reconcile: async (_key, _ingress, context) => {
      compiler ??= new RouteCompiler(listener, context);
      await context.clock.sleep(20);
      compiled = compiler.compile();
    },
  });
  manager.start();
  const route = (name: string) => compiled?.routes.find(({ id }) => id.includes(`/${name}/`));
  const addressesOf = (name: string) => route(name)?.backends[0]?.addresses;
  const seen = async (holds: () => boolean): Promise<void> => {
    await clock.runUntil(async () => holds(), 60_000);
  };
  try {
    await client.resource(NamespaceKind).apply({ metadata: { name: "demo" } }, { fieldManager: "test" });
    for (const name of ["a", "b"]) {
      const spec = { ports: [{ port: 80 }] };
      await client
        .resource(ServiceKind)
        .apply({ metadata: { name, ...inDemo }, spec }, { fieldManager: "test", ...inDemo });
      await client.json("POST", "/apis/discovery.k8s.io/v1/namespaces/demo/endpointslices", slice(name, "10.0.0.1"));
      await client.json(
        "POST",
        "/apis/networking.k8s.io/v1/namespaces/demo/ingresses",
        ingress(name, `${name}.test`, name),
      );
    }
    await seen(() => addressesOf("a")?.[0] === "10.0.0.1:8080" && addressesOf("b")?.[0] === "10.0.0.1:8080");
    const [a, b] = [route("a"), route("b")];

    await client.json("PUT", "/apis/discovery.k8s.io/v1/namespaces/demo/endpointslices/b", slice("b", "10.0.0.2"));
    await seen(() => addressesOf("b")?.[0] === "10.0.0.2:8080");
    expect(route("a")).toBe(a);
    expect(route("b")).not.toBe(b);

    await clock.advance(2000);
    await client.json("POST", "/apis/networking.k8s.io/v1/namespaces/demo/ingresses", ingress("late", "a.test", "b"));
    await seen(() =>
      [...(compiled?.faults.values() ?? [])].flat().some((fault) => fault.includes("belongs to Ingress demo/a")),
    );
    expect(route("late")).toBeUndefined();
    await client.resource(IngressKind).delete("a", inDemo);
    await seen(() => route("late") !== undefined);
    expect(route("a")).toBeUndefined();
    expect(compiled?.faults.size).toBe(0);
    expect(informers.informer(IngressKind).list()).toHaveLength(2);

    const many = ingress("many", "many.test", "b") as { spec: { rules: { http: { paths: JsonObject[] } }[] } };
    const [rule] = many.spec.rules;
    const [path = {}] = rule?.http.paths ?? [];
    if (rule !== undefined) rule.http.paths = Array.from({ length: 1500 }, (_, at) => ({ ...path, path: `/${at}` }));
    await client.json("POST", "/apis/networking.k8s.io/v1/namespaces/demo/ingresses", many as unknown as JsonObject);
    await seen(() =>
      [...(compiled?.faults.values() ?? [])].flat().some((fault) => fault.includes("of its 1500 routes 1000")),
    );
    expect(compiled?.routes).toHaveLength(1002);
  } finally {
    await manager.close();
    await cluster.close();
  }
});
