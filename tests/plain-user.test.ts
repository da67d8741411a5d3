import { chownSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { networkFileOf } from "../src/cluster/node/index.js";
import { packageRoot } from "../src/kernel/assets/index.js";
import { exec, portForward } from "../src/kernel/client/index.js";
import type { ApiClient } from "../src/kernel/client/types.js";
import { isRunning } from "../src/kernel/files/index.js";
import {
  type Draft,
  isConditionTrue,
  NodeKind,
  type Pod,
  PodKind,
  type PodSpec,
  ServiceKind,
} from "../src/kernel/kinds/index.js";
import { readNetworkFile } from "../src/kernel/netns/index.js";
import { type Finished, runProgram } from "./support/argosy.js";
import { clientOf, mainProcessOf } from "./support/fleet.js";
import { eventually } from "./support/polling.js";
import { processesOf } from "./support/processes.js";

const nobody = 65534;
const program = join(packageRoot(), "bin", "argosy.mjs");

/** A user without any rights; the tests themselves run as root where this matters. */
interface PlainUser {
  readonly home: string;
  readonly data: string;
  run(...words: readonly string[]): Promise<Finished>;
  argosy(...words: readonly string[]): Promise<Finished>;
}

type Skip = (note: string) => never;

/** Runs `use` as a plain user with a home of his own; what he started is ended, and his home removed. */
async function asPlainUser(skip: Skip, use: (user: PlainUser) => Promise<void>): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), "argosy-plain-user-"));
  const data = join(home, "data");
  const isRoot = process.getuid?.() === 0;
  if (isRoot) chownSync(home, nobody, nobody);
  const drop = isRoot ? ["setpriv", "--reuid", String(nobody), "--regid", String(nobody), "--clear-groups"] : [];
  const run = (...words: readonly string[]): Promise<Finished> => {
    const [command = "env", ...rest] = [...drop, "env", `HOME=${home}`, "CI=true", ...words];
    return runProgram(command, rest);
  };
  const argosy = (...words: readonly string[]): Promise<Finished> => run(process.execPath, program, ...words);
  try {
    const readable = await argosy("version");
    if (readable.code !== 0) {
      skip(`skipped, because a plain user cannot run this clone: ${readable.stderr.trim().split("\n").at(-1) ?? ""}`);
    }
    const namespaces = await run("unshare", "-Urm", "true");
    if (namespaces.code !== 0) {
      skip(`skipped, because this machine gives plain users no namespaces: ${namespaces.stderr.trim()}`);
    }
    await use({ home, data, run, argosy });
  } finally {
    await argosy("down", "--data", data).catch(() => undefined);
    rmSync(home, { recursive: true, force: true });
  }
}

/** Whether pods get a network of their own, as `doctor` says it. */
async function hasPodNetwork(user: PlainUser): Promise<boolean> {
  const { stdout } = await user.argosy("doctor");
  return stdout.includes("network namespace and address of its own for each pod, without root");
}

test("the main job runs as a plain Linux user", async ({ skip }) => {
  await asPlainUser(skip, async (user) => {
    const isOwn = await hasPodNetwork(user);

    const done = await user.argosy("start", "--exit", "-o", "json", "--data", user.data);

    expect(done.code, done.stderr).toBe(0);
    expect(done.stderr).toContain(
      isOwn ? "pods have namespaces and addresses of their own, without root" : "each with a loopback address",
    );
    expect(JSON.parse(done.stdout)).toMatchObject({
      requests: { sent: 1000, failed: 0, byMember: { cloud: 300, edge: 700 } },
    });
    expect(processesOf(user.data)).toEqual([]);
  });
}, 240_000);

const draft = (name: string, containers: PodSpec["containers"]): Draft<Pod> => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "default", labels: { app: name } },
  spec: { terminationGracePeriodSeconds: 1, containers },
});

/** A web server that binds every address, as most images do. */
const server = (name: string, probe: PodSpec["containers"][number]["readinessProbe"]): Draft<Pod> =>
  draft(name, [
    {
      name: "main",
      image: "node",
      args: ["-e", `require("http").createServer((q, r) => r.end("${name}")).listen(8080, "0.0.0.0")`],
      ...(probe === undefined ? {} : { readinessProbe: { ...probe, periodSeconds: 1 } }),
    },
  ]);

const service = (client: ApiClient, name: string, port: number) =>
  client.resource(ServiceKind).create({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: { selector: { app: name }, ports: [{ name: "web", port, targetPort: 8080 }] },
  });

