import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect as connectSocket, createServer as createRelay, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WebSocketServer } from "ws";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import { seededRandom, systemClock, virtualClock } from "../clock/index.js";
import { ApiError, isConflict, isNotFound } from "../errors/index.js";
import { ConfigMapKind, NamespaceKind, PodKind } from "../kinds/index.js";
import { silentLogger } from "../log/index.js";
import {
  type ApiClient,
  attach,
  createClient,
  createInformerSet,
  exec,
  type HttpTransportOptions,
  httpTransport,
  inClusterContext,
  loadKubeconfig,
  parseKubeconfig,
  podLogs,
  portForward,
  UnavailableError,
} from "./index.js";

let cluster: TestCluster;
let server: { url: string; caPem: string };
let folder: string;
const clients: ApiClient[] = [];
const connect = (options: HttpTransportOptions): ApiClient => {
  const client = createClient({ transport: httpTransport(options), clock: systemClock, random: seededRandom(1) });
  clients.push(client);
  return client;
};
const admin = (): ApiClient => connect({ server: server.url, caPem: server.caPem, token: cluster.server.adminToken });
const draft = (name: string) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "default" },
  data: { a: "1" },
});

beforeAll(async () => {
  cluster = await startTestCluster();
  server = await cluster.server.listen({ host: "127.0.0.1", port: 0 });
  folder = await mkdtemp(join(tmpdir(), "client-"));
});
afterAll(async () => {
  for (const client of clients) await client.close();
  await cluster.close();
  await rm(folder, { recursive: true });
});

test("typed calls over TLS: create, conflict, patches, apply, delete", async () => {
  const maps = admin().resource(ConfigMapKind);
  const at = { namespace: "default" };
  const made = await maps.create(draft("crud"));
  await maps.patch("crud", "json", [{ op: "add", path: "/data/b", value: "2" }], at);
  await maps.patch("crud", "merge", { data: { a: null } }, at);
  await maps.patch("crud", "strategic", { data: { c: "3" } }, at);
  const applied = await maps.apply(
    { metadata: { name: "crud", namespace: "default" }, data: { d: "4" } },
    { fieldManager: "test" },
  );

  expect(applied.data).toEqual({ b: "2", c: "3", d: "4" });
  const error: unknown = await maps.update(made).catch((caught: unknown) => caught);
  expect(isConflict(error)).toBe(true);
  await maps.delete("crud", at);
  await maps.delete("crud", at);
  expect(await maps.find("crud", at)).toBeUndefined();
  expect(isNotFound(await maps.get("crud", at).catch((caught: unknown) => caught))).toBe(true);
});

test("a watch streams what happens", async () => {
  const maps = admin().resource(ConfigMapKind);
  const { resourceVersion } = await maps.list({ namespace: "default" });
  const controller = new AbortController();
  const seen: string[] = [];
  const watching = (async () => {
    for await (const event of maps.watch({ namespace: "default", resourceVersion, signal: controller.signal })) {
      seen.push(`${event.type} ${event.object.metadata.name}`);
      if (event.type === "DELETED") return;
    }
  })();
  await maps.create(draft("seen"));
  await maps.patch("seen", "merge", { data: { a: "2" } }, { namespace: "default" });
  await maps.delete("seen", { namespace: "default" });
  await watching;

  expect(seen).toEqual(["ADDED seen", "MODIFIED seen", "DELETED seen"]);
});

test("discovery finds kinds and does not find what is not there", async () => {
  const client = admin();

  expect(await client.findKind("apps/v1", "Deployment")).toEqual({
    group: "apps",
    version: "v1",
    kind: "Deployment",
    plural: "deployments",
    namespaced: true,
  });
  expect(await client.findKind("apps/v1", "Nothing")).toBeUndefined();
  expect(await client.findKind("no.such/v1", "Thing")).toBeUndefined();
});

