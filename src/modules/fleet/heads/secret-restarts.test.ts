import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createHttpsServer, request as requestTls } from "node:https";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { type GatewayDriver, gatewayDriver, runGateway } from "../../../dataplane/gateway/index.js";
import { systemClock, systemRandom } from "../../../kernel/clock/index.js";
import { createManager } from "../../../kernel/control/index.js";
import { type Authority, createAuthority } from "../../../kernel/identity/index.js";
import { findCondition, NamespaceKind, SecretKind } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { memoryLedger } from "../../../stores/ledger/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { eventually } from "../fixture.js";
import { headIngressController } from "../head-ingress.js";
import { ClusterKind, type HeadIngress, HeadIngressKind, HyperMLServiceKind } from "../kinds.js";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const inDemo = { namespace: "demo" };

/** A hub without controllers, and a gateway; `run` starts the controllers, as a process anew would. */
async function start() {
  const hub = await startTestCluster({ name: "hub", kinds: [HeadIngressKind, HyperMLServiceKind, ClusterKind] });
  closing.push(() => hub.close());
  await hub.client
    .resource(NamespaceKind)
    .create({ apiVersion: "v1", kind: "Namespace", metadata: { name: "demo" }, spec: {} });
  const directory = mkdtempSync(join(tmpdir(), "argosy-heads-tls-"));
  closing.push(() => rmSync(directory, { recursive: true, force: true }));
  const gateway = await runGateway({ directory, clock: systemClock, random: systemRandom, log: silentLogger });
  closing.push(() => gateway.close(0));
  const heads = hub.client.resource(HeadIngressKind);
  const settled = (name: string, isTrue: (head: HeadIngress) => boolean, what: string): Promise<HeadIngress> =>
    eventually(() => heads.get(name, inDemo), isTrue, what);
  return { hub, heads, settled, directory, run: () => run(hub, directory) };
}

async function run(hub: TestCluster, directory: string) {
  const driver = gatewayDriver({ directory, clock: systemClock, log: silentLogger });
  await driver.start();
  /** What the gateway was given, each time. */
  const given: string[][] = [];
  const gateway: GatewayDriver = {
    start: () => driver.start(),
    apply: (source, part) => {
      given.push(part.routes.map(({ id }) => id.split("/").at(-1) ?? "").sort());
      return driver.apply(source, part);
    },
    open: (listener) => driver.open(listener),
    partOf: (source) => driver.partOf(source),
    keep: (text) => driver.keep(text),
    observe: () => driver.observe(),
    get lastState() {
      return driver.lastState;
    },
    onState: (handler) => driver.onState(handler),
    onActivators: (handler) => driver.onActivators(handler),
    get process() {
      return driver.process;
    },
    close: (how) => driver.close(how),
  };
  const manager = createManager({ cluster: hub, clock: systemClock, random: systemRandom, log: silentLogger });
  manager.add(
    headIngressController({
      gateway,
      ledger: memoryLedger({ clock: systemClock }),
      listener: { name: "head", host: "127.0.0.1", port: 0 },
      tlsListener: { name: "head-tls", host: "127.0.0.1", port: 0 },
      members: () => undefined,
    }),
  );
  manager.start();
  let isStopped = false;
  const stop = async (): Promise<void> => {
    if (isStopped) return;
    isStopped = true;
    await manager.close();
    await driver.close();
  };
  closing.push(stop);
  const portOf = (listener: string): number =>
    Number(
      driver.lastState?.listeners
        .find(({ name }) => name === listener)
        ?.address.split(":")
        .at(-1),
    );
  return { given, portOf, stop };
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  closing.push(() => void server.close());
  const bound = server.address();
  return typeof bound === "object" ? (bound?.port ?? 0) : 0;
}

/** Sets a Secret's texts, of one that is there or not. */
async function secret(hub: TestCluster, name: string, texts: Record<string, string>): Promise<void> {
  const data = Object.fromEntries(
    Object.entries(texts).map(([key, text]) => [key, Buffer.from(text).toString("base64")]),
  );
  const secrets = hub.client.resource(SecretKind);
  if ((await secrets.find(name, inDemo)) !== undefined) await secrets.delete(name, inDemo);
  await secrets.create({ apiVersion: "v1", kind: "Secret", metadata: { name, ...inDemo }, data }, inDemo);
}

