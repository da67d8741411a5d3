import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { spdyClient } from "./client.fixture.js";
import { commandStreams, serveRemoteCommand } from "./remote-command.js";

/** A node's agent that keeps what it gets, and says what it is told to. */
async function nodeAgent() {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  await once(server, "listening");
  const connected = once(server, "connection") as Promise<[WebSocket]>;
  const near = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  await once(near, "open");
  near.pause();
  const [far] = await connected;
  const got: Buffer[] = [];
  far.on("message", (data: Buffer) => got.push(data));
  return { near, far, got, close: () => server.close() };
}

const framesOf = (peer: ReturnType<typeof spdyClient>, id: number) =>
  peer.frames().filter(({ isControl, what }) => !isControl && what === id);
const textOf = (peer: ReturnType<typeof spdyClient>, id: number) =>
  Buffer.concat(framesOf(peer, id).map(({ payload }) => payload)).toString();
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

test("the streams of a client follow from the query", () => {
  expect(commandStreams(new URLSearchParams("input=1&output=1&error=1"))).toEqual([
    "error",
    "stdin",
    "stdout",
    "stderr",
  ]);
  expect(commandStreams(new URLSearchParams("output=1&error=1&tty=1"))).toEqual(["error", "stdout", "resize"]);
});

test("each stream is a channel of the node's agent; output waits until all streams are there", async () => {
  const peer = spdyClient();
  const agent = await nodeAgent();
  agent.far.send(Buffer.from("\u0001early"));
  const done = serveRemoteCommand(peer.far, agent.near, ["error", "stdin", "stdout", "stderr"]);

  await peer.open(1, { streamType: "error" });
  await peer.open(3, { streamType: "stdin" });
  await peer.open(5, { streamType: "stdout" });
  const before = textOf(peer, 5);
  await peer.open(7, { streamType: "stderr" });
  peer.data(3, "typed");
  peer.data(3, "", 1);
  await until(() => agent.got.length === 2 && textOf(peer, 5) !== "");
  agent.far.send(Buffer.from("\u0002problem"));
  agent.far.send(Buffer.from('\u0003{"status":"Success"}'));
  agent.far.close();
  await until(() => [1, 5, 7].every((id) => framesOf(peer, id).some(({ flags }) => flags === 1)));
  peer.near.end();
  await done;
  agent.close();

  expect(before).toBe("");
  expect(agent.got.map((message) => [message[0], message.subarray(1).toString("latin1")])).toEqual([
    [0, "typed"],
    [255, "\u0000"],
  ]);
  expect([textOf(peer, 5), textOf(peer, 7), textOf(peer, 1)]).toEqual(["early", "problem", '{"status":"Success"}']);
});

test("a client that leaves ends the connection to the node", async () => {
  const peer = spdyClient();
  const agent = await nodeAgent();
  const done = serveRemoteCommand(peer.far, agent.near, ["error", "stdout"]);
  const closed = once(agent.far, "close");

  await peer.open(1, { streamType: "error" });
  peer.near.end();
  await done;
  await closed;
  agent.close();

  expect(agent.near.readyState).toBeGreaterThanOrEqual(WebSocket.CLOSING);
});
