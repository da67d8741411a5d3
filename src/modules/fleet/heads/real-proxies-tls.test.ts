import {
  connect as connectHttp2,
  createServer as createHttp2Server,
  createSecureServer as createSecureHttp2,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { afterEach, expect } from "vitest";
import { systemClock } from "../../../kernel/clock/index.js";
import { createAuthority } from "../../../kernel/identity/index.js";
import { unless } from "../../../testing/unless.js";
import { eventually } from "../fixture.js";
import { closeAll, closing, headRoute, lacking, start } from "./proxies.fixture.js";

afterEach(closeAll);

for (const isSecure of [false, true])
  unless(lacking("haproxy"))(
    `haproxy: ${isSecure ? "over TLS " : ""}gRPC backends are asked by gRPC's health protocol; who does not know it is healthy by saying so`,
    async () => {
      const authority = await createAuthority({ clock: systemClock, name: "test" });
      const { certPem, keyPem } = await authority.issueServer(["inner.example.org"]);
      const asked = new Set<string>();
      const grpc = async (name: string, health: string): Promise<string> => {
        const server = isSecure ? createSecureHttp2({ cert: certPem, key: keyPem }) : createHttp2Server();
        const sessions = new Set<{ destroy(): void }>();
        server.on("session", (session) => sessions.add(session));
        server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
          stream.on("error", () => undefined);
          const isCheck = headers[":path"] === "/grpc.health.v1.Health/Check";
          const head = { ":status": 200, "content-type": "application/grpc" };
          if (isCheck) asked.add(`${name} ${String(headers[":authority"])}`);
          if (isCheck && health === "unknown") {
            stream.respond({ ...head, "grpc-status": "12" }, { endStream: true });
            return;
          }
          stream.respond(head, { waitForTrailers: true });
          stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
          stream.resume().on("end", () => {
            if (isCheck) stream.end(Buffer.from([0, 0, 0, 0, 2, 8, health === "serving" ? 1 : 2]));
            else stream.end(name);
          });
        });
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
        closing.push(() => {
          server.close();
          for (const session of sessions) session.destroy();
        });
        const bound = server.address();
        return `127.0.0.1:${typeof bound === "object" ? bound?.port : 0}`;
      };
      const kinds = { up: "serving", down: "not serving", old: "unknown" };
      const made = Object.entries(kinds).map(async ([name, health]) => ({
        name,
        host: `${name}.example:8081`,
        addresses: [await grpc(name, health)],
        health: { grpc: "", intervalMs: 100, timeoutMs: 2000 },
        ...(isSecure ? { tls: { serverName: "inner.example.org" } } : {}),
      }));
      const { port, limits } = await start(
        "haproxy",
        [
          headRoute(
            "g",
            { protocol: "h2", retry: { attempts: 0 }, backends: await Promise.all(made) },
            isSecure ? { backendTLS: { caSecretName: "ca" } } : {},
          ),
        ],
        { ca: { "ca.crt": authority.caPem } },
      );
      const session = connectHttp2(`http://127.0.0.1:${port}`);
      closing.push(() => session.destroy());
      const call = (): Promise<string> =>
        new Promise((resolve, reject) => {
          const stream = session.request({ ":method": "POST", ":path": "/x.Y/Z", "content-type": "application/grpc" });
          let body = "";
          stream.on("data", (piece: Buffer) => {
            body += piece.toString();
          });
          stream.on("error", reject);
          stream.on("close", () => resolve(body));
          stream.end();
        });
      const round = async (): Promise<string> => (await Promise.all([call(), call(), call(), call()])).sort().join();
      await eventually(round, (names) => names === "old,old,up,up", "who does not serve gets none");
      for (let turn = 0; turn < 5; turn++) expect(await round()).toBe("old,old,up,up");
      expect([...asked].sort()).toEqual(
        Object.keys(kinds)
          .map((name) => `${name} ${name}.example:8081`)
          .sort(),
      );
      expect(limits.size).toBe(0);
    },
  );