async function pairFor(authority: Authority, host: string): Promise<Record<string, string>> {
  const { certPem, keyPem } = await authority.issueServer([host]);
  return { "tls.crt": certPem, "tls.key": keyPem };
}

const draft = (name: string, spec: HeadIngress["spec"]) => ({
  apiVersion: "argosy.dev/v1alpha1",
  kind: "HeadIngress",
  metadata: { name, ...inDemo },
  spec: { path: "/", health: { timeoutMs: 10_000 }, ...spec },
});

const isServing = ({ status }: HeadIngress): boolean =>
  findCondition(status?.conditions, "Ready")?.status === "True" &&
  (status?.backends ?? []).every(({ weightEffective }) => weightEffective > 0);

function ask(port: number, host: string, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const to = { host: "127.0.0.1", port, servername: host, ca, agent: false, headers: { host } };
    requestTls(to, (response) => {
      let body = "";
      response.on("data", (piece: Buffer) => {
        body += piece.toString();
      });
      response.on("end", () => resolve(`${response.statusCode} ${body}`));
    })
      .on("error", reject)
      .end();
  });
}

test("whoever comes after this process takes no route away while Secrets are still to be read, nor those whose Secret went or turned wrong meanwhile", async () => {
  const { hub, heads, settled, run: begin } = await start();
  const authority = await createAuthority({ clock: systemClock, name: "test" });
  const port = await listening(createServer((_incoming, response) => response.end("model")));
  const inside = await authority.issueServer(["inner.example.org"]);
  const securePort = await listening(
    createHttpsServer({ cert: inside.certPem, key: inside.keyPem }, (_incoming, response) => response.end("secure")),
  );
  await secret(hub, "ca", { "ca.crt": authority.caPem });
  const names = ["a", "b", "c"];
  for (const name of names) {
    await secret(hub, `cert-${name}`, await pairFor(authority, `${name}.example.org`));
    const url = name === "c" ? `https://127.0.0.1:${securePort}` : `http://127.0.0.1:${port}`;
    await heads.create(
      draft(name, {
        hosts: [`${name}.example.org`],
        tls: { secretName: `cert-${name}` },
        backends: [{ name: "m", url }],
        ...(name === "c" ? { backendTLS: { serverName: "inner.example.org", caSecretName: "ca" } } : {}),
      }),
      inDemo,
    );
  }
  await heads.create(
    draft("plain", { path: "/plain/", backends: [{ name: "m", url: `http://127.0.0.1:${port}` }] }),
    inDemo,
  );
  // More than are looked at at a time.
  const others = Array.from({ length: 12 }, (_, index) => `o${index}`);
  for (const name of others)
    await heads.create(
      draft(name, {
        path: `/${name}/`,
        hosts: ["c.example.org"],
        tls: { secretName: "cert-c" },
        backends: [{ name: "m", url: `http://127.0.0.1:${port}` }],
      }),
      inDemo,
    );
  const first = await begin();
  for (const name of [...names, ...others, "plain"]) await settled(name, isServing, `${name} serves`);
  await first.stop();

  await hub.client.resource(SecretKind).delete("cert-a", inDemo);
  await secret(hub, "cert-b", { "tls.crt": "no certificate", "tls.key": "no key" });
  await secret(hub, "ca", { "ca.crt": "no certificate" });
  const second = await begin();
  for (const name of names) {
    const told = await settled(
      name,
      ({ status }) => findCondition(status?.conditions, "Programmed")?.reason === "Invalid",
      `${name} is told`,
    );
    expect(findCondition(told.status?.conditions, "Programmed")?.message).toMatch(
      /Secret .*; what it held before is gone on with until this is corrected/,
    );
    expect(findCondition(told.status?.conditions, "Ready")).toMatchObject({ status: "True", reason: "Degraded" });
  }
  for (const name of names)
    expect(await ask(second.portOf("head-tls"), `${name}.example.org`, authority.caPem)).toBe(
      `200 ${name === "c" ? "secure" : "model"}`,
    );
  const all = [...names, ...others, "plain"].sort().join();
  expect(second.given.filter((ids) => ids.join() !== all)).toEqual([]);
});

