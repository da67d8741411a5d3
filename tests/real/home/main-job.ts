import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { loadDigits, splitDigits } from "../../../examples/digits/data.js";
import { freePorts } from "../../../src/testing/ports.js";
import { argosy, endGateway, program } from "./command.js";
import { type Built, joinKarmada, type RunningCluster, startKarmada } from "./karmada.js";
import { type Member, startMember } from "./member.js";
import { makeNetwork, type Network } from "./network.js";
import { Programs } from "./programs.js";

const NODE_PORT = 30080;
/** A backend that is gone may cost requests for so long. */
const healthWindowMs = 2000;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/**
 * The main job in its other home: a real Karmada, two real clusters with a node each, Argosy's images on them, its agents in pods and beside the hub; the example as
 * a user runs it, and a node that is cut off under load. Throws what does not hold.
 */
export async function runMainJob(built: Built): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "argosy-home-"));
  const network = makeNetwork();
  const ends: (() => Promise<void>)[] = [];
  try {
    const hub = await startKarmada(built);
    ends.push(() => hub.close());
    say("✔ a real Karmada");
    const members: Member[] = [];
    for (const name of ["cloud", "edge"]) {
      const member = await startMember(name, built, network);
      ends.push(() => member.close());
      members.push(member);
      say(`✔ a real cluster ${name}, its node Ready`);
    }
    ends.push(() => endGateway(join(folder, "agent", "gateway")));
    const agent = new Programs(folder);
    ends.push(() => agent.close());
    await runOn({ folder, network, hub, members, agent });
  } finally {
    for (const end of ends.reverse()) await end().catch((error: unknown) => say(`closing: ${String(error)}`));
    await network.close();
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

interface Home {
  readonly folder: string;
  readonly network: Network;
  readonly hub: RunningCluster;
  readonly members: readonly Member[];
  readonly agent: Programs;
}

async function runOn(home: Home): Promise<void> {
  const { folder, hub, members } = home;
  const archive = join(folder, "argosy.tar");
  await argosy(["images", "--output", archive, "--tag", "latest"]);
  const [ingress = 0, northbound = 0, artifacts = 0] = await freePorts(3);
  for (const member of members) {
    member.node.importImages(archive);
    const words = ["agent", "deployment", "--level", "cluster", "--cluster", member.name];
    const image = ["--image", "argosy.dev/argosy:latest", "--node-port", String(NODE_PORT)];
    const manifests = await argosy([...words, ...image]);
    await argosy(["apply", "--kubeconfig", member.stack.kubeconfig, "-f", "-"], { input: manifests });
    const annotations = { "argosy.dev/ingress-address": `${member.node.address}:${NODE_PORT}` };
    await joinKarmada(hub.client, {
      name: member.name,
      url: member.stack.url,
      caPem: member.stack.caPem,
      token: member.stack.token,
      annotations,
    });
  }
  for (const member of members) await ready(home, member);
  say("✔ a cluster agent in a pod of each, both joined to Karmada");
  const kubeconfig = join(folder, "fleet.kubeconfig");
  writeFileSync(kubeconfig, JSON.stringify(fleetKubeconfig(home)), { mode: 0o600 });
  const data = join(folder, "agent");
  const { gateway } = home.network;
  const place = ["--northbound", `${gateway}:${northbound}`, "--artifacts", `${gateway}:${artifacts}`];
  const words = ["agent", "--level", "continuum", "--kubeconfig", kubeconfig, "--context", "hub", "--cluster", "hub"];
  home.agent.start(
    process.execPath,
    [program, ...words, ...place, "--ingress", `127.0.0.1:${ingress}`, "--data", data],
    "agent",
  );
  await home.agent.until("the hub's agent is ready", async () =>
    /^ready:/m.test(readFileSync(join(folder, "agent.log"), "utf8")),
  );
  const job = await argosy(["start", "--kubeconfig", kubeconfig, "--data", data, "-o", "json"], { limitMs: 300_000 });
  say(`✔ the main job: ${job.replaceAll(/\s+/g, " ")}`);
  checkSummary(JSON.parse(job) as Summary);
  await cutUnderLoad(home, `http://127.0.0.1:${ingress}/t9k/hypermlservices/namespaces/digits/digits`);
}

interface Summary {
  readonly requests: { readonly failed: number; readonly accuracy: number; readonly byMember: Record<string, number> };
}

function checkSummary({ requests }: Summary): void {
  const { failed, accuracy, byMember } = requests;
  if (failed > 0 || accuracy < 0.95 || byMember["cloud"] !== 300 || byMember["edge"] !== 700)
    throw new Error(`not 300 and 700 right answers: ${JSON.stringify(requests)}`);
}

/** Requests one after the other while a node loses its power: after the health window, none is lost, and all go to the other member. */
async function cutUnderLoad({ members }: Home, url: string): Promise<void> {
  const { test } = splitDigits(await loadDigits());
  const width = test.pixels.length / test.count;
  const data = Array.from(test.pixels.subarray(0, width));
  const body = JSON.stringify({ inputs: [{ name: "input", datatype: "FP32", shape: [1, width], data }] });
  const began = Date.now();
  let cutAt: number | undefined;
  const seen: { readonly atMs: number; readonly by: string | undefined }[] = [];
  while (Date.now() - began < 12_000) {
    if (cutAt === undefined && Date.now() - began > 3000) {
      cutAt = Date.now();
      members[0]?.node.cut();
    }
    const sentAt = Date.now();
    const by = await answeredBy(`${url}/v2/models/digits/infer`, body);
    seen.push({ atMs: sentAt - (cutAt ?? Number.POSITIVE_INFINITY), by });
    await sleep(10);
  }
  const before = seen.filter(({ atMs }) => atMs < 0);
  const after = seen.filter(({ atMs }) => atMs >= healthWindowMs);
  const lost = seen.filter(({ by }) => by === undefined).length;
  const count = (list: typeof seen, by: string) => list.filter((one) => one.by === by).length;
  say(
    `✔ a node was cut: ${seen.length} requests, ${lost} lost; before ${count(before, "cloud")} to cloud and ${count(before, "edge")} to edge, after ${count(after, "edge")} to edge`,
  );
  if (
    after.length === 0 ||
    count(after, "edge") !== after.length ||
    count(before, "cloud") === 0 ||
    before.some(({ by }) => by === undefined)
  )
    throw new Error(
      `requests were lost, or went to the node that was cut: ${JSON.stringify(seen.filter(({ by }) => by !== "edge").slice(0, 20))}`,
    );
}

/** The member that answered; undefined: none did. */
async function answeredBy(url: string, body: string): Promise<string | undefined> {
  try {
    const headers = { "content-type": "application/json" };
    const answer = await fetch(url, { method: "POST", headers, body, signal: AbortSignal.timeout(5000) });
    await answer.text();
    return answer.ok ? (answer.headers.get("x-argosy-backend") ?? "?") : undefined;
  } catch {
    return undefined;
  }
}

async function ready({ hub, agent }: Home, member: Member): Promise<void> {
  const holds = (object: unknown, type: string) =>
    (object as { status?: { conditions?: { type: string; status: string }[] } }).status?.conditions?.some(
      (condition) => condition.type === type && condition.status === "True",
    ) === true;
  const deployment = "/apis/apps/v1/namespaces/argosy-system/deployments/argosy-cluster-agent";
  await agent.until(
    `the agent of ${member.name} is up`,
    async () => holds(await member.client.json("GET", deployment), "Available"),
    90,
  );
  const cluster = `/apis/cluster.karmada.io/v1alpha1/clusters/${member.name}`;
  await agent.until(`${member.name} is joined`, async () => holds(await hub.client.json("GET", cluster), "Ready"), 90);
}

function fleetKubeconfig({ hub, members }: Home): object {
  const clusters = [{ name: "hub", stack: hub.stack }, ...members];
  return {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "hub",
    clusters: clusters.map(({ name, stack }) => ({
      name,
      cluster: { server: stack.url, "certificate-authority-data": Buffer.from(stack.caPem).toString("base64") },
    })),
    users: clusters.map(({ name, stack }) => ({ name, user: { token: stack.token } })),
    contexts: clusters.map(({ name }) => ({ name, context: { cluster: name, user: name } })),
  };
}
