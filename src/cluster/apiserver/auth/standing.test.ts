import { request as httpsRequest } from "node:https";
import { expect, onTestFinished, test } from "vitest";
import { seededRandom, type VirtualClock, virtualClock } from "../../../kernel/clock/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { createApiServer } from "../index.js";

const configMaps = "/api/v1/namespaces/default/configmaps";
const accounts = "/api/v1/namespaces/default/serviceaccounts";
const roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
const rbac = { apiVersion: "rbac.authorization.k8s.io/v1" };
const readers = { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "readers" };

interface Watched {
  readonly status: number;
  readonly text: () => string;
  readonly ended: Promise<void>;
}

interface Started {
  readonly clock: VirtualClock;
  readonly send: (method: string, path: string, body?: JsonObject) => Promise<JsonObject>;
  /** Opens a watch over the network; `ended` when the server ends it. */
  readonly watch: (token: string) => Promise<Watched>;
  /** An account that may watch ConfigMaps by its own binding, with a token. */
  readonly account: (name: string) => Promise<string>;
}

async function start(): Promise<Started> {
  const clock = virtualClock(Date.UTC(2026, 0, 1));
  const server = await createApiServer({
    ...{ clusterName: "test", clock, random: seededRandom(7), log: silentLogger, serviceCidr: "198.19.0.0/24" },
    ...{ tokens: [], authorization: "rbac" },
  });
  onTestFinished(() => server.close());
  const { url } = await server.listen({ host: "127.0.0.1", port: 0 });
  const transport = server.transport(server.adminToken);
  onTestFinished(() => transport.close());
  const send: Started["send"] = async (method, path, body) => {
    const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    const given = body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": type } };
    const response = await transport.request({ method, path, ...given });
    const chunks: Uint8Array[] = [];
    for await (const chunk of response.body) chunks.push(chunk);
    return JSON.parse(Buffer.concat(chunks).toString()) as JsonObject;
  };
  const rules = [{ apiGroups: [""], resources: ["configmaps"], verbs: ["watch"] }];
  await send("POST", roles, { ...rbac, kind: "Role", metadata: { name: "readers" }, rules });
  return {
    ...{ clock, send },
    watch: (token) =>
      new Promise((resolve, reject) => {
        const headers = { authorization: `Bearer ${token}` };
        const asked = httpsRequest(`${url}${configMaps}?watch=1`, { ca: server.caPem, headers }, (response) => {
          let text = "";
          response.on("data", (chunk: Buffer) => {
            text += chunk.toString();
          });
          const ended = new Promise<void>((done) => response.once("end", done));
          resolve({ status: response.statusCode ?? 0, text: () => text, ended });
        });
        asked.once("error", reject).end();
      }),
    async account(name) {
      await send("POST", accounts, { apiVersion: "v1", kind: "ServiceAccount", metadata: { name } });
      const subjects = [{ kind: "ServiceAccount", name, namespace: "default" }];
      await send("POST", bindings, {
        ...{ ...rbac, kind: "RoleBinding", metadata: { name } },
        ...{ roleRef: readers, subjects },
      });
      const made = await send("POST", `${accounts}/${name}/token`, {
        ...{ apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} },
      });
      return (made["status"] as { token: string }).token;
    },
  };
}

test("a watch ends at once when its account is deleted; others go on, and it is not let in again", async () => {
  const { account, watch, send } = await start();
  const [leaves, stays] = [await account("leaves"), await account("stays")];
  const [gone, other] = [await watch(leaves), await watch(stays)];

  await send("DELETE", `${accounts}/leaves`);
  await gone.ended;
  await send("POST", configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "after" } });
  while (!other.text().includes('"after"')) await new Promise<void>((resolve) => setImmediate(resolve));

  expect([gone.status, other.status]).toEqual([200, 200]);
  expect(gone.text()).not.toContain('"after"');
  expect((await watch(leaves)).status).toBe(401);
});

test("a watch ends within seconds when what allowed it is taken away: the binding, or the role's rule", async () => {
  const { account, watch, send, clock } = await start();
  const [one, two] = [await account("one"), await account("two")];
  const [first, second] = [await watch(one), await watch(two)];

  await send("DELETE", `${bindings}/one`);
  await clock.advance(1000);
  await first.ended;
  await send("POST", configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "between" } });
  while (!second.text().includes('"between"')) await new Promise<void>((resolve) => setImmediate(resolve));
  await send("PATCH", `${roles}/readers`, {
    rules: [{ apiGroups: [""], resources: ["configmaps"], verbs: ["get"] }],
  });
  await clock.advance(1000);
  await second.ended;

  expect(first.text()).not.toContain('"between"');
  expect((await watch(one)).status).toBe(403);
});
