import { readFileSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import type { GatewayState } from "../../../dataplane/gateway/index.js";
import { systemClock } from "../../../kernel/clock/index.js";
import { createAuthority } from "../../../kernel/identity/index.js";
import {
  ConfigMapKind,
  CustomResourceDefinitionKind,
  findCondition,
  type JsonObject,
  SecretKind,
} from "../../../kernel/kinds/index.js";
import { eventually, recordingGateway, startFleet, type TestFleet } from "../fixture.js";
import { planHead, routeOf } from "../head-weights.js";
import { type HeadIngress, HeadIngressKind } from "../kinds.js";
import { renderIstio } from "./istio.js";
import { LoadMeter } from "./load.js";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const encode = (text: string): string => Buffer.from(text).toString("base64");
const inDemo = { namespace: "demo" };
const BACKENDS = [
  { name: "a", url: "http://a.example.org:8081", address: "10.0.0.7:8081", weight: 30 },
  { name: "b", url: "http://b.example.org", weight: 70 },
];

async function begin(
  members: readonly string[] = [],
): Promise<TestFleet & { gateway: ReturnType<typeof recordingGateway> }> {
  const gateway = recordingGateway();
  const fleet = await startFleet(members, {
    gateway,
    fleet: { headTlsListener: { name: "head-tls", host: "127.0.0.1", port: 0 } },
  });
  closing.push(() => fleet.close());
  return { ...fleet, gateway };
}

const heads = (fleet: TestFleet) => fleet.hub.client.resource(HeadIngressKind);

function create(fleet: TestFleet, name: string, spec: HeadIngress["spec"]): Promise<HeadIngress> {
  return heads(fleet).create(
    { apiVersion: "argosy.dev/v1alpha1", kind: "HeadIngress", metadata: { name, ...inDemo }, spec },
    inDemo,
  );
}

function whenCondition(fleet: TestFleet, name: string, type: string, status: string) {
  return eventually(
    () => heads(fleet).get(name, inDemo),
    (head) => findCondition(head.status?.conditions, type)?.status === status,
    `${type}=${status} of ${name}`,
  );
}

/** Installs Istio's and the Gateway API's kinds, or only some. */
async function istioKinds(fleet: TestFleet, names?: readonly string[]): Promise<void> {
  const file = new URL("./definitions.data.json", import.meta.url);
  const { definitions }: { definitions: (JsonObject & { metadata: { name: string } })[] } = JSON.parse(
    readFileSync(file, "utf8"),
  );
  const wanted = definitions.filter(({ metadata }) => names?.includes(metadata.name) !== false);
  const crds = fleet.hub.client.resource(CustomResourceDefinitionKind);
  for (const definition of wanted) await crds.create(definition as never);
  for (const definition of wanted)
    await eventually(
      async () => JSON.stringify(await crds.get(definition.metadata.name)),
      (text) => text.includes('"type":"Established"'),
      "its kind is served",
    );
}

test("nginx and haproxy: HeadIngresses of a namespace share a ConfigMap; it is put right, and goes when nobody wants it", async () => {
  const fleet = await begin();
  const maps = fleet.hub.client.resource(ConfigMapKind);
  for (const kind of ["nginx", "haproxy"] as const) {
    const key = kind === "nginx" ? "nginx.conf" : "haproxy.cfg";
    await create(fleet, `${kind}-one`, {
      class: kind,
      path: `/${kind}/one/`,
      backends: BACKENDS,
      hedge: { afterMs: 50 },
    });
    await create(fleet, `${kind}-two`, { class: kind, path: `/${kind}/two/`, backends: BACKENDS });
    const map = await eventually(
      () => maps.find(`argosy-${kind}`, inDemo),
      (found) => found?.data?.[key]?.includes("/two") === true && found.data[key].includes("/one"),
      "both are in the configuration",
    );
    expect(map?.data?.[key]).toContain("10.0.0.7:8081");
    const one = await whenCondition(fleet, `${kind}-one`, "Programmed", "True");
    expect(one.status?.rendered).toEqual({
      class: kind,
      objects: [{ apiVersion: "v1", kind: "ConfigMap", namespace: "demo", name: `argosy-${kind}` }],
    });
    expect(one.status?.backends).toMatchObject([
      { name: "a", weight: 30, weightEffective: 30, percent: 30 },
      { name: "b", weight: 70, weightEffective: 70, percent: 70 },
    ]);
    expect(findCondition(one.status?.conditions, "FieldsHonoured")).toMatchObject({
      status: "False",
      message: `spec.hedge: ${kind} asks no second backend while it waits for the first`,
    });
    const two = await whenCondition(fleet, `${kind}-two`, "FieldsHonoured", "True");
    expect(findCondition(two.status?.conditions, "Ready")?.status).toBe("True");

    await maps.patch(`argosy-${kind}`, "merge", { data: { [key]: "mine" } }, inDemo);
    await heads(fleet).patch(`${kind}-two`, "merge", { spec: { path: `/${kind}/three/` } }, inDemo);
    await eventually(
      () => maps.get(`argosy-${kind}`, inDemo),
      (found) => found.data?.[key]?.includes("/three") === true,
      "it is put right",
    );
    for (const name of ["one", "two"])
      await heads(fleet).patch(`${kind}-${name}`, "merge", { spec: { class: "builtin" } }, inDemo);
    await eventually(
      () => heads(fleet).get(`${kind}-two`, inDemo),
      (head) => head.status?.rendered === undefined,
      "it is released",
    );
  }
  const part = () => fleet.gateway.parts.get("head-ingress")?.routes.map(({ id }) => id) ?? [];
  await eventually(part, (ids) => ids.length === 4, "the built-in gateway has them now");
});

test("Istio and the Gateway API: what is rendered is valid by their definitions, nothing of it is dropped, and it goes with its class", async () => {
  const fleet = await begin();
  await istioKinds(fleet);
  const spec: HeadIngress["spec"] = {
    path: "/m/",
    hosts: ["models.example.org"],
    backends: [
      ...BACKENDS,
      { name: "c", url: "https://c.example.org", host: "inner.example.org", weight: 1, drain: true },
    ],
    retry: { attempts: 3, statuses: [503] },
    timeouts: { connectMs: 500, responseMs: 2500, requestMs: 90_000, idleMs: 10_000 },
    affinity: { cookie: { name: "sid", ttlSeconds: 60 } },
    outlierEjection: { consecutiveErrors: 3 },
    slowStartMs: 30_000,
    backendTLS: { serverName: "inner.example.org", insecureSkipVerify: true },
    rendering: { gateways: ["istio-system/public"], parentRefs: [{ name: "public", namespace: "infra" }] },
    shadows: [
      { name: "next", url: "http://10.0.0.9:8090", host: "next.example.org" },
      { name: "some", url: "http://a.example.org:8081", percent: 5 },
      { name: "one", url: "http://one.example.org", of: ["a"] },
    ],
  };
  await create(fleet, "istio", { ...spec, class: "istio" });
  await create(fleet, "routes", { ...spec, class: "gateway-api" });
  // Another one's objects are its own.
  await create(fleet, "beside", { class: "istio", path: "/beside/", backends: BACKENDS });
  const istio = await whenCondition(fleet, "istio", "Rendered", "True");
  const routes = await whenCondition(fleet, "routes", "Rendered", "True");
  await whenCondition(fleet, "beside", "Rendered", "True");

  const objects = [...(istio.status?.rendered?.objects ?? []), ...(routes.status?.rendered?.objects ?? [])];
  expect(objects.map(({ kind }) => kind).sort()).toEqual([
    "DestinationRule",
    "DestinationRule",
    "DestinationRule",
    "DestinationRule",
    "DestinationRule",
    "EndpointSlice",
    "EndpointSlice",
    "HTTPRoute",
    "Service",
    "Service",
    "Service",
    "Service",
    "Service",
    "ServiceEntry",
    "ServiceEntry",
    "ServiceEntry",
    "ServiceEntry",
    "ServiceEntry",
    "VirtualService",
  ]);
  const read = async (kind: string, name: string): Promise<JsonObject> => {
    const id = objects.find((one) => one.kind === kind && one.name === name);
    const found = await fleet.hub.client.findKind(id?.apiVersion ?? "", kind);
    if (found === undefined) return {};
    return JSON.parse(JSON.stringify(await fleet.hub.client.dynamic(found).get(name, inDemo)));
  };
  const service = await read("VirtualService", "istio");
  expect(service["spec"]).toMatchObject({
    gateways: ["istio-system/public"],
    hosts: ["models.example.org"],
    http: [
      {
        match: [{ uri: { prefix: "/m/" } }],
        rewrite: { uri: "/" },
        mirrors: [
          { destination: { host: "next.example.org", port: { number: 8090 } }, percentage: { value: 100 } },
          // Backend a has that name too, and another address.
          { destination: { host: "istio-4.demo.argosy.internal", port: { number: 8081 } }, percentage: { value: 5 } },
        ],
        timeout: "90000ms",
        retries: { attempts: 3, retryOn: "connect-failure,refused-stream,503" },
        route: [
          {
            destination: { host: "a.example.org", port: { number: 8081 } },
            weight: 30,
            headers: { request: { set: { Host: "a.example.org:8081" } } },
          },
          { destination: { host: "b.example.org", port: { number: 80 } }, weight: 70 },
          { destination: { host: "inner.example.org", port: { number: 443 } }, weight: 0 },
        ],
      },
      { match: [{ uri: { exact: "/m" } }] },
    ],
  });
  expect((await read("ServiceEntry", "istio-0"))["spec"]).toEqual({
    hosts: ["a.example.org"],
    location: "MESH_EXTERNAL",
    ports: [{ number: 8081, name: "http", protocol: "HTTP" }],
    resolution: "STATIC",
    endpoints: [{ address: "10.0.0.7", ports: { http: 8081 } }],
  });
  expect((await read("DestinationRule", "istio-2"))["spec"]).toMatchObject({
    host: "inner.example.org",
    trafficPolicy: {
      loadBalancer: { consistentHash: { httpCookie: { name: "sid", ttl: "60s" } }, warmupDurationSecs: "30s" },
      outlierDetection: {
        consecutive5xxErrors: 3,
        baseEjectionTime: "30000ms",
        maxEjectionPercent: 50,
        interval: "1s",
      },
      tls: { mode: "SIMPLE", sni: "inner.example.org", insecureSkipVerify: true },
    },
  });
  expect((await read("HTTPRoute", "routes"))["spec"]).toMatchObject({
    parentRefs: [{ name: "public", namespace: "infra" }],
    hostnames: ["models.example.org"],
    rules: [
      {
        matches: [{ path: { type: "PathPrefix", value: "/m" } }],
        filters: [
          { type: "URLRewrite", urlRewrite: { path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/" } } },
          { type: "RequestMirror", requestMirror: { backendRef: { name: "routes-shadow-0", port: 8090 } } },
        ],
        timeouts: { request: "1m30s", backendRequest: "2s500ms" },
        backendRefs: [
          {
            name: "routes-0",
            port: 8081,
            weight: 30,
            filters: [
              {},
              {},
              { type: "RequestMirror", requestMirror: { backendRef: { name: "routes-shadow-1", port: 80 } } },
            ],
          },
          { name: "routes-1", port: 80, weight: 70 },
          { name: "routes-2", port: 443, weight: 0 },
        ],
      },
    ],
  });
  expect((await read("Service", "routes-1"))["spec"]).toMatchObject({
    type: "ExternalName",
    externalName: "b.example.org",
  });
  const said = findCondition(routes.status?.conditions, "FieldsHonoured")?.message ?? "";
  for (const field of ["spec.affinity:", "spec.retry:", "spec.outlierEjection:", "spec.timeouts:", "spec.backendTLS:"])
    expect(said).toContain(field);
  // Who copies what, and what nobody copies.
  const shares = ({ status }: HeadIngress) =>
    (status?.shadows ?? []).map(({ name, percentEffective, reason = "" }) => `${name} ${percentEffective} ${reason}`);
  expect(shares(istio)).toEqual(["next 100 ", "some 5 ", "one 0 NotExpressible"]);
  expect(shares(routes)).toEqual(["next 100 ", "some 0 NotExpressible", "one 100 "]);
  expect(said).toContain('spec.shadows "some": the standard channel of the Gateway API copies all requests');
  expect(findCondition(istio.status?.conditions, "FieldsHonoured")?.message).toContain("-shadow behind the Host");

  await heads(fleet).patch("istio", "merge", { spec: { class: "builtin" } }, inDemo);
  await eventually(
    async () => read("VirtualService", "istio").catch(() => undefined),
    (found) => found === undefined,
    "its objects go",
  );
});

test("Istio: hosts with several addresses and addresses without a name are places of their own; without any weight it answers itself", () => {
  const render = (spec: HeadIngress["spec"]) => {
    const metadata = { name: "m", namespace: "demo", uid: "u" };
    const head = { apiVersion: "argosy.dev/v1alpha1", kind: "HeadIngress", metadata, spec } as HeadIngress;
    const { objects } = renderIstio({ head, route: routeOf(head, planHead(head, undefined, new Map()), "head") });
    const of = (kind: string) =>
      objects.filter((one) => one.kind === kind).map(({ spec: found }) => found as JsonObject);
    return { entries: of("ServiceEntry"), rules: of("DestinationRule"), services: of("VirtualService") };
  };
  const backends = [
    { name: "a", url: "https://m.example.org", address: "10.0.0.1:443" },
    { name: "b", url: "https://m.example.org", address: "10.0.0.2:8443" },
    { name: "c", url: "http://10.0.0.3:8080" },
    { name: "d", url: "http://[fd00::1]:8080" },
    { name: "e", url: "http://e.example.org" },
  ];
  const { entries, rules, services } = render({
    path: "/",
    backends,
    backendTLS: { insecureSkipVerify: true, caSecretName: "ca" },
  });
  expect(entries.map(({ hosts, resolution, endpoints }) => [hosts, resolution, endpoints])).toEqual([
    [["m.example.org"], "STATIC", [{ address: "10.0.0.1", ports: { http: 443 } }]],
    [["m-1.demo.argosy.internal"], "STATIC", [{ address: "10.0.0.2", ports: { http: 8443 } }]],
    [["m-2.demo.argosy.internal"], "STATIC", [{ address: "10.0.0.3", ports: { http: 8080 } }]],
    [["m-3.demo.argosy.internal"], "STATIC", [{ address: "fd00::1", ports: { http: 8080 } }]],
    [["e.example.org"], "DNS", undefined],
  ]);
  expect(rules.map(({ host }) => host)).toEqual(entries.flatMap(({ hosts }) => hosts));
  // Istio refuses authorities and names beside insecureSkipVerify.
  expect(rules[1]?.["trafficPolicy"]).toMatchObject({
    tls: expect.not.objectContaining({ subjectAltNames: expect.anything(), credentialName: expect.anything() }),
  });
  expect(services).toMatchObject([
    {
      http: [
        {
          route: [
            {
              destination: { host: "m.example.org", port: { number: 443 } },
              headers: { request: { set: { Host: "m.example.org" } } },
            },
            {
              destination: { host: "m-1.demo.argosy.internal", port: { number: 8443 } },
              headers: { request: { set: { Host: "m.example.org" } } },
            },
            {
              destination: { host: "m-2.demo.argosy.internal", port: { number: 8080 } },
              headers: { request: { set: { Host: "10.0.0.3:8080" } } },
            },
            {
              destination: { host: "m-3.demo.argosy.internal", port: { number: 8080 } },
              headers: { request: { set: { Host: "[fd00::1]:8080" } } },
            },
            { destination: { host: "e.example.org", port: { number: 80 } } },
          ],
        },
      ],
    },
  ]);
  const none = render({ path: "/m/", backends: backends.map((one) => ({ ...one, drain: true })) });
  expect(none.services[0]?.["http"]).toEqual([
    {
      match: [{ uri: { prefix: "/m/" } }],
      directResponse: { status: 503, body: { string: expect.stringContaining("NoHealthyBackend") } },
    },
    { match: [{ uri: { exact: "/m" } }], directResponse: expect.anything() },
  ]);
});

test("what could not be rendered carries nothing, and its backends say so", async () => {
  const fleet = await begin();
  await create(fleet, "none", { class: "haproxy", ingressCluster: "nowhere", path: "/n/", backends: BACKENDS });
  const { status } = await whenCondition(fleet, "none", "Rendered", "False");
  expect(status?.summary).toBe("a 0%, b 0%");
  expect(status?.backends).toMatchObject(
    [30, 70].map((weight) => ({ weight, weightEffective: 0, reason: "NotRendered" })),
  );
  expect(findCondition(status?.conditions, "WeightsEffective")?.status).toBe("False");
});

test("what somebody else has there is left alone, and nothing is made beside it; handed over, it is taken", async () => {
  const fleet = await begin();
  const maps = fleet.hub.client.resource(ConfigMapKind);
  const map = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "argosy-nginx", ...inDemo } } as const;
  await maps.create({ ...map, data: { "nginx.conf": "mine" } }, inDemo);
  await create(fleet, "taken", { class: "nginx", path: "/taken/", backends: BACKENDS });
  const taken = await whenCondition(fleet, "taken", "Programmed", "False");
  expect(findCondition(taken.status?.conditions, "Rendered")).toMatchObject({ status: "False", reason: "Conflict" });
  expect(findCondition(taken.status?.conditions, "Rendered")?.message).toContain(
    "ConfigMap demo/argosy-nginx is there",
  );
  // What both have in common is said once.
  expect(findCondition(taken.status?.conditions, "WeightsEffective")?.message).toMatch(
    /^a has 0 of 30, b has 0 of 70: ConfigMap [^;]*$/,
  );
  await heads(fleet).delete("taken", inDemo);
  await create(fleet, "other", { class: "nginx", path: "/other/", backends: BACKENDS });
  await whenCondition(fleet, "other", "Programmed", "False");
  expect((await maps.get("argosy-nginx", inDemo)).data).toEqual({ "nginx.conf": "mine" });

  await maps.patch("argosy-nginx", "merge", { metadata: { labels: { "argosy.dev/head-ingress": "true" } } }, inDemo);
  await heads(fleet).patch("other", "merge", { spec: { path: "/another/" } }, inDemo);
  await whenCondition(fleet, "other", "Programmed", "True");
  expect((await maps.get("argosy-nginx", inDemo)).data?.["nginx.conf"]).toContain("/another");
});

test("where one object is refused, none of them is made", async () => {
  const fleet = await begin();
  await istioKinds(fleet, ["serviceentries.networking.istio.io", "destinationrules.networking.istio.io"]);
  await create(fleet, "half", { class: "istio", path: "/half/", backends: BACKENDS });
  const half = await whenCondition(fleet, "half", "Rendered", "False");
  expect(findCondition(half.status?.conditions, "Rendered")?.message).toContain("no kind VirtualService");
  const kind = await fleet.hub.client.findKind("networking.istio.io/v1", "ServiceEntry");
  expect(kind === undefined ? undefined : (await fleet.hub.client.dynamic(kind).list(inDemo)).items).toEqual([]);
});

test("what is rendered for another cluster goes there, and from there when its HeadIngress goes", async () => {
  const fleet = await begin(["edge"]);
  await create(fleet, "far", { class: "haproxy", ingressCluster: "edge", path: "/far/", backends: BACKENDS });
  await create(fleet, "lost", { class: "haproxy", ingressCluster: "moon", path: "/lost/", backends: BACKENDS });
  const edge = fleet.members.get("edge");
  const find = () => edge?.client.resource(ConfigMapKind).find("argosy-haproxy", inDemo);
  const lost = await whenCondition(fleet, "lost", "Programmed", "False");
  expect(findCondition(lost.status?.conditions, "Programmed")?.message).toContain('no connection to a cluster "moon"');
  await edge?.client
    .json("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "demo" } })
    .catch(() => undefined);
  await heads(fleet).patch("far", "merge", { spec: { path: "/farther/" } }, inDemo);
  await eventually(find, (map) => map?.data?.["haproxy.cfg"]?.includes("/farther") === true, "it is there");
  await eventually(
    () => heads(fleet).get("far", inDemo),
    (head) => head.status?.rendered?.cluster === "edge",
    "the status says so",
  );
  await heads(fleet).delete("far", inDemo);
  await eventually(find, (map) => map === undefined, "it went");
  await eventually(
    () => heads(fleet).find("far", inDemo),
    (head) => head === undefined,
    "the HeadIngress is gone",
  );
});

test("TLS: certificates come from Secrets, for clients by name and for backends; what is missing is said", async () => {
  const fleet = await begin();
  await create(fleet, "secure", {
    class: "builtin",
    hosts: ["models.example.org"],
    path: "/",
    backends: [{ name: "a", url: "https://a.example.org" }],
    tls: { secretName: "cert" },
    backendTLS: { caSecretName: "ca" },
  });
  const waiting = await whenCondition(fleet, "secure", "Programmed", "False");
  expect(findCondition(waiting.status?.conditions, "Programmed")?.message).toBe(
    "spec.tls.secretName: there is no Secret cert",
  );
  const secrets = fleet.hub.client.resource(SecretKind);
  const secret = (name: string, data: Record<string, string>, type = "Opaque") =>
    secrets.create({ apiVersion: "v1", kind: "Secret", type, metadata: { name, ...inDemo }, data }, inDemo);
  const authority = await createAuthority({ clock: systemClock, name: "test" });
  const { certPem, keyPem } = await authority.issueServer(["models.example.org"]);
  const other = await authority.issueServer(["models.example.org"]);
  const data = (cert: string, key: string) => ({ "tls.crt": encode(cert), "tls.key": encode(key) });
  await secret("cert", data(certPem, other.keyPem), "kubernetes.io/tls");
  await secret("ca", { "ca.crt": encode("text") });
  let slips = 1;
  const slip = () => {
    slips += 1;
    return heads(fleet).patch("secure", "merge", { spec: { slowStartMs: slips } }, inDemo);
  };
  await slip();
  const wrong = await eventually(
    () => heads(fleet).get("secure", inDemo),
    (head) => findCondition(head.status?.conditions, "Programmed")?.message.includes("tls.key is not") === true,
    "the pair is looked at",
  );
  expect(findCondition(wrong.status?.conditions, "Programmed")?.message).toBe(
    "spec.tls.secretName: Secret cert: its tls.key is not the key of its tls.crt",
  );
  await secrets.patch("cert", "merge", { data: data(certPem, keyPem) }, inDemo);
  await secrets.patch("ca", "merge", { data: { "ca.crt": encode(authority.caPem) } }, inDemo);
  await slip();
  const part = await eventually(
    () => fleet.gateway.parts.get("head-ingress"),
    (found) => (found?.routes.length ?? 0) === 1,
    "the route is there",
  );
  expect(part?.listeners).toEqual([
    { name: "head", host: "127.0.0.1", port: 0 },
    {
      name: "head-tls",
      host: "127.0.0.1",
      port: 0,
      tls: {
        certFile: "/kept.pem",
        keyFile: "/kept.pem",
        names: [{ hosts: ["models.example.org"], certFile: "/kept.pem", keyFile: "/kept.pem" }],
      },
    },
  ]);
  expect(part?.routes[0]).toMatchObject({
    listener: "head-tls",
    backends: [{ tls: { serverName: "a.example.org", caFile: "/kept.pem" } }],
  });
  const backend = { name: "a", answered: true, weightEffective: 1, share: 1, requests: 0, failures: 0 };
  fleet.gateway.state = {
    tableError: "",
    listeners: [{ name: "head-tls", address: "127.0.0.1:8443", listening: true, reason: "" }],
    routes: [{ id: "headingress/demo/secure", listener: "head-tls", backends: [backend] }],
  } as unknown as GatewayState;
  // What was right before is gone on with, and that it is wrong now is said.
  for (const change of [data(certPem, other.keyPem), undefined]) {
    if (change === undefined) await secrets.delete("cert", inDemo);
    else await secrets.patch("cert", "merge", { data: change }, inDemo);
    await slip();
    const said = change === undefined ? "there is no Secret cert" : "its tls.key is not the key of its tls.crt";
    const head = await eventually(
      () => heads(fleet).get("secure", inDemo),
      (found) => findCondition(found.status?.conditions, "Programmed")?.message.includes(said) === true,
      "it is said",
    );
    expect(findCondition(head.status?.conditions, "Programmed")?.message).toContain(
      "what it held before is gone on with",
    );
    expect(findCondition(head.status?.conditions, "Ready")).toMatchObject({ status: "True", reason: "Degraded" });
    expect(head.status?.address).toBe("https://models.example.org:8443/");
    expect(fleet.gateway.parts.get("head-ingress")?.listeners).toHaveLength(2);
    expect(fleet.gateway.parts.get("head-ingress")?.routes).toHaveLength(1);
  }
});

test("texts that could be read as configuration are never part of one", async () => {
  const fleet = await begin();
  const maps = fleet.hub.client.resource(ConfigMapKind);
  await create(fleet, "good", { class: "nginx", path: "/good/", backends: BACKENDS });
  await create(fleet, "bad", { class: "nginx", path: "/x/{return.200;}", backends: BACKENDS });
  await create(fleet, "worse", {
    class: "nginx",
    path: "/worse/",
    backends: [{ name: 'a";}\nuser root;', url: "http://a.example.org" }],
  });
  for (const [name, field] of [
    ["bad", "spec.path"],
    ["worse", "spec.backends"],
  ] as const) {
    const head = await whenCondition(fleet, name, "Programmed", "False");
    expect(findCondition(head.status?.conditions, "Programmed")?.message).toContain(`${field}: it has characters`);
  }
  await whenCondition(fleet, "good", "Programmed", "True");
  const text = (await maps.get("argosy-nginx", inDemo)).data?.["nginx.conf"] ?? "";
  expect(text).toContain("/good/");
  expect(text).not.toMatch(/return\.200|user root|worse/);
});

type Report = GatewayState["routes"][number];

test("load is measured over windows; high load ends only when it has halved", () => {
  const meter = new LoadMeter();
  const report = (requests: number, latencySumMs: number) =>
    ({ id: "r", backends: [{ name: "a", requests, latencySumMs }] }) as unknown as Report;
  expect(meter.note(report(0, 0), 0)).toBe(false);
  expect(meter.note(report(1000, 5000), 5000)).toBe(false);
  expect(meter.note(report(1000, 5000), 10_000)).toBe(true);
  expect(meter.of("r")).toMatchObject({ rate: 100, isHigh: false });
  expect(meter.of("r").latencyMs.get("a")).toBe(5);
  expect(meter.note(report(401_000, 2_005_000), 20_000)).toBe(true);
  expect(meter.of("r").isHigh).toBe(true);
  expect(meter.note(report(551_000, 2_755_000), 30_000)).toBe(false);
  expect(meter.of("r").isHigh).toBe(true);
  expect(meter.note(report(561_000, 2_805_000), 40_000)).toBe(true);
  expect(meter.of("r").isHigh).toBe(false);
});
