import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { ApiClient } from "../src/kernel/client/types.js";
import { ConfigMapKind, findCondition, NamespaceKind, SecretKind } from "../src/kernel/kinds/index.js";
import { ClusterKind, WorkKind } from "../src/modules/fleet/index.js";
import { argosy, startArgosy } from "./support/argosy.js";
import { type Behaviour, Door } from "./support/door.js";
import { clientOf } from "./support/fleet.js";
import { Killable } from "./support/killable.js";
import { sendConfigMaps } from "./support/policies.js";
import { eventually } from "./support/polling.js";

// A hub and two members, each a process of its own; between them doors that play tricks. Every test leaves all of it well for the next.
const folder = mkdtempSync(join(tmpdir(), "argosy-fleet-faults-"));
const data = join(folder, "hub");
const inDemo = { namespace: "demo" };
const names = ["a", "b"] as const;
type Name = (typeof names)[number];
const servers = {} as Record<Name, Killable>;
const doors = {} as Record<Name, Door>;
const members = {} as Record<Name, ApiClient>;
let hub: ApiClient;

const startHub = async (): Promise<void> => {
  const running = startArgosy(["up", "--data", data, "--members", "", "--without", "scheduler,nodes,workloads"]);
  await running.says("ready: ");
  hub = await clientOf(data, "hub");
};

async function joinMember(name: Name): Promise<void> {
  const server = new Killable(join(folder, name));
  await server.start();
  const { token } = server.access;
  const door = await Door.open(server.access);
  [servers[name], doors[name], members[name]] = [server, door, server.client()];
  const encode = (text: string): string => Buffer.from(text).toString("base64");
  const where = { name, namespace: "karmada-cluster" };
  await hub
    .resource(SecretKind)
    .apply(
      { metadata: where, type: "Opaque", data: { token: encode(token), caBundle: encode(door.caPem) } },
      { fieldManager: "test" },
    );
  await hub
    .resource(ClusterKind)
    .apply(
      { metadata: { name }, spec: { syncMode: "Push", apiEndpoint: door.url, secretRef: where } },
      { fieldManager: "test" },
    );
}

/** A ConfigMap in the hub, for both members. */
const put = (name: string, text: string) =>
  hub
    .resource(ConfigMapKind)
    .apply(
      { metadata: { name, ...inDemo, labels: { goes: "out" } }, data: { text } },
      { fieldManager: "test", force: true },
    );
const textIn = async (member: Name, name: string): Promise<string | undefined> =>
  (await members[member].resource(ConfigMapKind).find(name, inDemo))?.data?.["text"];
const has = (member: Name, name: string, text: string): Promise<true> =>
  eventually(
    `${member} has ${name} as ${text}`,
    async () => ((await textIn(member, name)) === text ? true : undefined),
    {
      boundMs: 60_000,
    },
  );

/** What the hub says of a ConfigMap's delivery to a member. */
async function delivery(member: Name, name: string) {
  const { items } = await hub.resource(WorkKind).list({ namespace: `karmada-es-${member}` });
  const work = items.find(({ spec }) => JSON.stringify(spec).includes(`"name":"${name}"`));
  const applied = findCondition(work?.status?.conditions, "Applied");
  const isFresh = applied?.observedGeneration === work?.metadata.generation;
  return { isApplied: applied?.status === "True" && isFresh, message: applied?.message ?? "", work };
}

const isApplied = (member: Name, name: string): Promise<true> =>
  eventually(
    `${name} is applied in ${member}`,
    async () => ((await delivery(member, name)).isApplied ? true : undefined),
    { boundMs: 90_000 },
  );

const isReady = (member: Name, expected: "True" | "False"): Promise<true> =>
  eventually(
    `${member} is ready: ${expected}`,
    async () => {
      const { status } = await hub.resource(ClusterKind).get(member);
      return findCondition(status?.conditions, "Ready")?.status === expected ? true : undefined;
    },
    { boundMs: 60_000 },
  );

/** Writes of an object that reached a member and were carried out. */
const writesOf = (member: Name, name: string) =>
  doors[member].writes.filter(({ path, status }) => path.includes(`/configmaps/${name}?`) && status < 300);

beforeAll(async () => {
  await startHub();
  await hub.resource(NamespaceKind).apply({ metadata: { name: "demo" } }, { fieldManager: "test" });
  for (const name of names) await joinMember(name);
  await sendConfigMaps(hub, {
    name: "out",
    selector: { labelSelector: { matchLabels: { goes: "out" } } },
    clusters: names,
  });
  for (const name of names) await isReady(name, "True");
}, 200_000);

