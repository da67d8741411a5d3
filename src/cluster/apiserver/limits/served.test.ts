import { Agent, request as httpsRequest } from "node:https";
import { afterAll, beforeAll, expect, test } from "vitest";
import { seededRandom, virtualClock } from "../../../kernel/clock/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { type ApiServer, createApiServer } from "../index.js";

let server: ApiServer;
let url: string;
const agent = new Agent({ keepAlive: true, maxSockets: 4, rejectUnauthorized: false });
const [ann, bob] = ["ann-token-0123456789", "bob-token-0123456789"];

beforeAll(async () => {
  server = await createApiServer({
    clusterName: "limits",
    // Time stands still: nobody's share grows.
    clock: virtualClock(Date.UTC(2026, 0, 1)),
    random: seededRandom(1),
    log: silentLogger,
    serviceCidr: "198.19.0.0/24",
    authorization: "rbac",
    tokens: [
      { token: ann, user: { username: "ann", groups: [] } },
      { token: bob, user: { username: "bob", groups: [] } },
    ],
    limits: { requestsPerSecond: 3, readOnly: 100, mutating: 100 },
  });
  ({ url } = await server.listen({ host: "127.0.0.1", port: 0 }));
});
afterAll(async () => {
  agent.destroy();
  await server.close();
});

function ask(path: string, token: string | undefined) {
  return new Promise<{ status: number; retryAfter: string; text: string }>((resolve, reject) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const outgoing = httpsRequest(`${url}${path}`, { agent, headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, retryAfter: response.headers["retry-after"] ?? "", text }),
      );
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

test("above the limit a user is answered 429 and told when to come back; others are served", async () => {
  for (let count = 0; count < 6; count++) expect((await ask("/api", ann)).status).toBe(200);
  expect(await ask("/api", ann)).toEqual({
    status: 429,
    retryAfter: "1",
    text: "Too many requests, please try again later.\n",
  });

  expect((await ask("/api", bob)).status).toBe(200);
  expect((await ask("/readyz", ann)).status).toBe(200);
  expect((await ask("/api", "wrong")).status).toBe(401);
  for (let count = 0; count < 20; count++) expect((await ask("/api", server.adminToken)).status).toBe(200);
});