test("rendered: one whose Secret is not there does not spoil the configuration that others share; one that goes later is told; where it listens does not depend on who is looked at", async () => {
  const { hub, heads, settled, run: begin } = await start();
  const authority = await createAuthority({ clock: systemClock, name: "test" });
  for (const name of ["a", "b"]) await secret(hub, `cert-${name}`, await pairFor(authority, "any.example.org"));
  await begin();
  const backends = [{ name: "m", url: "http://127.0.0.1:9" }];
  const create = (name: string, listen: string) =>
    heads.create(
      draft(name, {
        class: "nginx",
        path: `/${name}/`,
        tls: { secretName: `cert-${name}` },
        rendering: { listen },
        backends,
      }),
      inDemo,
    );
  const isTold = ({ status }: HeadIngress): boolean => findCondition(status?.conditions, "Programmed") !== undefined;
  const told = async (name: string, type: string): Promise<string> => {
    const { status } = await settled(name, isTold, `${name} is told`);
    const { status: how = "", message = "" } = findCondition(status?.conditions, type) ?? {};
    return `${how} ${message}`;
  };
  const text = async (): Promise<string> =>
    JSON.stringify(await hub.client.json("GET", "/api/v1/namespaces/demo/configmaps/argosy-nginx"));
  await create("a", "127.0.0.1:9441");
  expect(await told("a", "Programmed")).toMatch(/^True /);
  await create("b", "127.0.0.1:9442");
  await create("c", "127.0.0.1:9443");

  expect(await told("c", "Programmed")).toBe("False spec.tls.secretName: there is no Secret cert-c");
  expect(await told("b", "Programmed")).toMatch(/^True /);
  const limits = await told("b", "FieldsHonoured");
  expect(limits).toContain(
    "spec.rendering.listen: an older HeadIngress that shares ConfigMap argosy-nginx says 127.0.0.1:9441",
  );
  expect(limits).toContain(
    "spec.tls.secretName: nginx has one certificate for a host: who names none gets that of Secret cert-a, which an older HeadIngress names",
  );
  const config = await text();
  expect(config).toContain("/b/");
  expect(config).toContain("127.0.0.1:9441");
  expect(config).not.toMatch(/9442|cert-c/);

  await hub.client.resource(SecretKind).delete("cert-b", inDemo);
  await heads.patch("b", "merge", { spec: { slowStartMs: 1 } }, inDemo);
  const lost = await settled("b", ({ status }) => status?.observedGeneration === 2, "it is looked at");
  expect(findCondition(lost.status?.conditions, "Programmed")?.message).toBe(
    "spec.tls.secretName: there is no Secret cert-b; what it held before is gone on with until this is corrected",
  );
  expect(await text()).toContain("/b/");
});

test("a rendered one's keys are not kept for the gateway; given to it while its Secret is wrong, it stays where it was until that is corrected", async () => {
  const { hub, heads, settled, directory, run: begin } = await start();
  const authority = await createAuthority({ clock: systemClock, name: "test" });
  const port = await listening(createServer((_incoming, response) => response.end("model")));
  await secret(hub, "cert", await pairFor(authority, "a.example.org"));
  const backends = [{ name: "m", url: `http://127.0.0.1:${port}` }];
  const spec = { class: "nginx" as const, hosts: ["a.example.org"], tls: { secretName: "cert" }, backends };
  await heads.create(draft("a", spec), inDemo);
  const { portOf } = await begin();
  const programmed = ({ status }: HeadIngress) => findCondition(status?.conditions, "Programmed");
  await settled("a", (head) => programmed(head)?.status === "True", "it is rendered");
  const kept = (): string[] => readdirSync(directory).filter((name) => name === "secrets");
  expect(kept()).toEqual([]);

  await secret(hub, "cert", { "tls.crt": "no certificate", "tls.key": "no key" });
  await heads.patch("a", "merge", { spec: { class: "builtin" } }, inDemo);
  const told = await settled("a", ({ status }) => status?.observedGeneration === 2, "it is looked at");
  expect(programmed(told)?.message).toMatch(/no certificate that can be read.*generation 1 of the spec stays/);
  expect(told.status?.rendered?.class).toBe("nginx");
  await secret(hub, "cert", await pairFor(authority, "a.example.org"));
  await heads.patch("a", "merge", { spec: { slowStartMs: 1 } }, inDemo);
  await settled("a", (head) => isServing(head) && programmed(head)?.status === "True", "the gateway has it");
  expect(await ask(portOf("head-tls"), "a.example.org", authority.caPem)).toBe("200 model");
  expect(kept()).toEqual(["secrets"]);
});