test("bad credentials, missing namespaces and unreachable servers are errors that say so", async () => {
  const stranger = connect({ server: server.url, caPem: server.caPem, token: "wrong" });
  const refused: unknown = await stranger
    .resource(NamespaceKind)
    .list()
    .catch((caught: unknown) => caught);
  expect(refused).toBeInstanceOf(ApiError);
  expect((refused as ApiError).httpCode).toBe(401);

  await expect(admin().resource(ConfigMapKind).get("x")).rejects.toThrow("a namespace is required");
  await expect(admin().resource(ConfigMapKind).get("", { namespace: "default" })).rejects.toThrow("not empty");

  const nowhere = connect({ server: "https://127.0.0.1:1" });
  await expect(nowhere.resource(NamespaceKind).list()).rejects.toBeInstanceOf(UnavailableError);
  const distrusted = connect({ server: server.url, token: cluster.server.adminToken });
  await expect(distrusted.resource(NamespaceKind).list()).rejects.toThrow(/certificate/);
});

test("a kubeconfig with files, a client certificate and an exec plugin works", async () => {
  const issued = await cluster.server.issueClientCertificate("someone", ["system:masters"]);
  await writeFile(join(folder, "ca.pem"), server.caPem);
  const plugin = JSON.stringify({
    apiVersion: "client.authentication.k8s.io/v1",
    kind: "ExecCredential",
    status: { token: cluster.server.adminToken },
  });
  await writeFile(
    join(folder, "config"),
    `
apiVersion: v1
kind: Config
current-context: cert
clusters: [{ name: here, cluster: { server: "${server.url}", certificate-authority: ca.pem } }]
contexts:
- { name: cert, context: { cluster: here, user: cert, namespace: kube-system } }
- { name: plugin, context: { cluster: here, user: plugin } }
- { name: bare, context: { cluster: there, user: plugin } }
users:
- name: cert
  user:
    client-certificate-data: ${Buffer.from(issued.certPem).toString("base64")}
    client-key-data: ${Buffer.from(issued.keyPem).toString("base64")}
- name: plugin
  user: { exec: { apiVersion: client.authentication.k8s.io/v1, command: echo, args: ['${plugin}'] } }
`,
  );
  const byCertificate = await loadKubeconfig(join(folder, "config"));
  expect(byCertificate).toMatchObject({ name: "cert", namespace: "kube-system", user: "cert" });
  expect((await connect(byCertificate.transport).resource(NamespaceKind).list()).items.length).toBeGreaterThan(0);

  const byPlugin = await loadKubeconfig(join(folder, "config"), "plugin");
  expect((await connect(byPlugin.transport).resource(NamespaceKind).list()).items.length).toBeGreaterThan(0);

  await expect(loadKubeconfig(join(folder, "config"), "plugni")).rejects.toThrow(
    /no context "plugni"; did you mean "plugin"\?/,
  );
  await expect(loadKubeconfig(join(folder, "config"), "bare")).rejects.toThrow('no cluster "there"');
  await expect(loadKubeconfig(join(folder, "nothing"))).rejects.toThrow("ENOENT");
  await expect(parseKubeconfig("[]", { folder, clock: systemClock })).rejects.toThrow("no YAML mapping");
});

/** Stands between client and server and can be cut. */
function relay(targetPort: number, port: number): Promise<{ port: number; cut(): Promise<void> }> {
  const open = new Set<Socket>();
  const relayServer = createRelay((socket) => {
    const upstream = connectSocket(targetPort, "127.0.0.1");
    for (const end of [socket, upstream]) {
      open.add(end);
      end.on("error", () => undefined);
    }
    socket.pipe(upstream).pipe(socket);
  });
  const cut = async (): Promise<void> => {
    const closed = new Promise((resolve) => relayServer.close(resolve));
    for (const socket of open) socket.destroy();
    await closed;
  };
  return new Promise((resolve) => {
    relayServer.listen(port, "127.0.0.1", () => resolve({ port: (relayServer.address() as AddressInfo).port, cut }));
  });
}

