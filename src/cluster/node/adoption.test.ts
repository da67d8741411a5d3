import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { packageRoot } from "../../kernel/assets/index.js";
import { systemClock } from "../../kernel/clock/index.js";
import { type Draft, isConditionTrue, type Pod, PodKind } from "../../kernel/kinds/index.js";
import { silentLogger } from "../../kernel/log/index.js";
import { temporaryFolder } from "../../testing/folder.js";
import { startTestCluster, type TestCluster } from "../../testing/index.js";
import { findProgram } from "./commands.js";
import { detectIsolation, findPodman, PodmanEngine } from "./index.js";

/** As root both ways are tried: root's own, and a plain user's. */
const isRoot = process.getuid?.() === 0;
const isolation = detectIsolation();
const podman = findPodman(isolation);
const ways = [
  { name: "as this user", runtime: "process", prefix: [], canRun: isolation.mode !== "none" },
  { name: "by podman", runtime: "podman", prefix: [], canRun: "podman" in podman },
  {
    name: "as a plain user",
    runtime: "process",
    prefix: ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
    canRun: isRoot && findProgram("setpriv") !== undefined && detectIsolation({ asUser: true }).mode === "user",
  },
].filter((way) => way.canRun);
const compiled = join(packageRoot(), "node_modules", ".cache", `argosy-adoption-${process.pid}`);
let folder = "";
let cluster: TestCluster;
let child: ChildProcess | undefined;
let prefix: readonly string[] = [];
let runtimeName = "process";

/** An agent as a process of its own, so that it can be killed. */
const program = (url: string, ca: string, token: string, end: boolean): string => {
  const from = (path: string): string => JSON.stringify(pathToFileURL(join(compiled, "src", path)).href);
  return `
    import { createClient, createInformerSet, httpTransport } from ${from("kernel/client/index.js")};
    import { systemClock as clock, systemRandom as random } from ${from("kernel/clock/index.js")};
    import { silentLogger as log } from ${from("kernel/log/index.js")};
    import * as node from ${from("cluster/node/index.js")};
    const client = createClient({ transport: httpTransport({ server: ${JSON.stringify(url)}, caPem: ${JSON.stringify(ca)}, token: ${JSON.stringify(token)} }), clock, random });
    const cluster = { name: "test", client, informers: createInformerSet({ client, clock, random, log }) };
    const isolation = node.detectIsolation();
    const dataDir = ${JSON.stringify(join(folder, "node"))};
    const network = node.createPodNetwork({ dataDir: ${JSON.stringify(join(folder, "network"))}, isolation, log });
    await network.start();
    const shared = { dataDir, clock, log, isolation, network };
    const programs = node.findPodman(isolation);
    const engine = ${JSON.stringify(runtimeName)} === "podman" ? new node.PodmanEngine({ ...shared, dataDir: ${JSON.stringify(folder)}, programs }) : undefined;
    await engine?.start();
    const agent = node.createNodeAgent({
      name: "n", cluster, clock, random, log, dataDir, network, isolation,
      runtime: engine === undefined ? node.processRuntime(shared) : node.podmanRuntime({ ...shared, engine }),
      images: node.imageCatalogue({ entries: { shell: { entrypoint: ["/bin/sh"], files: [] } }, cacheDir: ${JSON.stringify(join(folder, "images"))} }),
    });
    await agent.start();
    console.log("up");
    ${end ? "await agent.close({ keepPods: false }); await engine?.close({ keepPods: false }); await network.close({ keepPods: false }); process.exit(0);" : "setInterval(() => {}, 60000);"}
  `;
};

beforeAll(async () => {
  mkdirSync(compiled, { recursive: true });
  const flags = [
    "--noCheck",
    "--composite",
    "false",
    "--incremental",
    "false",
    "--declaration",
    "false",
    "--sourceMap",
    "false",
  ];
  execFileSync(join(packageRoot(), "node_modules", ".bin", "tsc"), [
    "-p",
    packageRoot(),
    ...flags,
    "--outDir",
    compiled,
  ]);
});

afterAll(() => rmSync(compiled, { recursive: true, force: true }));

beforeEach(async () => {
  folder = temporaryFolder("adoption");
  chmodSync(folder, 0o777);
  cluster = await startTestCluster();
});

afterEach(async () => {
  await kill();
  await startAgent(true);
  await cluster.close();
});

