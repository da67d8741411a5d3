import { type ChildProcess, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { packageRoot } from "../../../kernel/assets/index.js";
import { isRunning } from "../../../kernel/files/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { connectDirectly, readNetworkFile } from "../../../kernel/netns/index.js";
import { unless } from "../../../testing/unless.js";
import { plainEnvironment, runCommand } from "../commands.js";
import { detectIsolation } from "../isolation/detect.js";
import { egressPorts } from "./egress.js";
import type { PodAddress, PodNetwork } from "./types.js";
import { networkFileOf, userNetwork } from "./user.js";

// Root of the machine is a plain user for this purpose: the network is made in namespaces of its own all the same.
const missing = detectIsolation({ asUser: true }).capabilities.find(
  (each) => each.capability === "network-namespace" && !each.available,
);
const run = unless(missing === undefined ? undefined : `this machine gives plain users no network: ${missing.reason}`);

let folder = "";
const networks: PodNetwork[] = [];
const children: ChildProcess[] = [];
const servers: { close(): unknown }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "argosy-user-network-"));
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  for (const network of networks.splice(0)) await network.close({ keepPods: false });
  for (const server of servers.splice(0)) server.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(outward?: Parameters<typeof userNetwork>[0]["outward"]): Promise<PodNetwork> {
  const network = userNetwork({ dataDir: folder, log: silentLogger, ...(outward === undefined ? {} : { outward }) });
  networks.push(network);
  await network.start();
  return network;
}

/** Runs a Node program in a pod's network, below it as a container's root; resolves when it said something. */
function programIn({ enter }: PodAddress, program: string): Promise<string> {
  const [command, ...words] = [...enter, "unshare", "--user", "--map-root-user", process.execPath, "-e", program];
  const child = spawn(command, words, { env: plainEnvironment, stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  return new Promise((resolve) => child.stdout.once("data", (data: Buffer) => resolve(data.toString().trim())));
}

const serve = (name: string, host: string, port: number): string =>
  `require("net").createServer((s) => s.end(${JSON.stringify(name)} + " to " + s.remoteAddress)).listen(${port}, "${host}", () => console.log("up"))`;

const fetchText = (host: string, port: number): string =>
  `let t = ""; require("net").connect(${port}, "${host}").on("data", (d) => (t += d)).on("error", (e) => console.log(e.code)).on("end", () => console.log(t))`;

async function textOf(socket: Socket): Promise<string> {
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text;
}

function listening(server: Server): Promise<number> {
  servers.push(server);
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port)),
  );
}

run("pods have addresses and all ports of their own; this process and other pods reach them", async () => {
  const network = await start();
  const a = await network.attach("a", folder);
  const b = await network.attach("b", folder);
  await Promise.all([programIn(a, serve("a", "0.0.0.0", 80)), programIn(b, serve("b", "0.0.0.0", 80))]);

  const texts = await Promise.all([a, b].map(async ({ ip }) => textOf(await network.connect(ip, 80))));

  expect(texts).toEqual(["a to 198.18.0.1", "b to 198.18.0.1"]);
  expect(await programIn(a, fetchText(b.ip, 80))).toBe(`b to ${a.ip}`);
  await expect(network.connect(a.ip, 81)).rejects.toMatchObject({ code: "ECONNREFUSED" });
});

run("a server of this process answers at a claimed address, below port 1024 too", async () => {
  const network = await start();
  const pod = await network.attach("a", folder);
  await network.claimRange("198.19.7.0/24");
  const server = createServer((socket) => socket.end(`${socket.localAddress} to ${socket.remoteAddress}`));
  servers.push(server);
  await network.listen(server, "198.19.7.9", 443);

  expect(await programIn(pod, fetchText("198.19.7.9", 443))).toBe(`198.19.7.9 to ${pod.ip}`);
  expect(await programIn(pod, fetchText("198.19.7.9", 444))).toBe("ECONNREFUSED");
});

run("connections to elsewhere are passed on to the address that the pod asked for, names to the resolver", async () => {
  const port = await listening(createServer((socket) => socket.end("from elsewhere")));
  const resolver = createSocket("udp4");
  servers.push(resolver);
  resolver.on("message", (question, from) =>
    resolver.send(`answer to ${question.toString()}`, from.port, from.address),
  );
  await new Promise<void>((resolve) => resolver.bind(0, "127.0.0.1", resolve));
  const asked: string[] = [];
  const network = await start({
    connect: (host, wanted) => {
      asked.push(`${host}:${wanted}`);
      return connectDirectly("127.0.0.1", port);
    },
    resolver: () => ({ host: "127.0.0.1", port: resolver.address().port }),
  });
  const pod = await network.attach("a", folder);
  const ask = `const s = require("dgram").createSocket("udp4"); s.on("message", (m) => { console.log(String(m)); s.close(); }); s.send("who", 53, "${network.nameserver}")`;

  expect(await programIn(pod, fetchText("203.0.113.9", 443))).toBe("from elsewhere");
  expect(await programIn(pod, fetchText("203.0.113.9", 444))).toBe("ECONNREFUSED");
  expect(asked).toEqual(["203.0.113.9:443"]);
  expect(await programIn(pod, ask)).toBe("answer to who");
});

test("the documentation names the ports that lead out", () => {
  const text = readFileSync(join(packageRoot(), "docs", "images.md"), "utf8");

  expect(text).toContain(`${egressPorts.join(", ")}.`);
});

run("a network that was kept is found again with its pods; one whose holder was killed is made anew", async () => {
  const first = await start();
  const pod = await first.attach("a", folder);
  await first.attach("lost", join(folder, "no-such-pod"));
  await programIn(pod, serve("a", "0.0.0.0", 8080));
  await first.close({ keepPods: true });

  const second = await start();
  const lost = [first.hasLost("a"), first.hasLost("b"), second.hasLost("a")];
  const names = await runCommand(pod.enter[0] ?? "", [
    ...pod.enter.slice(1, -2),
    "--mount",
    "--",
    ...["ls", "/run/netns"],
  ]);
  const again = await second.attach("a", folder);
  const text = await textOf(await second.connect(pod.ip, 8080));
  await second.close({ keepPods: true });
  const holder = readNetworkFile(networkFileOf(folder))?.holder ?? { pid: 0, startTicks: "" };
  process.kill(holder.pid, "SIGKILL");
  while (isRunning(holder)) await new Promise((resolve) => setImmediate(resolve));
  const fault = second.fault?.();
  await expect(second.attach("a", folder)).rejects.toMatchObject({ message: fault });
  const third = await start();

  expect([...lost, third.hasLost("a")]).toEqual([false, true, false, true]);
  expect(fault).toContain("stop Argosy and start it again");
  expect(again).toEqual(pod);
  expect(text).toBe("a to 198.18.0.1");
  expect(names.stdout.trim().split("\n").sort()).toEqual(["a", "outside"]);
});

run("the end leaves no process and no name behind", async () => {
  const network = await start();
  const { enter } = await network.attach("a", folder);
  const holder = readNetworkFile(networkFileOf(folder))?.holder ?? { pid: 0, startTicks: "" };
  const wasRunning = isRunning(holder);
  await network.close({ keepPods: false });
  while (isRunning(holder)) await new Promise((resolve) => setImmediate(resolve));

  expect(wasRunning).toBe(true);
  expect(existsSync((enter.at(-2) ?? "").replace("--net=", ""))).toBe(false);
});
