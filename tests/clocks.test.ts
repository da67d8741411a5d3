import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import type { ApiClient } from "../src/kernel/client/types.js";
import { ConfigMapKind, findCondition, LeaseKind, NamespaceKind } from "../src/kernel/kinds/index.js";
import { ClusterKind, WorkKind } from "../src/modules/fleet/index.js";
import { temporaryFolder } from "../src/testing/folder.js";
import { unless } from "../src/testing/unless.js";
import { argosy, type Running, startArgosy } from "./support/argosy.js";
import { clientOf } from "./support/fleet.js";
import { otherClocks } from "./support/other-clock.js";
import { sendConfigMaps } from "./support/policies.js";
import { eventually } from "./support/polling.js";
import { processesOf } from "./support/processes.js";

// A hub, a process with two members (one by push, one by pull), two agents of the latter: each has a clock of its own, and none is right.
const clocks =
  process.env["ARGOSY_TEST_FAULTS"] === undefined ? "it takes two minutes; `npm run test:real` runs it" : otherClocks();
const withClocks = unless(typeof clocks === "string" ? clocks : undefined);
const folder = temporaryFolder("clocks-test");
const [hubData, memberData] = [join(folder, "hub"), join(folder, "members")];
const names = ["cloud", "edge"] as const;
type Name = (typeof names)[number];
const inDemo = { namespace: "demo" };
const force = { fieldManager: "test", force: true };
const members = {} as Record<Name, ApiClient>;
const agents: Running[] = [];
let hub: ApiClient;
let memberProcess: Running;

function turn(name: string, minutes: number): void {
  if (typeof clocks !== "string") clocks.turn(name, minutes);
}

function start(words: readonly string[], clock: string, minutes: number): Running {
  const environment = typeof clocks === "string" ? {} : clocks.environment(clock);
  turn(clock, minutes);
  return startArgosy(words, environment);
}

/** One command on the machine with this clock. */
async function argosyAt(clock: string, ...words: string[]) {
  const environment = typeof clocks === "string" ? {} : clocks.environment(clock);
  return startArgosy(words, environment).finished;
}

function startMembers(): Running {
  const without = ["--without", "scheduler,nodes,workloads,modules"];
  const environment = typeof clocks === "string" ? {} : clocks.environment("members");
  return startArgosy(["up", "--data", memberData, "--members", "cloud,edge", ...without], environment);
}

async function startAgent(clock: string, minutes: number): Promise<Running> {
  const words = ["agent", "--level", "cluster", "--pull", "--cluster", "edge", "--ingress", "127.0.0.1:0"];
  const way = ["--kubeconfig", join(memberData, "kubeconfig"), "--context", "edge", "--data", join(folder, clock)];
  const agent = start([...words, ...way], clock, minutes);
  agents.push(agent);
  await agent.says("ready: ");
  return agent;
}

async function run(...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await argosy(...words);
  expect(code, stderr).toBe(0);
  return stdout;
}

beforeAll(async () => {
  if (typeof clocks === "string") return;
  memberProcess = startMembers();
  turn("members", -10);
  await Promise.all([
    start(["up", "--data", hubData, "--members", ""], "hub", 10).says("ready: "),
    memberProcess.says("ready: "),
  ]);
  hub = await clientOf(hubData, "hub");
  for (const name of names) members[name] = await clientOf(memberData, name);
  await hub.resource(NamespaceKind).apply({ metadata: { name: "demo" } }, force);
  const way = ["--member-kubeconfig", join(memberData, "kubeconfig"), "--member-context"];
  await run("clusters", "join", "cloud", "--data", hubData, ...way, "cloud");
  const printed = await run("clusters", "token", "create", "edge", "--data", hubData);
  const words = printed.trim().split(" ").slice(1);
  await run(...words.slice(0, words.indexOf("--member-kubeconfig")), ...way, "edge");
  await startAgent("agent-1", -7);
  await sendConfigMaps(hub, {
    name: "out",
    selector: { labelSelector: { matchLabels: { goes: "out" } } },
    clusters: names,
  });
}, 200_000);

afterAll(async () => {
  if (typeof clocks === "string") return;
  for (const client of [hub, ...Object.values(members)]) await client?.close();
  for (const { child } of agents) child.kill("SIGTERM");
  await Promise.all(agents.map((agent) => agent.finished));
  // An agent that is killed leaves its gateway to the next one.
  for (const { pid } of processesOf(join(folder, "agent-1"))) process.kill(pid, "SIGKILL");
  await argosy("down", "--data", hubData);
  await argosy("down", "--data", memberData);
  clocks.remove();
}, 120_000);

const readyOf = async (name: Name) =>
  findCondition((await hub.resource(ClusterKind).get(name)).status?.conditions, "Ready");

function isReady(name: Name, expected = "True", reason = "") {
  let seen: unknown;
  return eventually(
    `${name} is Ready: ${expected}`,
    async () => {
      const ready = await readyOf(name);
      seen = ready;
      return ready?.status === expected && ready.reason?.includes(reason) === true ? ready : undefined;
    },
    { boundMs: 60_000, seen: () => seen },
  );
}