test("of two certificates for one host the older HeadIngress's is shown, the younger one says so, and has it when the older one goes", async () => {
  const { hub, heads, settled, run: begin } = await start();
  const port = await listening(createServer((_incoming, response) => response.end("model")));
  const authorities: Record<string, Authority> = {};
  const hosts: Record<string, string[]> = { old: ["a.example.org"], young: ["a.example.org", "b.example.org"] };
  for (const name of ["old", "young"]) {
    const authority = await createAuthority({ clock: systemClock, name });
    authorities[name] = authority;
    const { certPem, keyPem } = await authority.issueServer(["a.example.org", "b.example.org"]);
    await secret(hub, `cert-${name}`, { "tls.crt": certPem, "tls.key": keyPem });
    const { metadata } = await heads.create(
      draft(name, {
        path: `/${name}/`,
        hosts: hosts[name] ?? [],
        tls: { secretName: `cert-${name}` },
        backends: [{ name: "m", url: `http://127.0.0.1:${port}` }],
      }),
      inDemo,
    );
    // Ages count by the second.
    const at = Date.parse(metadata.creationTimestamp ?? "");
    await eventually(
      () => Date.now(),
      (now) => now >= at + 1_000,
      "a second is over",
    );
  }
  const { portOf } = await begin();
  for (const name of ["old", "young"]) await settled(name, isServing, `${name} serves`);
  const shownBy = async (host: string): Promise<string> => {
    for (const [name, { caPem }] of Object.entries(authorities))
      if ((await ask(portOf("head-tls"), host, caPem).catch(() => "")).startsWith("404")) return name;
    return "nobody";
  };
  const honoured = ({ status }: HeadIngress): string =>
    findCondition(status?.conditions, "FieldsHonoured")?.message ?? "";
  expect(await shownBy("a.example.org")).toBe("old");
  expect(await shownBy("b.example.org")).toBe("young");
  expect(honoured(await heads.get("old", inDemo))).not.toContain("certificate");
  expect(honoured(await heads.get("young", inDemo))).toBe(
    "spec.tls.secretName: the gateway has one certificate for a host: a.example.org gets that of Secret cert-old, which the older HeadIngress demo/old names",
  );
  await heads.delete("old", inDemo);
  await eventually(
    () => shownBy("a.example.org"),
    (name) => name === "young",
    "the younger one's certificate is shown",
  );
  await heads.patch("young", "merge", { spec: { slowStartMs: 1 } }, inDemo);
  await settled("young", (head) => !honoured(head).includes("certificate"), "nothing is said of it any more");
});

