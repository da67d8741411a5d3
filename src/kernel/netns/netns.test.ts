import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { markOf } from "../files/index.js";
import { isInRange, NetworkFile, readNetworkFile, SocketMaker, writeNetworkFile } from "./index.js";

/** The helper runs in this very namespace: what it makes differs from our own sockets in nothing but its way here. */
const here = (): string[] => [];

const textOf = async (socket: Socket): Promise<string> => {
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text;
};

test("a server accepts on a socket that the helper made, and a connection of the helper's reads what the peer says first", async () => {
  const maker = new SocketMaker(here);
  const server = createServer((socket) => socket.end(`hello at ${socket.localAddress}`));
  await maker.listen(server, "127.0.0.1", 0);
  const address = server.address();
  const port = typeof address === "object" ? (address?.port ?? 0) : 0;

  // What was handed over outlives the helper, which comes back when it is needed.
  maker.rest();
  const socket = await maker.connect("127.0.0.1", port);
  const text = await textOf(socket);
  server.close();

  expect(text).toBe("hello at 127.0.0.1");
  await expect(maker.connect("127.0.0.1", port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  maker.close();
});

test("datagram sockets are handed over", async () => {
  const maker = new SocketMaker(here);
  const [near, far] = [await maker.bindDatagrams("127.0.0.1", 0), await maker.bindDatagrams("127.0.0.1", 0)];
  const heard = new Promise<string>((resolve) => far.once("message", (data) => resolve(data.toString())));
  near.send("ping", far.address().port, "127.0.0.1");

  expect(await heard).toBe("ping");
  near.close();
  far.close();
  maker.close();
});

test("a namespace that cannot be entered refuses, and says why", async () => {
  const maker = new SocketMaker(() => ["nsenter", "--net=/nowhere", "--"]);

  await expect(maker.connect("127.0.0.1", 1)).rejects.toMatchObject({
    code: "ENETUNREACH",
    message: expect.stringContaining("/nowhere") as string,
  });
});

test("the file of a network is seen when it comes, changes and goes", () => {
  const folder = mkdtempSync(join(tmpdir(), "argosy-netns-"));
  const path = join(folder, "network.json");
  const file = new NetworkFile(path);
  const holder = markOf(process.pid) ?? { pid: process.pid, startTicks: "" };
  const seen = [file.covers("198.18.3.4")];
  writeNetworkFile(path, { holder, ranges: ["198.18.0.0/16"] });
  seen.push(file.covers("198.18.3.4"), file.covers("198.19.0.1"));
  writeNetworkFile(path, { holder, ranges: ["198.18.0.0/16", "198.19.0.0/24"] });
  seen.push(file.covers("198.19.0.1"));
  const read = readNetworkFile(path);
  rmSync(folder, { recursive: true });
  seen.push(file.covers("198.18.3.4"));

  expect(seen).toEqual([false, true, false, true, false]);
  expect(read?.holder).toEqual(holder);
});

test("ranges hold IPv4 addresses only", () => {
  expect(
    ["198.18.0.0", "198.18.255.255", "198.19.0.0", "localhost", "::1"].map((host) => isInRange(host, "198.18.0.0/16")),
  ).toEqual([true, true, false, false, false]);
  expect(isInRange("10.0.0.7", "10.0.0.7/32")).toBe(true);
});
