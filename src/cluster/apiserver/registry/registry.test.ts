import { expect, test } from "vitest";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { ResourceType } from "../types.js";
import { createRegistry } from "./index.js";

const context = { now: "2026-01-01T00:00:00Z", user: { username: "u", groups: [] }, subresource: "" };

function typeOf(group: string, version: string, plural: string): ResourceType {
  const type = createRegistry().find(group, version, plural);
  if (type === undefined) throw new Error(`${plural} is not served`);
  return type;
}

function request(
  path: string,
  accept = "application/json",
): Parameters<ReturnType<typeof createRegistry>["answer"]>[0] {
  return {
    method: "GET",
    path,
    query: new URLSearchParams(),
    headers: { accept, host: "x" },
    body: new Uint8Array(),
    signal: new AbortController().signal,
  };
}

async function json(path: string, accept?: string): Promise<JsonObject> {
  const answer = createRegistry().answer(request(path, accept));
  if (answer === undefined || !(answer.body instanceof Uint8Array)) throw new Error(`no answer for ${path}`);
  return JSON.parse(new TextDecoder().decode(answer.body));
}

test("serves what the reference server serves", () => {
  const registry = createRegistry();

  expect(registry.find("apps", "v1", "deployments")?.kind).toBe("Deployment");
  expect(registry.find("", "v1", "pods")?.subresources.has("eviction")).toBe(true);
  expect(registry.all().length).toBeGreaterThan(60);
});

test("decodes as Go does: unknown fields are reported, nulls and zeroes vanish, structs appear", () => {
  const decoded = typeOf("", "v1", "pods").decode({
    kind: "Pod",
    apiVersion: "v1",
    metadata: { name: "a", labels: {}, creationTimestamp: null },
    spec: {
      hostNetwork: false,
      extra: 1,
      containers: [{ name: "c", image: "i", foo: 1, resources: { limits: { cpu: 0.5, memory: "1024Mi" } } }],
    },
  });

  expect(decoded.unknownFields).toEqual(["spec.extra", "spec.containers[0].foo"]);
  expect(decoded.object).toEqual({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "a" },
    spec: { containers: [{ name: "c", image: "i", resources: { limits: { cpu: "500m", memory: "1Gi" } } }] },
    status: {},
  });
});

test("a wrong type is refused in upstream's words", () => {
  const decode = (): unknown => typeOf("", "v1", "configmaps").decode({ metadata: { name: 1 } });

  expect(decode).toThrow(
    'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string',
  );
});

test("discovery lists resources in both forms", async () => {
  const classic = await json("/apis/apps/v1");
  const aggregated = await json("/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");

  expect(JSON.stringify(classic)).toContain('"deployments/scale"');
  expect(aggregated["kind"]).toBe("APIGroupDiscoveryList");
});

test("openapi documents refer only to what they hold", async () => {
  const document = JSON.stringify(await json("/openapi/v3/apis/apps/v1"));
  const parsed: { components: { schemas: Record<string, unknown> } } = JSON.parse(document);

  for (const [, name] of document.matchAll(/"#\/components\/schemas\/([^"]+)"/g))
    expect(parsed.components.schemas).toHaveProperty([name ?? ""]);
});

test("validates names and labels", async () => {
  const type = typeOf("", "v1", "configmaps");
  const causes = await type.validateCreate({ metadata: { name: "A_b", labels: { "a b": "c" } } }, context);

  expect(causes.map((cause) => cause.field)).toEqual(["metadata.name", "metadata.labels"]);
});