const isReady = (pod: Pod): boolean => isConditionTrue(pod.status?.conditions, "Ready");

async function untilReady(client: ApiClient, names: readonly string[]): Promise<Map<string, Pod>> {
  let last: readonly Pod[] = [];
  return eventually(
    `pods ${names.join(", ")} are ready`,
    async () => {
      last = (await client.resource(PodKind).list({ namespace: "default" })).items;
      const ready = new Map(last.filter(isReady).map((pod) => [pod.metadata.name, pod]));
      return names.every((name) => ready.has(name)) ? ready : undefined;
    },
    { boundMs: 60_000, seen: () => last.map(({ status }) => status) },
  );
}

/** Runs a program of Node in the pod `client` and gives what it printed. */
const inClient = (client: ApiClient, code: string): Promise<string> =>
  outputOf(client, "client", [process.execPath, "-e", code]);

async function outputOf(client: ApiClient, pod: string, command: readonly string[]): Promise<string> {
  let out = "";
  await exec(client, {
    namespace: "default",
    pod,
    container: "main",
    command,
    stdout: (text) => {
      out += Buffer.from(text).toString();
    },
    stderr: (text) => {
      out += Buffer.from(text).toString();
    },
  });
  return out.trim();
}

const sysctlIn = (client: ApiClient, pod: string, name: string): Promise<string> =>
  outputOf(client, pod, ["cat", `/proc/sys/${name}`]);

/** Texts of some URLs, in order; of one that cannot be reached, why. */
const fetching = (urls: readonly string[]): string =>
  `Promise.all(${JSON.stringify(urls)}.map((u) => fetch(u).then((r) => r.text(), (e) => String(e.cause?.code)))).then((t) => console.log(t.join()))`;

const whoAmI = `
  const fs = require("fs");
  const at = "/var/run/secrets/kubernetes.io/serviceaccount/";
  const body = JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" });
  const request = require("https").request(
    "https://kubernetes.default.svc:443/apis/authentication.k8s.io/v1/selfsubjectreviews",
    {
      method: "POST",
      ca: fs.readFileSync(at + "ca.crt"),
      headers: { authorization: "Bearer " + fs.readFileSync(at + "token", "utf8"), "content-type": "application/json" },
    },
    async (response) => {
      let text = "";
      for await (const chunk of response) text += chunk;
      console.log(JSON.parse(text).status.userInfo.username);
    },
  );
  request.on("error", (error) => console.log(error.message));
  request.end(body);`;

/** An address of this machine that is no loopback one, and none of a network of pods: what is sent there stays here. */
function ownAddress(): string | undefined {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ family, internal, address }) => family === "IPv4" && !internal && !/^198\.1[89]\./.test(address))?.address;
}

/** What a web server of this machine, outside of all pods, answers to a pod; `undefined` where none can be had. */
async function answerFromOutside(client: ApiClient): Promise<string | undefined> {
  const host = ownAddress();
  if (host === undefined) return undefined;
  const outside = createServer((_request, response) => response.end("outside"));
  const port = await new Promise<number | undefined>((resolve) => {
    outside.once("error", () => resolve(undefined));
    outside.listen(11_434, host, () => resolve(11_434));
  });
  if (port === undefined) return undefined;
  const text = await inClient(client, fetching([`http://${host}:${port}/`]));
  outside.close();
  return text;
}

