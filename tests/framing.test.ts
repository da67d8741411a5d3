import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  Cleanup,
  exchangeBytes,
  type FakeBackend,
  fakeBackend,
  startGateway,
} from "../src/dataplane/gateway/fixture.js";
import { serveProtocols } from "../src/dataplane/modelserver/protocols.fixture.js";
import { HeaderDecoder } from "../src/kernel/http2/index.js";
import { malformedHttp2, malformedRequests } from "./hostile/malformed.js";

// The fronts that take bytes from strangers: the same table is held against both.
const cleanup = new Cleanup();
const ports = new Map<string, number>();
let backend: FakeBackend;
/** Requests that reached the backend whole, as they were. */
const whole: string[] = [];

beforeAll(async () => {
  backend = await fakeBackend(cleanup, (request, response) => {
    request.resume();
    request.on("end", () => {
      if (request.headers["x-argosy-check"] === undefined) whole.push(request.rawHeaders.join(": "));
      response.end("passed on");
    });
  });
  const route = { id: "r", listener: "head", path: "/", backends: [{ name: "a", addresses: [backend.address] }] };
  const { port } = await startGateway(cleanup, [route]);
  ports.set("the gateway", port);
  const server = await serveProtocols();
  cleanup.add(() => server.stop());
  ports.set("the model server", Number(new URL(server.url).port));
});

afterAll(() => cleanup.run());

const follower = "GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n";
const fronts = ["the gateway", "the model server"] as const;
const portOf = (front: string): number => ports.get(front) ?? 0;

describe.each(fronts)("HTTP/1 at %s", (front) => {
  test("what is well is answered", async () => {
    const text = await exchangeBytes(portOf(front), follower, (all) => /^HTTP\/1\.1 200 /.test(all));

    expect(text).toMatch(/^HTTP\/1\.1 200 /);
  });

  test.each(malformedRequests)("$name: $status, and nothing after it is read", async ({ bytes, status, inBody }) => {
    const before = [backend.requests, whole.length];
    const text = await exchangeBytes(portOf(front), [`${bytes}${follower}${follower}`]);

    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(text.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
    expect(text.toLowerCase()).toContain("\r\nconnection: close\r\n");
    expect(whole.length).toBe(before[1]);
    expect(backend.requests - (before[0] ?? 0)).toBeLessThanOrEqual(inBody === true ? 1 : 0);
  });

  test("a malformed request behind a good one is refused by itself", async () => {
    const text = await exchangeBytes(portOf(front), [
      `${follower}GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n${follower}`,
    ]);

    expect(text.match(/HTTP\/1\.1 \d{3}/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 400"]);
  });

  test("the same bytes one at a time are refused alike", async () => {
    for (const name of ["two Hosts", "length and chunks", "two sizes", "a folded line", "NUL in a value"]) {
      const { bytes = "", status } = malformedRequests.find((each) => each.name === name) ?? {};
      const text = await exchangeBytes(portOf(front), bytes.split(""));

      expect(`${name}: ${text.slice(0, 12)}`).toBe(`${name}: HTTP/1.1 ${status}`);
    }
  });
});

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
const [DATA, HEADERS, RESET, SETTINGS, GOAWAY] = [0, 1, 3, 4, 7];
const END_STREAM = 1;
const END_HEADERS = 4;

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value, "latin1")]);
const block = (fields: readonly (readonly [string, string])[]): Buffer =>
  Buffer.concat(fields.map(([name, value]) => Buffer.concat([Buffer.from([0]), text(name), text(value)])));

/** What becomes of a request: `reset`, or its status. */
function outcome(port: number, fields: readonly (readonly [string, string])[], body = "{}"): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const decoder = new HeaderDecoder();
    let got = Buffer.alloc(0);
    const done = (said: string): void => {
      socket.destroy();
      resolve(said);
    };
    socket.write(
      Buffer.concat([
        preface,
        frame(SETTINGS, 0, 0, Buffer.alloc(0)),
        frame(HEADERS, END_HEADERS, 1, block(fields)),
        frame(DATA, END_STREAM, 1, Buffer.from(body)),
      ]),
    );
    socket.on("error", () => done("reset"));
    socket.on("close", () => done("reset"));
    socket.on("data", (chunk: Buffer) => {
      got = Buffer.concat([got, chunk]);
      while (got.length >= 9 && got.length >= 9 + got.readUIntBE(0, 3)) {
        const [length, type] = [got.readUIntBE(0, 3), got[3]];
        const payload = got.subarray(9, 9 + length);
        got = got.subarray(9 + length);
        if (type === RESET || (type === GOAWAY && payload.readUInt32BE(4) !== 0)) done("reset");
        if (type === HEADERS) done(statusIn(decoder, payload));
      }
    });
  });
}

function statusIn(decoder: HeaderDecoder, payload: Buffer): string {
  return decoder.decode(payload, 65_536)?.find(([name]) => name === ":status")?.[1] ?? "none";
}

describe.each(fronts)("HTTP/2 at %s", (front) => {
  test.each(malformedHttp2)("$name is refused, or left out", async ({ fields, body, dropped }) => {
    const before = whole.length;
    const said = await outcome(portOf(front), fields, body);
    const passed = whole.slice(before).join();

    if (said === "200" && dropped !== undefined) expect(passed).not.toContain(dropped);
    else {
      expect(said).toMatch(/^(reset|4\d\d)$/);
      expect(passed).toBe("");
    }
  });
});