test("an informer over real sockets outlives a server that goes and comes back", async () => {
  const target = Number(new URL(server.url).port);
  const first = await relay(target, 0);
  const client = connect({
    server: `https://127.0.0.1:${first.port}`,
    caPem: server.caPem,
    token: cluster.server.adminToken,
  });
  const informers = createInformerSet({ client, clock: systemClock, random: seededRandom(1), log: silentLogger });
  const informer = informers.informer(ConfigMapKind);
  await informer.synced();
  await first.cut();
  await expect(client.resource(NamespaceKind).list()).rejects.toBeInstanceOf(UnavailableError);
  const arrived = new Promise<void>((resolve) =>
    informer.onChange((now) => now?.metadata.name === "arrives" && resolve()),
  );
  await cluster.client.resource(ConfigMapKind).create(draft("arrives"));

  const second = await relay(target, first.port);
  await arrived;

  await informers.close();
  await second.cut();
});

/** A server that answers as told. */
async function scripted(
  answer: (path: string) => { status: number; headers?: Record<string, string>; body: string },
): Promise<{ url: string; server: Server }> {
  const http = createServer((request, response) => {
    const { status, headers = {}, body } = answer(request.url ?? "");
    response.writeHead(status, headers).end(body);
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`, server: http };
}

test("answers that are no Status become errors with the code's reason", async () => {
  const { url, server: http } = await scripted(() => ({ status: 502, body: "<html>bad gateway</html>" }));
  const error: unknown = await connect({ server: url })
    .resource(NamespaceKind)
    .list()
    .catch((caught: unknown) => caught);

  expect(error).toBeInstanceOf(ApiError);
  expect((error as ApiError).status).toMatchObject({ code: 502, reason: "InternalError" });
  expect((error as ApiError).message).toContain("bad gateway");
  http.close();
});

test("a read survives a connection that broke under it, a write does not repeat itself", async () => {
  let calls = 0;
  const http = createServer((request, response) => {
    calls += 1;
    if (calls === 1 || request.method === "POST") request.socket.destroy();
    else response.end('{"metadata":{"resourceVersion":"1"},"items":[]}');
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const client = connect({ server: `http://127.0.0.1:${(http.address() as AddressInfo).port}` });

  expect((await client.resource(NamespaceKind).list()).items).toEqual([]);
  expect(calls).toBe(2);
  await expect(client.json("POST", "/api/v1/namespaces", {})).rejects.toBeInstanceOf(UnavailableError);
  expect(calls).toBe(3);
  http.close();
});

test("waits as long as a busy server asks", async () => {
  let calls = 0;
  const { url, server: http } = await scripted(() => {
    calls += 1;
    return calls < 3
      ? { status: 429, headers: { "retry-after": "7" }, body: "{}" }
      : { status: 200, body: '{"metadata":{"resourceVersion":"1"},"items":[]}' };
  });
  const clock = virtualClock();
  const client = createClient({ transport: httpTransport({ server: url }), clock, random: seededRandom(1) });
  const listing = client.resource(NamespaceKind).list();
  const beganMs = clock.now();
  while (calls < 3) {
    await new Promise((resolve) => setImmediate(resolve));
    if (clock.pendingTimers > 0 && calls > 0) await clock.advance(1000);
  }
  await listing;

  expect(clock.now() - beganMs).toBeGreaterThanOrEqual(14_000);
  await client.close();
  http.close();
});

async function channelServer(
  protocol: string,
  talk: (
    send: (channel: number, text: string | Buffer) => void,
    socket: { on(event: "message", handler: (data: Buffer) => void): void; close(): void },
  ) => void,
) {
  const http = createServer((_request, response) => response.writeHead(200).end("line 1\nline 2\n"));
  const sockets = new WebSocketServer({
    server: http,
    handleProtocols: (offered) => (offered.has(protocol) ? protocol : false),
  });
  sockets.on("connection", (socket) =>
    talk((channel, text) => socket.send(Buffer.concat([Buffer.of(channel), Buffer.from(text)])), socket),
  );
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    client: connect({ server: `http://127.0.0.1:${(http.address() as AddressInfo).port}` }),
    close: () => {
      sockets.close();
      http.close();
    },
  };
}