/** Writes it in the hub, and waits until every member has it and the hub says so. */
async function deliver(name: string, text: string): Promise<void> {
  const metadata = { name, ...inDemo, labels: { goes: "out" } };
  await hub.resource(ConfigMapKind).apply({ metadata, data: { text } }, force);
  for (const member of names) {
    let seen: unknown;
    await eventually(
      `${member} has ${name}`,
      async () => {
        const { data } = (await members[member].resource(ConfigMapKind).find(name, inDemo)) ?? {};
        const { items } = await hub.resource(WorkKind).list({ namespace: `karmada-es-${member}` });
        const work = items.find(({ spec }) => JSON.stringify(spec).includes(`"name":"${name}"`));
        const applied = findCondition(work?.status?.conditions, "Applied");
        seen = applied;
        const isTold = applied?.status === "True" && applied.observedGeneration === work?.metadata.generation;
        return data?.["text"] === text && isTold ? true : undefined;
      },
      { seen: () => seen },
    );
  }
}

/** Everything that is said of the clusters' readiness while `work` goes on. */
async function readiness(work: () => Promise<void>): Promise<string[]> {
  const said: string[] = [];
  const stop = new AbortController();
  const { resourceVersion } = await hub.resource(ClusterKind).list();
  const watching = (async () => {
    for await (const { object } of hub.resource(ClusterKind).watch({ resourceVersion, signal: stop.signal })) {
      const ready = findCondition(object.status?.conditions, "Ready");
      if (ready !== undefined && ready.status !== "True") said.push(`${object.metadata.name}: ${ready.message}`);
    }
  })().catch(() => undefined);
  await work();
  stop.abort();
  await watching;
  return said;
}

withClocks(
  "clocks that differ by minutes, or jump by an hour: deliveries arrive, and no member is called not ready",
  async () => {
    for (const name of names) await isReady(name);
    const said = await readiness(async () => {
      await deliver("first", "a");
      turn("hub", 50);
      await deliver("second", "a");
      turn("members", -55);
      await deliver("third", "a");
      turn("agent-1", 45);
      await deliver("fourth", "a");
      turn("hub", -30);
      await deliver("first", "b");
      turn("hub", 10);
      turn("members", 20);
      turn("agent-1", -7);
      // Long enough for every lease and every look of before.
      const renewals = new Set<string>();
      await eventually("the agent's lease is renewed five times", async () => {
        const lease = await hub.resource(LeaseKind).get("edge", { namespace: "karmada-cluster" });
        renewals.add(lease.spec.renewTime ?? "");
        return renewals.size > 5 ? true : undefined;
      });
      await deliver("second", "b");
    });

    expect(said).toEqual([]);
  },
  120_000,
);

withClocks(
  "a standby whose clock is half an hour ahead takes no lease from one that lives, and takes it when that one is dead",
  async () => {
    const lease = () => members.edge.resource(LeaseKind).get("argosy-cluster-agent", { namespace: "argosy-system" });
    const before = (await lease()).spec.holderIdentity;
    const standby = await startAgent("agent-2", 30);
    const seen = new Map<string, Set<string>>();
    const look = async (): Promise<void> => {
      const { holderIdentity = "", renewTime = "" } = (await lease()).spec;
      seen.set(holderIdentity, (seen.get(holderIdentity) ?? new Set()).add(renewTime));
    };
    await eventually("the lease is renewed seven times", async () => {
      await look();
      turn("agent-2", seen.size % 2 === 0 ? 30 : -30);
      return [...seen.values()].reduce((sum, { size }) => sum + size, 0) > 7 ? true : undefined;
    });
    const [first] = agents;
    first?.child.kill("SIGKILL");
    const after = await eventually("the standby has it", async () => {
      const { holderIdentity } = (await lease()).spec;
      return holderIdentity === before ? undefined : holderIdentity;
    });
    await deliver("third", "b");

    expect([...seen.keys()]).toEqual([before]);
    expect(after).toContain(String(standby.child.pid));
  },
  120_000,
);

withClocks(
  "certificates that a clock makes invalid are called so, with the clocks as the cause; right clocks heal it",
  async () => {
    // Before the member's certificate begins; what is connected already goes on.
    turn("hub", -600);
    memberProcess.child.kill("SIGTERM");
    await memberProcess.finished;
    memberProcess = startMembers();
    await memberProcess.says("ready: ");
    const stranger = await argosyAt("hub", "clusters", "list", "--data", memberData, "--context", "cloud");
    const refused = await isReady("cloud", "False", "CertificateRefused");
    turn("hub", 0);
    await isReady("cloud");
    await deliver("fourth", "b");

    expect(refused.message).toMatch(/not yet valid.*clocks/);
    expect(stranger.stderr).toMatch(/not yet valid[\s\S]*clocks/);
  },
  120_000,
);
