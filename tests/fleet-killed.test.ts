import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { ApiClient } from "../src/kernel/client/types.js";
import {
  type ConfigMap,
  ConfigMapKind,
  findCondition,
  NamespaceKind,
  ServiceAccountKind,
} from "../src/kernel/kinds/index.js";
import { ClusterKind, HyperMLServiceKind, WorkKind } from "../src/modules/fleet/index.js";
import { argosy, type Running, startArgosy } from "./support/argosy.js";
import { blankManifests, blankPath, blankRequest } from "./support/blank-model.js";
import { addressesIn, clientOf, gatewayProcessOf } from "./support/fleet.js";
import { sendConfigMaps } from "./support/policies.js";
import { eventually } from "./support/polling.js";
import { Stream } from "./support/stream.js";

// A hub is one process, its members are another (with nodes of their own); a model is served through the hub's gateway, and requests flow all the
// time. Every test leaves all of it well for the next.
const folder = mkdtempSync(join(tmpdir(), "argosy-fleet-killed-"));
const [hubData, memberData] = [join(folder, "hub"), join(folder, "members")];
const names = ["cloud", "edge"] as const;
type Name = (typeof names)[number];
interface Head {
  readonly status?: { readonly backends?: readonly { readonly weightEffective: number }[] };
}

const inDemo = { namespace: "demo" };
const force = { fieldManager: "test", force: true };
const members = {} as Record<Name, ApiClient>;
let hub: ApiClient;
let hubProcess: Running;
let stream: Stream;

async function startHub(): Promise<void> {
  hubProcess = startArgosy(["up", "--data", hubData, "--members", ""]);
  await hubProcess.says("ready: ");
  await hub?.close();
  hub = await clientOf(hubData, "hub");
}

async function startMembers(): Promise<void> {
  await startArgosy(["up", "--data", memberData, "--members", "cloud=1,edge=1"]).says("ready: ");
  for (const name of names) members[name] = await clientOf(memberData, name);
}

/** As a user brings a cluster in; doing it again renews the hub's credentials there. */
async function joinAs(name: Name): Promise<void> {
  const way = ["--member-kubeconfig", join(memberData, "kubeconfig"), "--member-context", name];
  const { code, stderr } = await argosy("clusters", "join", name, "--data", hubData, ...way);
  expect(code, stderr).toBe(0);
}

async function joinFirst(name: Name): Promise<void> {
  await joinAs(name);
  const ingress = addressesIn(memberData).clusters.find((cluster) => cluster.name === name) as { ingress?: string };
  const address = new URL(ingress.ingress ?? "").host;
  const annotations = { "argosy.dev/ingress-address": address };
  await hub.resource(ClusterKind).patch(name, "merge", { metadata: { annotations } });
}

/** A ConfigMap in the hub, for both members. */
const put = (name: string, text: string) =>
  hub.resource(ConfigMapKind).apply({ metadata: { name, ...inDemo, labels: { goes: "out" } }, data: { text } }, force);

/** What a member's own watch says of the ConfigMaps that come in: the versions of each, oldest first. */
class Arrivals {
  readonly versions = new Map<string, ConfigMap[]>();
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;

  private constructor(client: ApiClient, resourceVersion: string) {
    this.#watching = this.#watch(client, resourceVersion).catch(() => undefined);
  }

  static async of(member: Name): Promise<Arrivals> {
    const { resourceVersion } = await members[member].resource(ConfigMapKind).list(inDemo);
    return new Arrivals(members[member], resourceVersion);
  }

  async #watch(client: ApiClient, resourceVersion: string): Promise<void> {
    const { signal } = this.#stop;
    for await (const { type, object } of client.resource(ConfigMapKind).watch({ ...inDemo, resourceVersion, signal })) {
      if (type === "BOOKMARK") continue;
      const { name } = object.metadata;
      this.versions.set(name, [...(this.versions.get(name) ?? []), object]);
    }
  }

  textsOf(name: string): (string | undefined)[] {
    return (this.versions.get(name) ?? []).map(({ data }) => data?.["text"]);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#watching;
  }
}