beforeEach(() => {
  for (const name of names) doors[name].writes.length = 0;
});

afterAll(async () => {
  await hub?.close();
  await argosy("down", "--data", data);
  for (const name of names) {
    await members[name]?.close();
    await doors[name]?.close();
    await servers[name]?.kill();
  }
  rmSync(folder, { recursive: true, force: true });
}, 120_000);

test("a member that is cut off delays nobody, is called not ready, keeps what it has, and gets what is new once when it is back", async () => {
  await put("cut", "before");
  for (const name of names) await isApplied(name, "cut");
  doors.a.behave = () => "silent";
  await put("cut", "after");
  await has("b", "cut", "after");
  await isApplied("b", "cut");
  await isReady("a", "False");
  const meanwhile = { told: (await delivery("a", "cut")).isApplied, text: await textIn("a", "cut") };
  doors.a.behave = () => "pass";
  doors.a.breakConnections();
  await isReady("a", "True");
  await isApplied("a", "cut");

  expect(meanwhile).toEqual({ told: false, text: "before" });
  expect(await textIn("a", "cut")).toBe("after");
  expect(writesOf("a", "cut").map(({ body }) => body.includes("after"))).toEqual([false, true]);
  expect(writesOf("b", "cut")).toHaveLength(2);
}, 240_000);

test("a member that answers late, with errors, with something else or half: no status lies, others go on, and all is right in the end", async () => {
  const tricks: Behaviour[] = [
    { lateMs: 700 },
    { status: 500, body: "etcdserver: request timed out" },
    { status: 429, body: "{}", headers: { "retry-after": "1" } },
    { status: 200, body: "<html>It works!</html>" },
    "half",
    "pass",
  ];
  let turn = 0;
  doors.a.behave = ({ path }) => {
    if (path.startsWith("/readyz") || path.includes("watch=true")) return "pass";
    turn += 1;
    return tricks[turn % tricks.length] ?? "pass";
  };
  const objects = Array.from({ length: 10 }, (_, index) => `odd-${index}`);
  for (const name of objects) await put(name, "new");
  for (const name of objects) await has("b", name, "new");
  const lies: string[] = [];
  for (const name of objects)
    if ((await delivery("a", name)).isApplied && (await textIn("a", name)) !== "new") lies.push(name);
  doors.a.behave = () => "pass";
  for (const name of objects) await isApplied("a", name);

  expect(lies).toEqual([]);
  // However often it was said: each changed its member once.
  for (const name of objects) {
    expect(await textIn("a", name)).toBe("new");
    expect(new Set(writesOf("a", name).map(({ version }) => version)).size).toBe(1);
    expect(writesOf("b", name)).toHaveLength(1);
  }
}, 240_000);

test("manifests that a member never takes: the others go on, the status says why and when it is tried next, tries get rarer", async () => {
  const refusal = {
    kind: "Status",
    apiVersion: "v1",
    status: "Failure",
    reason: "Forbidden",
    code: 403,
    message: 'admission webhook "rules.example" denied the request: no such thing here',
  };
  let tries = 0;
  doors.a.behave = ({ method, path }) => {
    if (method !== "PATCH" || !path.includes("/configmaps/bad-")) return "pass";
    tries += 1;
    return { status: 403, body: JSON.stringify(refusal) };
  };
  for (const index of [0, 1, 2]) {
    await put(`bad-${index}`, "x");
    await put(`good-${index}`, "x");
  }
  for (const index of [0, 1, 2]) {
    await isApplied("a", `good-${index}`);
    for (const kind of ["good", "bad"]) await isApplied("b", `${kind}-${index}`);
  }
  const told = await eventually("the refusal and the next try are told", async () => {
    const { message, work } = await delivery("a", "bad-1");
    const next = work?.status?.nextRetryTime;
    return message !== "" && next !== undefined ? { message, next: Date.parse(next), tries } : undefined;
  });
  doors.a.behave = () => "pass";
  for (const index of [0, 1, 2]) await isApplied("a", `bad-${index}`);

  expect(told.message).toContain("no such thing here");
  expect(Number.isFinite(told.next)).toBe(true);
  // Three objects; after each failure the next try waits twice as long.
  expect(told.tries).toBeLessThan(60);
}, 240_000);