async function startAgent(end = false): Promise<void> {
  const { url, caPem } = await cluster.server.listen({ host: "127.0.0.1", port: 0 });
  const file = join(folder, "agent.mjs");
  writeFileSync(file, program(url, caPem, cluster.server.adminToken, end));
  const [command, ...args] = [...prefix, process.execPath, file];
  const started = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  child = started;
  await new Promise<void>((resolve, reject) => {
    started.stdout.on("data", () => resolve());
    started.on("exit", () => reject(new Error("the agent ended")));
  });
  if (end) await new Promise((resolve) => started.on("exit", resolve));
}

async function kill(): Promise<void> {
  const running = child;
  if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
  const ended = new Promise((resolve) => running.once("exit", resolve));
  running.kill("SIGKILL");
  await ended;
}

function seen(name: string, wanted: (pod: Pod) => boolean): Promise<Pod> {
  const pods = cluster.informers.informer(PodKind);
  return new Promise((resolve) => {
    const check = (): void => {
      const pod = pods.get({ namespace: "default", name });
      if (pod === undefined || !wanted(pod)) return;
      stop();
      resolve(pod);
    };
    const stop = pods.onChange(check);
    check();
  });
}

const draft = (name: string, script: string): Draft<Pod> => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "default" },
  spec: {
    nodeName: "n",
    restartPolicy: "Never",
    automountServiceAccountToken: false,
    terminationGracePeriodSeconds: 1,
    containers: [
      { name: "main", image: "shell", command: ["sh", "-c", script], volumeMounts: [{ name: "g", mountPath: "/g" }] },
    ],
    volumes: [{ name: "g", hostPath: { path: join(folder, "go") } }],
  },
});

/** Files that say how a container has ended. */
function exits(): string[] {
  if (runtimeName === "process" || !("podman" in podman)) return readdirSync(join(folder, "node", "events"));
  return readdirSync(
    new PodmanEngine({ dataDir: folder, programs: podman, clock: systemClock, log: silentLogger }).exits,
  );
}

test.each(ways)("pods survive a kill -9 of the agent and are adopted, with true exit codes, $name", async (way) => {
  prefix = way.prefix;
  runtimeName = way.runtime;
  mkdirSync(join(folder, "go"));
  chmodSync(join(folder, "go"), 0o777);
  await startAgent();
  const pods = cluster.client.resource(PodKind);
  // The shell's own number tells that it is the same process.
  await pods.create(draft("stays", "echo $$ started >>/g/stays; while :; do sleep 0.05; done"));
  await pods.create(draft("ends", "while [ ! -f /g/end ]; do sleep 0.02; done; exit 7"));
  const before = await seen("stays", (pod) => isConditionTrue(pod.status?.conditions, "Ready"));
  await seen("ends", (pod) => isConditionTrue(pod.status?.conditions, "Ready"));

  await kill();
  writeFileSync(join(folder, "go", "end"), "");
  for (const end = performance.now() + 10_000; !exits().some((file) => /\.exit$|^[0-9a-f]{64}$/.test(file)); ) {
    if (performance.now() > end) throw new Error("the container did not end");
    await new Promise((resolve) => setImmediate(resolve));
  }
  await pods.create(draft("later", "exit 0"));
  await startAgent();
  const ended = await seen("ends", (pod) => pod.status?.phase === "Failed");
  await seen("later", (pod) => pod.status?.phase === "Succeeded");
  const after = await pods.get("stays", { namespace: "default" });

  expect(ended.status?.containerStatuses?.[0]).toMatchObject({
    restartCount: 0,
    state: { terminated: { exitCode: 7, reason: "Error" } },
  });
  expect(after.status?.containerStatuses?.[0]).toEqual(before.status?.containerStatuses?.[0]);
  expect(after.status?.podIP).toBe(before.status?.podIP);
  expect(
    readFileSync(join(folder, "go", "stays"), "utf8")
      .trim()
      .split("\n"),
  ).toHaveLength(1);

  await pods.delete("stays", { namespace: "default" });
  await new Promise<void>((resolve) => {
    const informer = cluster.informers.informer(PodKind);
    const check = (): void => {
      if (informer.get({ namespace: "default", name: "stays" }) === undefined) resolve();
    };
    informer.onChange(check);
    check();
  });
  expect(existsSync(join(folder, "node", "pods", before.metadata.uid))).toBe(false);
});
