import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect } from "vitest";
import { packageRoot } from "../src/kernel/assets/index.js";
import { createClient, httpTransport } from "../src/kernel/client/index.js";
import type { ApiClient } from "../src/kernel/client/types.js";
import { systemClock, systemRandom } from "../src/kernel/clock/index.js";
import {
  ClusterRoleBindingKind,
  ConfigMapKind,
  findCondition,
  NamespaceKind,
  SecretKind,
  ServiceAccountKind,
} from "../src/kernel/kinds/index.js";
import { ClusterKind, WorkKind } from "../src/modules/fleet/index.js";
import { temporaryFolder } from "../src/testing/folder.js";
import { unless } from "../src/testing/unless.js";
import { argosy, startArgosy } from "./support/argosy.js";
import { clientOf, mainProcessOf } from "./support/fleet.js";
import { sendConfigMaps } from "./support/policies.js";
import { eventually } from "./support/polling.js";
import { residentMiB } from "./support/processes.js";

// Members that speak the API over sockets of their own, fifty in a process; all of them come into the fleet of one hub in the same moment.
const PROCESSES = 4;
const EACH = 50;
const count = PROCESSES * EACH;
/** What the hub may hold for a member that has nothing yet; measured: 1.5. */
const MIB_EACH = 3;
const program = join(packageRoot(), "dist", "tests", "support", "api-servers.js");
const demanded = process.env["ARGOSY_TEST_FAULTS"] !== undefined;
const withMany = unless(
  demanded && existsSync(program) ? undefined : "it takes a minute of two cores; `npm run test:real` runs it",
);

interface Entrance {
  readonly server: string;
  readonly caPem: string;
  readonly token: string;
}

const folder = temporaryFolder("joining");
const children: ChildProcess[] = [];
const members: { readonly name: string; readonly at: Entrance; readonly client: ApiClient }[] = [];
const force = { fieldManager: "test", force: true };
const inDemo = { namespace: "demo" };
let hub: ApiClient;

async function startMembers(process_: number): Promise<void> {
  const child = spawn(process.execPath, [program, String(EACH)], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  const entrances = await new Promise<Entrance[]>((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`the members' process ended with ${code}`)));
    createInterface({ input: child.stdout }).once("line", (line) => resolve(JSON.parse(line) as Entrance[]));
  });
  for (const [index, at] of entrances.entries()) {
    const client = createClient({ transport: httpTransport(at), clock: systemClock, random: systemRandom });
    members.push({ name: `m-${process_ * EACH + index}`, at, client });
  }
}

beforeAll(async () => {
  if (!demanded) return;
  const data = join(folder, "hub");
  await startArgosy(["up", "--data", data, "--members", "", "--without", "scheduler,nodes,workloads"]).says("ready: ");
  hub = await clientOf(data, "hub");
  for (let index = 0; index < PROCESSES; index += 1) await startMembers(index);
}, 200_000);

afterAll(async () => {
  if (!demanded) return;
  for (const client of [hub, ...members.map((member) => member.client)]) await client?.close();
  await argosy("down", "--data", join(folder, "hub"));
  for (const child of children) child.kill("SIGKILL");
}, 100_000);