/** What a member was given, with the version of each: it is the same when nothing was written again. */
async function deliveredTo(member: Name) {
  const generations: Record<string, unknown> = {};
  const path = "/apis/tensorstack.dev/v1beta1/namespaces/demo";
  for (const [plural, name] of [
    ["mlservices", "blank"],
    ["mlserviceruntimes", "onnx"],
  ]) {
    const object = (await members[member].json("GET", `${path}/${plural}/${name}`)) as unknown as {
      metadata: { uid: string; generation: number };
    };
    generations[plural ?? ""] = [object.metadata.uid, object.metadata.generation];
  }
  const { metadata } = await members[member].resource(ConfigMapKind).get("model", inDemo);
  return { ...generations, model: [metadata.uid, metadata.resourceVersion] };
}

const conditionsOf = async (name: Name) =>
  findCondition((await hub.resource(ClusterKind).get(name)).status?.conditions, "Ready");

const isReady = (name: Name): Promise<true> => {
  let seen: unknown;
  return eventually(
    `${name} is Ready`,
    async () => {
      const ready = await conditionsOf(name);
      seen = ready;
      return ready?.status === "True" ? true : undefined;
    },
    { boundMs: 60_000, seen: () => seen },
  );
};

/** Whether every Work of a member is applied as it is now. */
async function allApplied(name: Name): Promise<boolean> {
  const { items } = await hub.resource(WorkKind).list({ namespace: `karmada-es-${name}` });
  return items.every(({ metadata, status }) => {
    const applied = findCondition(status?.conditions, "Applied");
    return applied?.status === "True" && applied.observedGeneration === metadata.generation;
  });
}

const isWhole = (): Promise<true> => {
  let seen: unknown;
  return eventually(
    "everything is applied, ready, and sent its share",
    async () => {
      const service = await hub.resource(HyperMLServiceKind).get("blank", inDemo);
      const head = (await hub.json("GET", "/apis/argosy.dev/v1alpha1/namespaces/demo/headingresses/blank")) as Head;
      seen = [service.status?.conditions, head.status?.backends];
      const holds = ["FullyApplied", "Ready", "TrafficReady"].every(
        (type) => findCondition(service.status?.conditions, type)?.status === "True",
      );
      const isShared = head.status?.backends?.every(({ weightEffective }) => weightEffective > 0) === true;
      return holds && isShared && head.status?.backends?.length === 2 ? true : undefined;
    },
    { boundMs: 90_000, seen: () => seen },
  );
};

beforeAll(async () => {
  await Promise.all([startHub(), startMembers()]);
  await hub.resource(NamespaceKind).apply({ metadata: { name: "demo" } }, force);
  for (const name of names) await joinFirst(name);
  await sendConfigMaps(hub, {
    name: "out",
    selector: { labelSelector: { matchLabels: { goes: "out" } } },
    clusters: names,
  });
  await hub.json("POST", "/apis/tensorstack.dev/v1beta1/namespaces/demo/hypermlservices", {
    apiVersion: "tensorstack.dev/v1beta1",
    kind: "HyperMLService",
    metadata: { name: "blank", ...inDemo },
    spec: { workloads: [{ clusters: [...names], manifests: blankManifests("demo") }] },
  });
  await isWhole();
}, 240_000);

beforeEach(async () => {
  await isWhole();
  stream = new Stream(addressesIn(hubData).ingress, blankPath("demo"), blankRequest);
  await stream.more(50);
}, 100_000);

afterEach(async () => {
  await stream?.stop();
}, 30_000);

afterAll(async () => {
  for (const client of [hub, ...Object.values(members)]) await client?.close();
  await argosy("down", "--data", hubData);
  await argosy("down", "--data", memberData);
  rmSync(folder, { recursive: true, force: true });
}, 120_000);

