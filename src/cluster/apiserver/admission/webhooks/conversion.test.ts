import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../../../kernel/clock/index.js";
import { openAuthority } from "../../../../kernel/identity/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { startTestCluster, type TestCluster } from "../../../../testing/index.js";

type Made = JsonObject & { metadata: JsonObject; spec: JsonObject };
interface Review {
  readonly request: { readonly uid: string; readonly desiredAPIVersion: string; readonly objects: Made[] };
}

let cluster: TestCluster;
let server: Server;
const reviews: Review[] = [];
let isRefusing = false;

/** v1 calls it host, v2 address. */
function converted(object: Made, apiVersion: string): JsonObject {
  const { host, address, ...rest } = object.spec;
  const value = host ?? address ?? null;
  const spec = apiVersion.endsWith("v2") ? { ...rest, address: value } : { ...rest, host: value };
  return { ...object, apiVersion, metadata: { ...object.metadata, name: "another", labels: { by: "hook" } }, spec };
}

beforeAll(async () => {
  cluster = await startTestCluster();
  const authority = await openAuthority({ clock: systemClock, name: "hooks" });
  const { certPem, keyPem } = await authority.issueServer(["127.0.0.1"]);
  server = createServer({ cert: certPem, key: keyPem }, (request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on("end", () => {
      const review = JSON.parse(body) as Review;
      reviews.push(review);
      const { uid, desiredAPIVersion, objects } = review.request;
      const answer = isRefusing
        ? { result: { status: "Failed", message: "not today" } }
        : {
            result: { status: "Success" },
            convertedObjects: objects.map((object) => converted(object, desiredAPIVersion)),
          };
      response.end(JSON.stringify({ ...review, response: { uid, ...answer } }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/convert`;
  await define(url, Buffer.from(authority.caPem).toString("base64"));
});
afterAll(async () => {
  await cluster.close();
  server.closeAllConnections();
  server.close();
});

async function define(url: string, caBundle: string): Promise<void> {
  const version = (name: string, field: string, storage: boolean): JsonObject => ({
    name,
    served: true,
    storage,
    schema: {
      openAPIV3Schema: {
        type: "object",
        properties: {
          spec: { type: "object", properties: { [field]: { type: "string" }, same: { type: "integer" } } },
        },
      },
    },
  });
  await call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
    metadata: { name: "hosts.example.com" },
    spec: {
      group: "example.com",
      scope: "Cluster",
      names: { plural: "hosts", kind: "Host" },
      conversion: {
        strategy: "Webhook",
        webhook: { conversionReviewVersions: ["v1"], clientConfig: { url, caBundle } },
      },
      versions: [version("v1", "host", true), version("v2", "address", false)],
    },
  });
}

const call = async (method: string, path: string, body?: JsonObject): Promise<Made> =>
  (await cluster.client.json(method, path, body)) as Made;
const host = (version: string, name: string, spec: JsonObject): JsonObject => ({
  apiVersion: `example.com/${version}`,
  kind: "Host",
  metadata: { name },
  spec,
});
const hosts = (version: string): string => `/apis/example.com/${version}/hosts`;

test("objects are read and written in both versions, as the webhook makes them of each other", async () => {
  await call("POST", hosts("v1"), host("v1", "a", { host: "h1", same: 1 }));
  expect(reviews).toEqual([]);
  const read = await call("GET", `${hosts("v2")}/a`);
  expect(read.spec).toEqual({ address: "h1", same: 1 });
  expect(reviews[0]?.request.objects[0]?.metadata["resourceVersion"]).toBeUndefined();
  await call("POST", hosts("v2"), host("v2", "b", { address: "h2" }));
  expect((await call("GET", `${hosts("v1")}/b`)).spec).toEqual({ host: "h2" });
  const { items } = (await call("GET", hosts("v2"))) as unknown as { items: Made[] };
  expect(items.map(({ spec }) => spec["address"])).toEqual(["h1", "h2"]);
});

test("a webhook may label an object, and not rename it", async () => {
  const { metadata } = await call("GET", `${hosts("v2")}/a`);
  expect(metadata["name"]).toBe("a");
  expect(metadata["labels"]).toEqual({ by: "hook" });
});

test("a webhook that does not convert fails the request, and says so", async () => {
  isRefusing = true;
  await expect(call("GET", `${hosts("v2")}/a`)).rejects.toThrow(
    "conversion webhook for example.com/v1, Kind=Host failed: not today",
  );
  isRefusing = false;
});
