import { connect } from "node:net";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { Cleanup, eventually, fakeBackend, startGateway } from "./fixture.js";
import type { RouteInput } from "./table.js";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** A backend that answers with what it saw; the head of its answers is the same for equal lengths. */
async function mirror(name: string) {
  return fakeBackend(cleanup, (request, response) => {
    let body = "";
    request.on("data", (piece: Buffer) => {
      body += piece.toString();
    });
    request.on("end", () => {
      const { host, "x-forwarded-host": from, "x-a": extra = "" } = request.headers;
      const text = `${name} ${request.method} ${request.url} ${host} ${String(from)} ${String(extra)} ${body}`;
      response.sendDate = false;
      response.setHeader("content-length", Buffer.byteLength(text));
      if (request.url?.endsWith("/close") === true) response.setHeader("connection", "close");
      response.end(text);
    });
  });
}

const route = (address: string, more: Partial<RouteInput> = {}): RouteInput => ({
  id: "r",
  listener: "head",
  path: "/m/",
  rewrite: "/v1/",
  backends: [{ name: "b", host: "first.example", addresses: [address] }],
  ...more,
});

/** One connection, on which requests go one after the other or all at once. */
async function talk(port: number) {
  const socket = connect(port, "127.0.0.1");
  let text = "";
  socket.on("data", (piece: Buffer) => {
    text += piece.toString("latin1");
  });
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
  cleanup.add(async () => socket.destroy());
  const take = (): string | undefined => {
    const end = text.indexOf("\r\n\r\n");
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1]);
    if (end < 0 || text.length < end + 4 + length) return undefined;
    const body = text.slice(end + 4, end + 4 + length);
    text = text.slice(end + 4 + length);
    return body;
  };
  return {
    send: (bytes: string) => socket.write(bytes, "latin1"),
    async answers(count: number): Promise<string[]> {
      const got: string[] = [];
      await eventually(() => {
        for (let body = take(); body !== undefined; body = take()) got.push(body);
        return got.length >= count;
      }, `${count} answers`);
      return got;
    },
  };
}

const render = ({ path, extra, body }: { path: string; extra: string; body: string }): string =>
  `POST /m/${path} HTTP/1.1\r\nHost: h\r\nX-A: ${extra}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

test("heads that come again, in any order and however they are cut, lead where each of them says, with its own body", async () => {
  const backend = await mirror("b");
  const { port } = await startGateway(cleanup, [route(backend.address)]);
  const request = fc.record({
    path: fc.constantFrom("a", "b", "close"),
    extra: fc.constantFrom("1", "2"),
    body: fc.constantFrom("", "xy", "yx", "POST /m/a HTTP/1.1\r\n\r\n"),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(request, { minLength: 1, maxLength: 8 }),
      fc.nat(60),
      fc.boolean(),
      async (all, cut, pipelined) => {
        const client = await talk(port);
        const expected = all.map(({ path, extra, body }) => `b POST /v1/${path} first.example h ${extra} ${body}`);
        if (pipelined) {
          const bytes = all.map(render).join("");
          client.send(bytes.slice(0, cut));
          await new Promise((resolve) => setImmediate(resolve));
          client.send(bytes.slice(cut));
          expect(await client.answers(all.length)).toEqual(expected);
          return;
        }
        const got: string[] = [];
        for (const one of all) {
          client.send(render(one));
          got.push(...(await client.answers(1)));
        }
        expect(got).toEqual(expected);
      },
    ),
    { numRuns: 40 },
  );
});

test("a head that is known follows the table: another rewrite, another backend, no route, and a route again", async () => {
  const [one, two] = [await mirror("one"), await mirror("two")];
  const { port, setRoutes } = await startGateway(cleanup, [route(one.address)]);
  const client = await talk(port);
  const ask = async (): Promise<string | undefined> => {
    client.send("GET /m/x HTTP/1.1\r\nHost: h\r\n\r\n");
    return (await client.answers(1))[0];
  };
  expect([await ask(), await ask()]).toEqual(Array.from({ length: 2 }, () => "one GET /v1/x first.example h  "));
  await setRoutes([route(one.address, { rewrite: "/v2/" })]);
  expect(await ask()).toBe("one GET /v2/x first.example h  ");
  await setRoutes([
    route(two.address, { backends: [{ name: "b", host: "second.example", addresses: [two.address] }] }),
  ]);
  expect(await ask()).toBe("two GET /v1/x second.example h  ");
  await setRoutes([]);
  expect(await ask()).toContain("NoRoute");
  await setRoutes([route(one.address)]);
  expect(await ask()).toBe("one GET /v1/x first.example h  ");
});
