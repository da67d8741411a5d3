import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../../kernel/clock/index.js";
import { createAuthority } from "../../../kernel/identity/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { type Listener, listen } from "./listener.js";

const quietMs = 150;
/** What the server has not answered yet. */
const pending: AbortSignal[] = [];
let listener: Listener;
beforeAll(async () => {
  const authority = await createAuthority({ clock: systemClock, name: "sessions" });
  listener = await listen({
    ...(await authority.issueServer(["127.0.0.1"])),
    host: "127.0.0.1",
    port: 0,
    caPem: authority.caPem,
    target: {
      handle: async ({ path, signal }) => {
        pending.push(signal);
        if (path === "/never") await new Promise((resolve) => signal.addEventListener("abort", resolve));
        return { status: 200, headers: {}, body: Buffer.from(path) };
      },
      upgrade: () => Promise.reject(new Error("none")),
    },
    clock: systemClock,
    log: silentLogger,
    quietMs,
  });
});
afterAll(() => listener.close());

async function open(): Promise<TLSSocket> {
  const socket = connect({
    host: "127.0.0.1",
    port: listener.port,
    rejectUnauthorized: false,
    ALPNProtocols: ["h2"],
  });
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  return socket.resume();
}

const start = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "latin1");
const data = Buffer.from("\0\0\x01\0\0\0\0\0\x01x", "latin1");
const headers = Buffer.from([0, 0, 13, 1, 5, 0, 0, 0, 1, 0x82, 0x87, 0x04, 6, ...Buffer.from("/never"), 0x01, 1, 0x78]);

test.each([
  ["that says nothing", 0, Buffer.alloc(0)],
  ["that begins and says no more", 0, start],
  ["that breaks the protocol", 0, Buffer.concat([start, data])],
  ["that breaks the protocol while it waits for an answer", 1, Buffer.concat([start, headers, data, data])],
])("a client over HTTP/2 %s is let go", async (_, asked, bytes) => {
  const socket = await open();
  socket.write(bytes);
  await once(socket, "close");

  expect(pending.splice(0).map((signal) => signal.aborted)).toEqual(Array.from({ length: asked }, () => true));
});

test("one that is there may be as quiet as it likes", async () => {
  const session = connectHttp2(`https://127.0.0.1:${listener.port}`, { rejectUnauthorized: false });
  const waiting = session.request({ ":path": "/never" });
  waiting.on("error", () => undefined);
  // Whoever says nothing is let go: by then this session has been quiet as long, three times over.
  for (let round = 0; round < 3; round++) await once(await open(), "close");
  const next = session.request({ ":path": "/next" });
  const [{ ":status": status }] = (await once(next, "response")) as [Record<string, number>];
  session.destroy();

  expect(status).toBe(200);
  expect(waiting.rstCode).not.toBe(2);
});