test("a certificate whose time is over, or has not begun, is shown for want of another and told until another one is there", async () => {
  const { hub, heads, settled, run: begin } = await start();
  const authority = await createAuthority({ clock: systemClock, name: "test" });
  const dayMs = 86_400_000;
  const at = async (offsetMs: number): Promise<Record<string, string>> => {
    const clock = { ...systemClock, now: () => systemClock.now() + offsetMs };
    const other = await createAuthority({ clock, name: "test" });
    const { certPem, keyPem } = await other.issueServer(["a.example.org"], { validityMs: dayMs });
    return { "tls.crt": certPem, "tls.key": keyPem };
  };
  const port = await listening(createServer((_incoming, response) => response.end("model")));
  await secret(hub, "cert", await at(-2 * dayMs));
  const backends = [{ name: "m", url: `http://127.0.0.1:${port}` }];
  await heads.create(draft("a", { hosts: ["a.example.org"], tls: { secretName: "cert" }, backends }), inDemo);
  const { portOf } = await begin();
  let generation = 1;
  const told = async (status: string): Promise<string> => {
    const isTold = (head: HeadIngress): boolean =>
      isServing(head) &&
      head.status?.observedGeneration === generation &&
      findCondition(head.status.conditions, "Programmed")?.status === status;
    const head = await settled("a", isTold, `Programmed is ${status}`);
    const ready = findCondition(head.status?.conditions, "Ready")?.reason;
    return `${ready}: ${findCondition(head.status?.conditions, "Programmed")?.message}`;
  };
  const replace = async (texts: Record<string, string>): Promise<void> => {
    await secret(hub, "cert", texts);
    await heads.patch("a", "merge", { spec: { slowStartMs: ++generation } }, inDemo);
  };
  expect(await told("False")).toMatch(
    /^Degraded: spec\.tls\.secretName: Secret cert: its certificate ended at \S+Z, and clients refuse it until another one is there$/,
  );
  await expect(ask(portOf("head-tls"), "a.example.org", authority.caPem)).rejects.toThrow();
  await replace(await at(2 * dayMs));
  expect(await told("False")).toMatch(/its certificate begins at \S+Z, and clients refuse it until then$/);
  await replace(await pairFor(authority, "a.example.org"));
  expect(await told("True")).not.toContain("certificate");
  expect(await ask(portOf("head-tls"), "a.example.org", authority.caPem)).toBe("200 model");
});

test("certificates, authorities and the gateway's own pair are exchanged under load without a request lost", async () => {
  const { hub, heads, settled, run: begin } = await start();
  const authority = await createAuthority({ clock: systemClock, name: "test" });
  const inside = await authority.issueServer(["inner.example.org"]);
  const options = { cert: inside.certPem, key: inside.keyPem, ca: authority.caPem, requestCert: true };
  const securePort = await listening(createHttpsServer(options, (_incoming, response) => response.end("secure")));
  const own = async (): Promise<Record<string, string>> => {
    const { certPem, keyPem } = await authority.issueClient("gateway.example.org", []);
    return { "tls.crt": certPem, "tls.key": keyPem };
  };
  await secret(hub, "cert", await pairFor(authority, "a.example.org"));
  await secret(hub, "ca", { "ca.crt": authority.caPem });
  await secret(hub, "own", await own());
  await heads.create(
    draft("a", {
      hosts: ["a.example.org"],
      tls: { secretName: "cert" },
      backends: [{ name: "m", url: `https://127.0.0.1:${securePort}` }],
      backendTLS: { serverName: "inner.example.org", caSecretName: "ca", clientSecretName: "own" },
    }),
    inDemo,
  );
  const { portOf } = await begin();
  await settled("a", isServing, "it serves");
  const answers: string[] = [];
  let isOver = false;
  const load = async (): Promise<void> => {
    while (!isOver)
      answers.push(await ask(portOf("head-tls"), "a.example.org", authority.caPem).catch((error) => String(error)));
  };
  const clients = [load(), load(), load()];
  const files = async (): Promise<string> => JSON.stringify((await heads.get("a", inDemo)).status?.observedGeneration);
  for (let turn = 1; turn <= 6; turn++) {
    await secret(hub, "cert", await pairFor(authority, "a.example.org"));
    const stranger = await createAuthority({ clock: systemClock, name: `stranger-${turn}` });
    await secret(hub, "ca", { "ca.crt": `${stranger.caPem}${authority.caPem}` });
    await secret(hub, "own", await own());
    await heads.patch("a", "merge", { spec: { slowStartMs: turn } }, inDemo);
    await eventually(files, (seen) => seen === String(turn + 1), "it is carried");
    const until = answers.length + 50;
    await eventually(
      () => answers.length,
      (count) => count >= until,
      "requests go on",
    );
  }
  isOver = true;
  await Promise.all(clients);
  expect(answers.filter((answer) => answer !== "200 secure")).toEqual([]);
  expect(answers.length).toBeGreaterThan(300);
});