test("pods of a plain user are like pods of root: all ports, addresses of their own, ClusterIPs below port 1024", async ({
  skip,
}) => {
  await asPlainUser(skip, async (user) => {
    if (!(await hasPodNetwork(user))) {
      skip("skipped, because this machine gives plain users no network: see argosy doctor");
    }
    const up = ["up", "--detach", "--members", "cloud", "--data", user.data];
    const first = await user.argosy(...up);
    expect(first.code, first.stderr).toBe(0);
    const client = await clientOf(user.data, "cloud");
    const pods = client.resource(PodKind);
    await pods.create(server("a", { httpGet: { port: 8080 } }));
    const b = server("b", { tcpSocket: { port: 8080 } });
    const sysctls = [{ name: "net.ipv4.tcp_keepalive_time", value: "77" }];
    await pods.create({ ...b, spec: { ...b.spec, securityContext: { sysctls } } });
    await pods.create(draft("client", [{ name: "main", image: "node", args: ["-e", "setInterval(() => {}, 1e6)"] }]));
    const made = await service(client, "a", 80);
    await service(client, "b", 443);
    const before = await untilReady(client, ["a", "b", "client"]);
    const urls = [
      `http://${made.spec.clusterIP}:80/`,
      "http://a/",
      "http://b.default.svc.cluster.local:443/",
      `http://${before.get("a")?.status?.podIP}:8080/`,
      `http://${before.get("b")?.status?.podIP}:8080/`,
      "http://a:81/",
    ];
    const answers = "a,a,b,a,b,ECONNREFUSED";

    await eventually("services have endpoints", async () =>
      (await inClient(client, fetching(urls))) === answers ? true : undefined,
    );
    expect(await inClient(client, whoAmI)).toBe("system:serviceaccount:default:default");
    expect(await answerFromOutside(client)).toBeOneOf(["outside", undefined]);
    expect(await proxied(client, "services/a:web")).toBe("a");
    expect(await proxied(client, "pods/b:8080")).toBe("b");
    expect(await sysctlIn(client, "b", "net/ipv4/tcp_keepalive_time")).toBe("77");
    expect(await forwarded(client, "a")).toContain("HTTP/1.1 200 OK");

    const holder = readNetworkFile(networkFileOf(user.data))?.holder ?? { pid: 0, startTicks: "" };
    const main = mainProcessOf(user.data);
    process.kill(main, "SIGKILL");
    await eventually("the main process is gone", () =>
      processesOf(user.data).every(({ pid }) => pid !== main) ? true : undefined,
    );
    const second = await user.argosy(...up);
    expect(second.code, second.stderr).toBe(0);
    const later = await clientOf(user.data, "cloud");
    const after = await untilReady(later, ["a", "b", "client"]);

    expect(isRunning(holder)).toBe(true);
    for (const [name, pod] of before) {
      expect(after.get(name)?.status?.containerStatuses).toEqual(pod.status?.containerStatuses);
      expect(after.get(name)?.status?.podIP).toBe(pod.status?.podIP);
    }
    await eventually("services answer again", async () =>
      (await inClient(later, fetching(urls))) === answers ? true : undefined,
    );

    await client.close();
    await later.close();
    const down = await user.argosy("down", "--data", user.data);
    expect(down.code, down.stderr).toBe(0);
    expect(isRunning(holder)).toBe(false);
    expect(processesOf(user.data)).toEqual([]);
  });
}, 240_000);

test("without a network of his own, a plain user's pods have a loopback address each, and what that means is said", async ({
  skip,
}) => {
  await asPlainUser(skip, async (user) => {
    // As a directory looks that was made where plain users have no network namespaces.
    await user.run("mkdir", "-p", join(user.data, "leases"));
    const up = await user.argosy("up", "--detach", "--members", "edge", "--data", user.data);
    expect(up.code, up.stderr).toBe(0);
    const client = await clientOf(user.data, "edge");
    const pods = client.resource(PodKind);
    const own = `require("http").createServer((q, r) => r.end("a")).listen(8080, process.env.POD_IP)`;
    await pods.create(draft("a", [{ name: "main", image: "node", args: ["-e", own] }]));
    await pods.create(draft("client", [{ name: "main", image: "node", args: ["-e", "setInterval(() => {}, 1e6)"] }]));
    await service(client, "a", 8088);
    const ready = await untilReady(client, ["a", "client"]);
    const node = await client.resource(NodeKind).get("edge");

    await eventually("the service answers", async () =>
      (await inClient(client, fetching(["http://a:8088/"]))) === "a" ? true : undefined,
    );
    expect(ready.get("a")?.status?.podIP).toMatch(/^127\.(6[4-9]|[78]\d|9[0-5])\./);
    expect(node.metadata.annotations?.["argosy.dev/isolation"]).toContain("made with a loopback address per pod");
    expect(await forwarded(client, "a")).toContain("HTTP/1.1 200 OK");
    await client.close();
  });
}, 120_000);

/** What a pod or service answers through the API server's proxy. */
async function proxied(client: ApiClient, target: string): Promise<string> {
  const answer = await client.transport.request({
    method: "GET",
    path: `/api/v1/namespaces/default/${target}/proxy/`,
  });
  let text = "";
  for await (const chunk of answer.body) text += Buffer.from(chunk).toString();
  return text;
}

/** What a pod's web server answers through a forwarded port. */
async function forwarded(client: ApiClient, pod: string): Promise<string> {
  const forward = await portForward(client, { namespace: "default", pod, port: 8080 });
  forward.write(Buffer.from("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
  for await (const chunk of forward.data) {
    forward.close();
    return Buffer.from(chunk).toString();
  }
  return "";
}