test("exec sends input, closes it, and gives output and exit code back", async () => {
  const got: string[] = [];
  const { client, close } = await channelServer("v5.channel.k8s.io", (send, socket) => {
    socket.on("message", (data) => {
      if (data[0] === 0) got.push(data.subarray(1).toString());
      if (data[0] !== 255) return;
      got.push(`closed ${data[1]}`);
      send(1, "out");
      send(2, "err");
      send(
        3,
        JSON.stringify({
          status: "Failure",
          reason: "NonZeroExitCode",
          details: { causes: [{ reason: "ExitCode", message: "3" }] },
        }),
      );
      socket.close();
    });
  });
  const heard: string[] = [];
  const result = await exec(client, {
    namespace: "n",
    pod: "p",
    command: ["cat", "a b"],
    stdin: (async function* () {
      yield Buffer.from("hello");
    })(),
    stdout: (data) => heard.push(`1${Buffer.from(data).toString()}`),
    stderr: (data) => heard.push(`2${Buffer.from(data).toString()}`),
  });

  expect(result).toEqual({ exitCode: 3 });
  expect(got).toEqual(["hello", "closed 0"]);
  expect(heard).toEqual(["1out", "2err"]);
  const lines: string[] = [];
  for await (const chunk of podLogs(client, { namespace: "n", pod: "p", tailLines: 2 }))
    lines.push(Buffer.from(chunk).toString());
  expect(lines.join("")).toBe("line 1\nline 2\n");
  close();
});

test("port-forward carries bytes both ways and reports the port's error", async () => {
  const { client, close } = await channelServer("v4.channel.k8s.io", (send, socket) => {
    send(0, Buffer.from([80, 0]));
    send(1, Buffer.from([80, 0]));
    socket.on("message", (data) => {
      send(0, `echo ${data.subarray(1).toString()}`);
      send(1, "connection refused");
    });
  });
  const forward = await portForward(client, { namespace: "n", pod: "p", port: 80 });
  forward.write(Buffer.from("ping"));
  const heard: string[] = [];
  await expect(
    (async () => {
      for await (const data of forward.data) heard.push(Buffer.from(data).toString());
    })(),
  ).rejects.toThrow("port 80 of pod n/p: connection refused");

  expect(heard).toEqual(["echo ping"]);
  forward.close();
  close();
});

test("attach talks to the main process; in a pod the ServiceAccount is used", async () => {
  const { client, close } = await channelServer("v5.channel.k8s.io", (send, socket) => {
    send(1, "already running");
    send(3, JSON.stringify({ status: "Success" }));
    socket.close();
  });
  const heard: string[] = [];
  const result = await attach(client, {
    namespace: "n",
    pod: "p",
    stdout: (data) => heard.push(Buffer.from(data).toString()),
  });
  expect([result.exitCode, ...heard]).toEqual([0, "already running"]);
  close();

  await writeFile(join(folder, "namespace"), "team\n");
  await writeFile(join(folder, "ca.crt"), server.caPem);
  await writeFile(join(folder, "token"), `${cluster.server.adminToken}\n`);
  const { port } = new URL(server.url);
  const context = await inClusterContext(
    { KUBERNETES_SERVICE_HOST: "127.0.0.1", KUBERNETES_SERVICE_PORT: port },
    systemClock,
    folder,
  );
  expect(context.namespace).toBe("team");
  expect((await connect(context.transport).resource(NamespaceKind).list()).items.length).toBeGreaterThan(0);
  await expect(inClusterContext({}, systemClock)).rejects.toThrow("KUBERNETES_SERVICE_HOST");
});

test("a refused upgrade is the server's Status", async () => {
  await expect(exec(admin(), { namespace: "default", pod: "nobody", command: ["true"] })).rejects.toThrow(/nobody/);
  expect(PodKind.plural).toBe("pods");
});
