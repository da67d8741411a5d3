import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:tls";
import { expect, test } from "vitest";
import { startListening } from "./listening.fixture.js";

const { clock, server, url } = await startListening();

const path = "/api/v1/namespaces/default/configmaps";
const body = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"c-"}}';

/** Lets what was written arrive: the server has seen it when an answer to something later is here. */
async function letArrive(): Promise<void> {
  const session = connectHttp2(url, { rejectUnauthorized: false });
  const stream = session.request({ ":path": "/readyz" });
  await once(stream, "response");
  session.destroy();
}

test("over HTTP/1.1, a body that stops coming ends its connection; one that comes is answered", async () => {
  const port = Number(new URL(url).port);
  const head = `POST ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${server.adminToken}\r\nContent-Type: application/json\r\n`;
  const slow = connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
  const quick = connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
  slow.on("error", () => undefined);
  await Promise.all([once(slow, "secureConnect"), once(quick, "secureConnect")]);
  const slowEnd = once(slow, "close");
  slow.write(`${head}Content-Length: 1000\r\n\r\n{"half`);
  quick.write(`${head}Content-Length: ${body.length}\r\n\r\n${body}`);
  const [answer] = (await once(quick, "data")) as [Buffer];
  await letArrive();
  await clock.advance(70_000);

  await slowEnd;
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 201/);
  expect(quick.destroyed).toBe(false);
  quick.destroy();
});

test("over HTTP/2, only the stream ends", async () => {
  const session = connectHttp2(url, { rejectUnauthorized: false });
  const headers = {
    ":method": "POST",
    ":path": path,
    authorization: `Bearer ${server.adminToken}`,
    "content-type": "application/json",
  };
  const slow = session.request(headers);
  slow.on("error", () => undefined);
  slow.write('{"half');
  await letArrive();
  const slowEnd = once(slow, "close");
  await clock.advance(70_000);
  await slowEnd;

  const next = session.request(headers);
  next.end(body);
  const [answer] = (await once(next, "response")) as [Record<string, number>];
  expect(answer[":status"]).toBe(201);
  session.destroy();
});
