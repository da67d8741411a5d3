import { writeFile } from "node:fs/promises";
import { createServer as createPlainServer } from "node:http";
import { createServer, request } from "node:https";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../kernel/clock/index.js";
import { createAuthority } from "../../kernel/identity/index.js";
import { ask, Cleanup, startGateway, temporaryDirectory } from "./fixture.js";

const cleanups: Cleanup[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup.run();
});

test("TLS to clients and to backends: certificates are checked, and large bodies pass unchanged", async () => {
  const cleanup = new Cleanup();
  cleanups.push(cleanup);
  const directory = await temporaryDirectory(cleanup);
  const authority = await createAuthority({ clock: systemClock, name: "test" });
  const certificate = await authority.issueServer(["localhost", "model.example.org", "127.0.0.1"]);
  const caFile = join(directory, "ca.crt");
  const certFile = join(directory, "tls.crt");
  const keyFile = join(directory, "tls.key");
  await writeFile(caFile, authority.caPem);
  await writeFile(certFile, certificate.certPem);
  await writeFile(keyFile, certificate.keyPem);
  const backend = createServer({ cert: certificate.certPem, key: certificate.keyPem }, (incoming, response) => {
    response.setHeader("x-seen-proto", String(incoming.headers["x-forwarded-proto"]));
    incoming.pipe(response);
  });
  await new Promise<void>((resolve) => backend.listen(0, "127.0.0.1", () => resolve()));
  cleanup.add(async () => {
    backend.close();
    backend.closeAllConnections();
  });
  const bound = backend.address();
  const addresses = [`127.0.0.1:${typeof bound === "object" && bound !== null ? bound.port : 0}`];
  const plain = createPlainServer((_incoming, response) => response.end());
  await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", () => resolve()));
  cleanup.add(async () => void plain.close());
  const plainly = plain.address();
  const routes = [
    {
      id: "plain",
      listener: "head",
      path: "/plain",
      backends: [
        {
          name: "b",
          addresses: [`127.0.0.1:${typeof plainly === "object" && plainly !== null ? plainly.port : 0}`],
          tls: { serverName: "model.example.org", caFile },
        },
      ],
    },
    {
      id: "good",
      listener: "head",
      path: "/good",
      backends: [{ name: "b", addresses, tls: { serverName: "model.example.org", caFile } }],
    },
    {
      id: "wrong-name",
      listener: "head",
      path: "/wrong-name",
      backends: [{ name: "b", addresses, tls: { serverName: "other.example.org", caFile } }],
    },
    {
      id: "unknown-ca",
      listener: "head",
      path: "/unknown-ca",
      backends: [{ name: "b", addresses, tls: { serverName: "model.example.org" } }],
    },
  ];
  const { port } = await startGateway(cleanup, routes, { directory, listener: { tls: { certFile, keyFile } } });
  const post = (path: string, body: string): Promise<{ status: number; proto: string; body: string }> =>
    new Promise((resolve, reject) => {
      const call = request(
        {
          port,
          host: "localhost",
          path,
          method: "POST",
          ca: authority.caPem,
          agent: false,
          headers: { "content-length": Buffer.byteLength(body) },
        },
        (response) => {
          let text = "";
          response.on("data", (piece: Buffer) => {
            text += piece.toString("latin1");
          });
          response.on("end", () =>
            resolve({ status: response.statusCode ?? 0, proto: String(response.headers["x-seen-proto"]), body: text }),
          );
        },
      );
      call.on("error", reject);
      call.end(body);
    });
  const large = "0123456789".repeat(200_000);

  const answer = await post("/good", large);

  expect({ ...answer, body: answer.body === large }).toEqual({ status: 200, proto: "https", body: true });
  expect(await post("/wrong-name", "x")).toMatchObject({
    status: 503,
    body: expect.stringContaining("Hostname/IP does not match"),
  });
  expect(await post("/unknown-ca", "x")).toMatchObject({
    status: 503,
    body: expect.stringMatching(/unable to|self.signed/),
  });
  expect((await post("/unknown-ca", "x")).body).toContain("its certificate is of no authority that is trusted");
  // In words and in one line, not OpenSSL's.
  expect((await post("/plain", "x")).body).toMatch(/it does not speak TLS \([a-z ]+\)/);
  await expect(ask(port, "/good")).rejects.toThrow();
});

test("certificates are chosen by name and renewed on the same socket; clients may speak HTTP/2", async () => {
  const cleanup = new Cleanup();
  cleanups.push(cleanup);
  const directory = await temporaryDirectory(cleanup);
  const authority = await createAuthority({ clock: systemClock, name: "test" });
  const write = async (file: string, host: string) => {
    const { certPem, keyPem } = await authority.issueServer([host]);
    await writeFile(join(directory, `${file}.crt`), certPem);
    await writeFile(join(directory, `${file}.key`), keyPem);
    return { certFile: join(directory, `${file}.crt`), keyFile: join(directory, `${file}.key`) };
  };
  const first = await write("first", "one.example.org");
  const second = await write("second", "two.example.org");
  const tls = (two: typeof second) => ({ ...first, names: [{ hosts: ["two.example.org"], ...two }] });
  const { port, gateway } = await startGateway(cleanup, [], { directory, listener: { tls: tls(second) } });
  const meet = (servername: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connectTls(
        { port, host: "127.0.0.1", servername, rejectUnauthorized: false, ALPNProtocols: ["h2"] },
        () => {
          resolve(`${socket.getPeerCertificate().subjectaltname} ${String(socket.alpnProtocol)}`);
          socket.destroy();
        },
      );
      socket.on("error", reject);
    });
  expect(await meet("one.example.org")).toBe("DNS:one.example.org h2");
  expect(await meet("two.example.org")).toBe("DNS:two.example.org h2");
  const renewed = await write("third", "new.two.example.org");
  const listeners = [{ name: "head", host: "127.0.0.1", port: 0, tls: tls(renewed) }];
  await writeFile(join(directory, "table.json"), JSON.stringify({ version: 1, listeners, routes: [] }));
  expect(await gateway.reload()).toBe("");
  expect(await meet("two.example.org")).toBe("DNS:new.two.example.org h2");
  expect(gateway.state().listeners[0]?.address).toBe(`127.0.0.1:${port}`);
  // One name's slip takes nothing from the others, and the listener's own changes nothing.
  const slipped = { certFile: renewed.certFile, keyFile: first.keyFile };
  for (const wrong of [tls(slipped), { ...slipped, names: [] }]) {
    const one = [{ name: "head", host: "127.0.0.1", port: 0, tls: wrong }];
    await writeFile(join(directory, "table.json"), JSON.stringify({ version: 1, listeners: one, routes: [] }));
    expect(await gateway.reload()).toBe("");
    expect(await meet("one.example.org")).toBe("DNS:one.example.org h2");
    expect(gateway.state().listeners[0]).toMatchObject({ listening: true, address: `127.0.0.1:${port}` });
  }
});
