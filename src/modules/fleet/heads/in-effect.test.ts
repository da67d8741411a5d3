import { afterEach, expect, test } from "vitest";
import { systemClock, systemRandom } from "../../../kernel/clock/index.js";
import { createManager } from "../../../kernel/control/index.js";
import { findCondition, NamespaceKind } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { memoryLedger } from "../../../stores/ledger/index.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";
import { eventually, recordingGateway } from "../fixture.js";
import { headIngressController } from "../head-ingress.js";
import { ClusterKind, type HeadIngress, HeadIngressKind, HyperMLServiceKind } from "../kinds.js";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const inDemo = { namespace: "demo" };

/** A hub without controllers; `run` starts them, as a process anew would. */
async function start() {
  const hub = await startTestCluster({ name: "hub", kinds: [HeadIngressKind, HyperMLServiceKind, ClusterKind] });
  closing.push(() => hub.close());
  await hub.client
    .resource(NamespaceKind)
    .create({ apiVersion: "v1", kind: "Namespace", metadata: { name: "demo" }, spec: {} });
  return { hub, heads: hub.client.resource(HeadIngressKind) };
}

function run(hub: TestCluster) {
  const gateway = recordingGateway();
  const manager = createManager({ cluster: hub, clock: systemClock, random: systemRandom, log: silentLogger });
  manager.add(
    headIngressController({
      gateway,
      ledger: memoryLedger({ clock: systemClock }),
      listener: { name: "head", host: "127.0.0.1", port: 0 },
      tlsListener: undefined,
      members: () => undefined,
    }),
  );
  manager.start();
  closing.push(() => manager.close());
  const paths = () =>
    gateway.parts.get("head-ingress")?.routes.map(({ path, hosts }) => `${hosts?.join() ?? ""} ${path ?? ""}`);
  return { paths, stop: () => manager.close() };
}

const draft = (name: string, spec: HeadIngress["spec"]) => ({
  apiVersion: "argosy.dev/v1alpha1",
  kind: "HeadIngress",
  metadata: { name, ...inDemo },
  spec: { backends: [{ name: "one", url: "http://127.0.0.1:9" }], ...spec },
});

const messageIn = (head: HeadIngress, type: string): string =>
  findCondition(head.status?.conditions, type)?.message ?? "";

test("what is edited while nobody runs leaves the last good route in effect as well: the status has kept it", async () => {
  const { hub, heads } = await start();
  const first = run(hub);
  await heads.create(draft("a", { path: "/a/" }), inDemo);
  await eventually(
    () => heads.get("a", inDemo),
    ({ status }) => status?.inEffect?.generation === 1,
    "it is in effect",
  );
  await first.stop();
  await heads.patch("a", "merge", { spec: { path: "/b/", listener: "elsewhere" } }, inDemo);

  const second = run(hub);
  const told = await eventually(
    () => heads.get("a", inDemo),
    ({ status }) => status?.observedGeneration === 2,
    "it is told",
  );

  expect(second.paths()).toEqual(["* /a/"]);
  expect(messageIn(told, "Programmed")).toContain("generation 1 of the spec stays in effect");
  expect(told.status?.inEffect).toMatchObject({ generation: 1, spec: { path: "/a/" } });
});

test("an edit that takes an older one's place leaves both where they were; nobody gets a place that is still in effect", async () => {
  const { hub, heads } = await start();
  const { paths } = run(hub);
  for (const name of ["a", "b"]) {
    await heads.create(draft(name, { path: `/${name}/` }), inDemo);
    await eventually(
      () => heads.get(name, inDemo),
      ({ status }) => status?.inEffect?.generation === 1,
      "it is in effect",
    );
  }
  await heads.patch("b", "merge", { spec: { path: "/a/" } }, inDemo);
  const refused = await eventually(
    () => heads.get("b", inDemo),
    ({ status }) => status?.observedGeneration === 2,
    "it is told",
  );
  await heads.create(draft("c", { path: "/b/" }), inDemo);
  const late = await eventually(
    () => heads.get("c", inDemo),
    ({ status }) => status?.observedGeneration === 1,
    "it is told",
  );

  expect(paths()).toEqual(["* /a/", "* /b/"]);
  expect(messageIn(refused, "Programmed")).toMatch(
    /^HeadIngress demo\/a, which is older, .*; generation 1 of the spec/,
  );
  expect(messageIn(late, "Programmed")).toContain("HeadIngress demo/b, which is older");
  expect(late.status?.inEffect).toBeUndefined();
});

test("what a configuration's text cannot hold leaves the last good rendering in effect", async () => {
  const { hub, heads } = await start();
  run(hub);
  await heads.create(draft("a", { class: "nginx", path: "/a/" }), inDemo);
  const isInEffect = ({ status }: HeadIngress): boolean => status?.inEffect?.generation === 1;
  await eventually(() => heads.get("a", inDemo), isInEffect, "it is rendered");
  await heads.patch("a", "merge", { spec: { path: "/a;b/" } }, inDemo);
  const told = await eventually(
    () => heads.get("a", inDemo),
    ({ status }) => status?.observedGeneration === 2,
    "it is told",
  );
  const map = await hub.client.json("GET", "/api/v1/namespaces/demo/configmaps/argosy-nginx");

  expect(messageIn(told, "Programmed")).toMatch(/^spec\.path: it has characters .*; generation 1 of the spec stays/);
  expect(JSON.stringify(map)).toContain("location");
  expect(JSON.stringify(map)).toContain("/a/");
});