test("the hub is killed while requests and deliveries flow, and started again: none is lost, nothing is written twice, members go on", async () => {
  const gateway = gatewayProcessOf(hubData);
  const before = { cloud: await deliveredTo("cloud"), edge: await deliveredTo("edge") };
  const arrivals = { cloud: await Arrivals.of("cloud"), edge: await Arrivals.of("edge") };
  const objects = Array.from({ length: 40 }, (_, index) => `note-${index}`);
  const acknowledged: string[] = [];
  const writing = (async () => {
    for (const name of objects) {
      await put(name, "once");
      acknowledged.push(name);
    }
  })().catch(() => undefined);
  await eventually("some were written", () => (acknowledged.length >= 15 ? true : undefined));
  hubProcess.child.kill("SIGKILL");
  await hubProcess.finished;
  await writing;
  await stream.more(300);
  // A pod that dies meanwhile is the member's own to replace.
  const { items } = (await members.edge.json("GET", "/api/v1/namespaces/demo/pods")) as unknown as {
    items: { metadata: { name: string; uid: string } }[];
  };
  await members.edge.json("DELETE", `/api/v1/namespaces/demo/pods/${items[0]?.metadata.name}`);
  await eventually(
    "the edge runs another pod",
    async () => {
      const now = (await members.edge.json("GET", "/api/v1/namespaces/demo/pods")) as unknown as {
        items: { metadata: { uid: string }; status?: { conditions?: { type: string; status: string }[] } }[];
      };
      return now.items.some(
        ({ metadata, status }) =>
          metadata.uid !== items[0]?.metadata.uid &&
          status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") === true,
      )
        ? true
        : undefined;
    },
    { boundMs: 60_000 },
  );
  await startHub();
  for (const name of objects.filter((each) => !acknowledged.includes(each))) await put(name, "once");
  for (const name of names) {
    const versions = () => objects.map((each) => arrivals[name].textsOf(each).length);
    await eventually(`${name} has all`, () => (versions().every((count) => count > 0) ? true : undefined));
    await eventually(`all of ${name} is applied`, async () => ((await allApplied(name)) ? true : undefined));
  }
  await isWhole();
  await stream.more(100);
  for (const name of names) await arrivals[name].stop();

  expect(stream.lost).toEqual([]);
  for (const name of names) {
    for (const each of objects) expect([each, arrivals[name].textsOf(each)]).toEqual([each, ["once"]]);
    expect(await deliveredTo(name)).toEqual(before[name]);
  }
  expect(gatewayProcessOf(hubData)).toBe(gateway);
}, 200_000);

test("credentials are rotated while requests and deliveries flow: nothing is lost, the hub says why it waits, nothing is written twice", async () => {
  const before = await deliveredTo("edge");
  const arrivals = await Arrivals.of("edge");
  let next = 0;
  let isOver = false;
  const writing = (async () => {
    for (; !isOver; next += 1) {
      await put(`turn-${next % 5}`, String(next));
      await eventually("the cloud has it", async () => {
        const { data } = (await members.cloud.resource(ConfigMapKind).find(`turn-${next % 5}`, inDemo)) ?? {};
        return data?.["text"] === String(next) ? true : undefined;
      });
    }
  })();
  await eventually("deliveries flow", () => (next > 3 ? true : undefined));
  // In order: the new ones are there before the old ones end.
  await joinAs("edge");
  // In the wrong order: the account is gone, and with it the hub's token.
  const accounts = members.edge.resource(ServiceAccountKind);
  for (const { metadata } of (await accounts.list({ namespace: "karmada-cluster" })).items)
    if (metadata.name !== "default") await accounts.delete(metadata.name, { namespace: "karmada-cluster" });
  const told = await eventually(
    "the hub says that it is refused",
    async () => {
      const ready = await conditionsOf("edge");
      return ready?.status === "False" ? ready : undefined;
    },
    { boundMs: 30_000 },
  );
  await stream.more(100);
  await joinAs("edge");
  await isReady("edge");
  isOver = true;
  await writing;
  await eventually("all of edge is applied", async () => ((await allApplied("edge")) ? true : undefined), {
    boundMs: 60_000,
  });
  await isWhole();
  await arrivals.stop();

  expect(told).toMatchObject({ reason: "CredentialsRefused" });
  expect(told.message).toContain("renew what spec.secretRef names");
  expect(stream.lost).toEqual([]);
  expect(await deliveredTo("edge")).toEqual(before);
  for (let turn = 0; turn < 5; turn += 1) {
    const texts = arrivals.textsOf(`turn-${turn}`);
    // Each text once, and in the order in which they were written.
    expect([...new Set(texts)]).toEqual(texts);
    expect(texts.map(Number)).toEqual(texts.map(Number).sort((a, b) => a - b));
  }
}, 200_000);
