import { spawn, spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect } from "vitest";
import { markOf } from "../../kernel/files/index.js";
import { writeNetworkFile } from "../../kernel/netns/index.js";
import { unless } from "../../testing/unless.js";
import { ask, Cleanup, eventually, startGateway, temporaryDirectory } from "./fixture.js";

const enter = ["unshare", "--user", "--map-root-user", "--net", "--", "/bin/sh", "-c"];
const [program = "", ...words] = enter;
const tried = spawnSync(program, [...words, "ip link set lo up"], { encoding: "utf8" });
const missing = tried.status === 0 ? undefined : `this machine gives no network namespace: ${tried.stderr}`;

/** Backends in a network of their own, at addresses that lead nowhere from here: HTTP that echoes. */
const backends = `
  const http = require("http");
  const echo = (q, r) => { r.setHeader("x-from", q.socket.localAddress); q.pipe(r); };
  http.createServer(echo).listen(80, "127.9.9.9", () => console.log("up"));
`;

const cleanups: Cleanup[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup.run();
});

/** A process that holds a network with a backend in it; resolves with its number. */
async function holdNetwork(cleanup: Cleanup): Promise<number> {
  const script = `ip link set lo up && exec "${process.execPath}" -e '${backends}'`;
  const holder = spawn(program, [...words, script], { stdio: ["ignore", "pipe", "inherit"] });
  cleanup.add(async () => {
    holder.kill("SIGKILL");
  });
  await new Promise((resolve) => holder.stdout.once("data", resolve));
  return holder.pid ?? 0;
}

unless(missing)("a backend in another network is reached by its file, also when that comes late or anew", async () => {
  const cleanup = new Cleanup();
  cleanups.push(cleanup);
  const directory = await temporaryDirectory(cleanup);
  const podNetworkFile = join(directory, "pod-network.json");
  const describeNetwork = (pid: number): void => {
    const holder = markOf(pid) ?? { pid, startTicks: "" };
    writeNetworkFile(podNetworkFile, { holder, ranges: ["127.9.9.0/24"] });
  };
  const addresses = ["127.9.9.9:80"];
  const health = { path: "/", intervalMs: 20, timeoutMs: 5_000 };
  const { port } = await startGateway(
    cleanup,
    [{ id: "r", listener: "head", path: "/", backends: [{ name: "b", addresses, health }] }],
    { directory, podNetworkFile },
  );
  const body = "0123456789abcdef".repeat(200_000);
  const post = () => ask(port, "/", { method: "POST", body });
  const answered = async () => {
    await eventually(async () => (await ask(port, "/")).status === 200, "the backend answers");
    return post();
  };

  const before = await ask(port, "/");
  const one = await holdNetwork(cleanup);
  describeNetwork(one);
  const first = await answered();
  const second = await post();
  const other = await holdNetwork(cleanup);
  process.kill(one, "SIGKILL");
  rmSync(podNetworkFile);
  describeNetwork(other);
  const third = await answered();

  expect(before.status).toBeGreaterThanOrEqual(502);
  expect([first, second, third].map((answer) => answer.headers.get("x-from"))).toEqual(Array(3).fill("127.9.9.9"));
  expect([first, second, third].every((answer) => answer.body === body)).toBe(true);
});
