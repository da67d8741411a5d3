import { writeFile } from "node:fs/promises";
import { createServer, request } from "node:https";
import { join } from "node:path";
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
  const routes = [
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
  await expect(ask(port, "/good")).rejects.toThrow();
});
