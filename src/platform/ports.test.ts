import { once } from "node:events";
import { type AddressInfo, createServer, type Server } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { ArgosyError } from "../kernel/errors/index.js";
import { portChooser } from "./ports.js";

/** A port that another program holds, with a free one right behind it. */
async function heldPort(): Promise<number> {
  for (;;) {
    const server = await listening(0);
    const { port } = server.address() as AddressInfo;
    const behind = await listening(port + 1).catch(() => undefined);
    if (behind !== undefined) {
      behind.close();
      await once(behind, "close");
      onTestFinished(() => void server.close());
      return port;
    }
    server.close();
  }
}

async function listening(port: number): Promise<Server> {
  const server = createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  return server;
}

const never = (name: string): void => {
  throw new Error(`${name} moved`);
};

test("a port that another program holds is left to it, and the user hears of it", async () => {
  const port = await heldPort();
  const moves: unknown[] = [];
  const ports = portChooser({}, (...move) => moves.push(move));

  expect(await ports.choose("hub", port)).toBe(port + 1);
  expect(moves).toEqual([["hub", port, port + 1]]);
  expect(ports.chosen()).toEqual({ hub: port + 1 });
});

test("the port of last time goes before the preferred one, and nobody else's of last time is taken", async () => {
  const port = await heldPort();
  const ports = portChooser({ cloud: port + 1 }, () => undefined);

  expect(await ports.choose("hub", port)).toBeGreaterThan(port + 1);
  expect(await ports.choose("cloud", 1)).toBe(port + 1);
});

test("two names never get one port, and choices not asked for again are kept", async () => {
  const port = await heldPort();
  const ports = portChooser({ gone: 4 }, () => undefined);

  const [first, second] = [await ports.choose("a", port), await ports.choose("b", port)];

  expect(new Set([port, first, second]).size).toBe(3);
  expect(ports.chosen()).toEqual({ gone: 4, a: first, b: second });
});

test("a port that our own running gateway holds is as good as free", async () => {
  const port = await heldPort();

  expect(await portChooser({ ingress: port }, never, new Set([port])).choose("ingress", 8080)).toBe(port);
});

test("past the last port there is none", async () => {
  const held = await listening(65535).catch(() => undefined);
  onTestFinished(() => void held?.close());

  await expect(portChooser({}, never).choose("hub", 65535)).rejects.toMatchObject({
    code: "NoFreePort",
    message: "no free port for hub between 65535 and 65535 on 127.0.0.1",
  });
});

test("a chosen port is held against other starts until it is let go", async () => {
  const port = await heldPort();
  const ports = portChooser({}, () => undefined);
  const mine = await ports.choose("hub", port);

  const theirs = await portChooser({}, () => undefined).choose("hub", mine);
  await expect(listening(mine)).rejects.toMatchObject({ code: "EADDRINUSE" });
  await ports.letGo(mine);
  const server = await listening(mine);
  server.close();

  expect(theirs).not.toBe(mine);
});

test("a port lost between letting go and listening is replaced, and the start made again", async () => {
  const moves: string[] = [];
  const ports = portChooser({}, (name, wanted, got) => moves.push(`${name} ${wanted} ${got}`));
  const first = await ports.choose("api", 21_000);
  const tried: number[] = [];

  const got = await ports.listen("api", 21_000, async (port) => {
    tried.push(port);
    if (port === first) {
      throw new ArgosyError("PortInUse", "taken meanwhile");
    }
    return port;
  });

  expect(tried).toEqual([first, got]);
  expect(got).toBeGreaterThan(first);
  expect(ports.chosen()).toEqual({ api: got });
  await ports.letGo();
});
