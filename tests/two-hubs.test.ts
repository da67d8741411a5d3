import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ApiClient } from "../src/kernel/client/types.js";
import { ConfigMapKind, findCondition, LeaseKind, NamespaceKind } from "../src/kernel/kinds/index.js";
import { WorkKind } from "../src/modules/fleet/index.js";
import { argosy, type Running, startArgosy } from "./support/argosy.js";
import { clientOf } from "./support/fleet.js";
import { eventually } from "./support/polling.js";

// Two hubs and a member, each a process of its own, as a user starts them; the member is in the fleets of both by mistake.
const folder = mkdtempSync(join(tmpdir(), "argosy-two-hubs-"));
const at = (name: string): string => join(folder, name);
const hubNames = ["first", "second"] as const;
type HubName = (typeof hubNames)[number];
const hubs = {} as Record<HubName, ApiClient>;
const inDemo = { namespace: "demo" };
const force = { fieldManager: "test", force: true };
let member: ApiClient;

const up = (name: string, members: string, ...words: string[]): Running =>
  startArgosy(["up", "--data", at(name), "--members", members, ...words]);

beforeAll(async () => {
  const without = ["--without", "scheduler,nodes,workloads,modules"];
  const started = [up("first", ""), up("second", ""), up("member", "site", ...without)];
  await Promise.all(started.map((running) => running.says("ready: ")));
  member = await clientOf(at("member"), "site");
  for (const name of hubNames) {
    hubs[name] = await clientOf(at(name), "hub");
    await hubs[name].resource(NamespaceKind).apply({ metadata: { name: "demo" } }, force);
    const way = ["--member-kubeconfig", join(at("member"), "kubeconfig"), "--member-context", "site"];
    const { code, stderr } = await argosy("clusters", "join", "site", "--data", at(name), ...way);
    expect(code, stderr).toBe(0);
  }
}, 200_000);

afterAll(async () => {
  for (const client of [...Object.values(hubs), member]) await client?.close();
  for (const name of ["first", "second", "member"]) await argosy("down", "--data", at(name));
  rmSync(folder, { recursive: true, force: true });
}, 100_000);

const put = (hub: HubName, text: string) =>
  hubs[hub].resource(ConfigMapKind).apply({ metadata: { name: "settings", ...inDemo }, data: { text } }, force);

async function deliver(hub: HubName, text: string): Promise<void> {
  await put(hub, text);
  await hubs[hub].json("POST", "/apis/policy.karmada.io/v1alpha1/namespaces/demo/propagationpolicies", {
    apiVersion: "policy.karmada.io/v1alpha1",
    kind: "PropagationPolicy",
    metadata: { name: "settings", ...inDemo },
    spec: {
      resourceSelectors: [{ apiVersion: "v1", kind: "ConfigMap", name: "settings" }],
      placement: { clusterAffinity: { clusterNames: ["site"] } },
    },
  });
}

/** What a hub says of the delivery, as soon as it speaks of the text that it wants now. */
async function told(hub: HubName, text: string, expected: "True" | "False") {
  let seen: unknown;
  return eventually(
    `the ${hub} hub says ${expected} of ${text}`,
    async () => {
      const { items } = await hubs[hub].resource(WorkKind).list({ namespace: "karmada-es-site" });
      const work = items.find(({ spec }) => JSON.stringify(spec).includes('"settings"'));
      const applied = findCondition(work?.status?.conditions, "Applied");
      seen = applied;
      const isOfNow = applied?.observedGeneration === work?.metadata.generation;
      return work !== undefined && JSON.stringify(work.spec).includes(text) && isOfNow && applied?.status === expected
        ? applied
        : undefined;
    },
    { boundMs: 60_000, seen: () => seen },
  );
}

const inMember = () => member.resource(ConfigMapKind).find("settings", inDemo);

test("two hubs that deliver one object to one member: the last keeps it, the other says so and writes nothing; when it goes, the other is whole again", async () => {
  await deliver("first", "one");
  await told("first", "one", "True");
  await deliver("second", "two");
  await told("second", "two", "True");
  const refused = await told("first", "one", "False");
  const before = await inMember();
  for (const text of ["three", "four", "five"]) {
    await put("first", text);
    await told("first", text, "False");
  }
  const after = await inMember();
  await hubs.second.json("DELETE", "/apis/policy.karmada.io/v1alpha1/namespaces/demo/propagationpolicies/settings");
  await hubs.second.resource(ConfigMapKind).delete("settings", inDemo);
  await told("first", "five", "True");

  expect(refused.message).toMatch(/was taken over by another hub: two hubs deliver/);
  expect(before?.data).toEqual({ text: "two" });
  expect(after?.metadata.resourceVersion).toBe(before?.metadata.resourceVersion);
  expect((await inMember())?.data).toEqual({ text: "five" });
}, 200_000);

test("a second process on one hub's data is refused, with the number of the first", async () => {
  const { code, stderr } = await argosy("up", "--data", at("first"), "--members", "");

  expect(code).not.toBe(0);
  expect(stderr).toMatch(/process \d+/);
}, 60_000);

test("an agent beside a hub that has its controllers waits, says for whom, and leaves everything alone", async () => {
  const lease = () => hubs.first.resource(LeaseKind).get("argosy-continuum-agent", { namespace: "argosy-system" });
  const before = await lease();
  const words = ["--kubeconfig", join(at("first"), "kubeconfig"), "--cluster", "hub", "--data", at("agent")];
  const more = ["--ingress", "127.0.0.1:0", "--northbound", ":0", "--artifacts", ":0", "--modules", "fleet"];
  const agent = startArgosy(["agent", "--level", "continuum", ...words, ...more]);
  await agent.says("waits: argosy up on ");
  const version = (await inMember())?.metadata.resourceVersion;
  await put("first", "six");
  await told("first", "six", "True");
  const after = await inMember();
  agent.child.kill("SIGTERM");
  const { code, stderr } = await agent.finished;

  expect(code, stderr).toBe(0);
  expect(await lease()).toEqual(before);
  expect(after?.data).toEqual({ text: "six" });
  // One write made it so.
  expect(Number(after?.metadata.resourceVersion)).toBeGreaterThan(Number(version));
  expect(after?.metadata.managedFields?.filter(({ operation }) => operation === "Apply")).toHaveLength(1);
}, 100_000);