/** An account of the hub's in a member, which may do everything there; its token. */
async function credentialIn(client: ApiClient): Promise<string> {
  const where = { namespace: "default" };
  await client.resource(ServiceAccountKind).apply({ metadata: { name: "hub", ...where } }, { ...force, ...where });
  await client.resource(ClusterRoleBindingKind).apply(
    {
      metadata: { name: "hub" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
      subjects: [{ kind: "ServiceAccount", name: "hub", ...where }],
    },
    force,
  );
  const answer = (await client.json("POST", "/api/v1/namespaces/default/serviceaccounts/hub/token", {
    spec: { expirationSeconds: 3600 },
  })) as { status: { token: string } };
  return answer.status.token;
}

async function joinMember({ name, at, client }: (typeof members)[number]): Promise<void> {
  const token = await credentialIn(client);
  const where = { name, namespace: "karmada-cluster" };
  const encode = (text: string): string => Buffer.from(text).toString("base64");
  const data = { token: encode(token), caBundle: encode(at.caPem) };
  await hub.resource(SecretKind).apply({ metadata: where, type: "Opaque", data }, force);
  const spec = { syncMode: "Push" as const, apiEndpoint: at.server, secretRef: where };
  await hub.resource(ClusterKind).apply({ metadata: { name }, spec }, force);
}

/** Two hundred connections at once may be too many for a busy machine; whoever joins tries again. */
const again = (work: () => Promise<void>): Promise<true> =>
  eventually(
    "a member joined",
    () =>
      work().then(
        () => true as const,
        () => undefined,
      ),
    { boundMs: 120_000 },
  );

/** Asks the hub for something small again and again; how long each answer took, in ms. */
async function answersMeanwhile(work: () => Promise<void>): Promise<number[]> {
  const took: number[] = [];
  let isOver = false;
  const asking = (async () => {
    while (!isOver) {
      const began = systemClock.monotonicMs();
      await hub
        .resource(ConfigMapKind)
        .apply({ metadata: { name: "asked", namespace: "default" }, data: { n: String(took.length) } }, force);
      took.push(systemClock.monotonicMs() - began);
      await systemClock.sleep(50);
    }
  })();
  try {
    await work();
  } finally {
    isOver = true;
    await asking;
  }
  return took;
}

withMany(
  `${count} clusters join at once: all get Ready and what is for them, the hub answers meanwhile, its memory is bounded`,
  async () => {
    const pid = mainProcessOf(join(folder, "hub"));
    const before = residentMiB(pid);
    const began = systemClock.monotonicMs();
    let readyMs = 0;
    for (const name of ["demo", "karmada-cluster"])
      await hub.resource(NamespaceKind).apply({ metadata: { name } }, force);
    await hub
      .resource(ConfigMapKind)
      .apply({ metadata: { name: "greeting", ...inDemo }, data: { text: "hello" } }, force);
    await sendConfigMaps(hub, { name: "greeting", selector: { name: "greeting" } });
    const took = await answersMeanwhile(async () => {
      await Promise.all(members.map((member) => again(() => joinMember(member))));
      const joinedMs = systemClock.monotonicMs() - began;
      let ready = 0;
      await eventually(
        "all are Ready",
        async () => {
          const { items } = await hub.resource(ClusterKind).list();
          ready = items.filter(({ status }) => findCondition(status?.conditions, "Ready")?.status === "True").length;
          return ready === count ? true : undefined;
        },
        { boundMs: 120_000, seen: () => ready },
      );
      readyMs = systemClock.monotonicMs() - began;
      let applied = 0;
      await eventually(
        "all have the greeting",
        async () => {
          const { items } = await hub.resource(WorkKind).list();
          const greetings = items.filter(({ spec }) => JSON.stringify(spec).includes('"greeting"'));
          applied = greetings.filter(
            ({ status }) => findCondition(status?.conditions, "Applied")?.status === "True",
          ).length;
          return applied === count ? true : undefined;
        },
        { boundMs: 120_000, seen: () => applied },
      );
      process.stderr.write(`joined after ${Math.round(joinedMs)} ms, `);
    });
    const texts = await Promise.all(
      members.map(async ({ client }) => (await client.resource(ConfigMapKind).get("greeting", inDemo)).data?.["text"]),
    );
    const grown = residentMiB(pid) - before;
    took.sort((a, b) => a - b);
    process.stderr.write(
      `ready after ${Math.round(readyMs)} ms, all applied after ${Math.round(systemClock.monotonicMs() - began)} ms; ` +
        `the hub answered ${took.length} times, half within ${Math.round(took[took.length >> 1] ?? 0)} ms, all within ${Math.round(took.at(-1) ?? 0)} ms; ` +
        `it grew by ${Math.round(grown)} MiB to ${Math.round(before + grown)}\n`,
    );

    expect(new Set(texts)).toEqual(new Set(["hello"]));
    expect(grown).toBeLessThan(count * MIB_EACH);
  },
  300_000,
);
