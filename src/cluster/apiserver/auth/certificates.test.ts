import { X509Certificate } from "node:crypto";
import { request as httpsRequest } from "node:https";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock, systemRandom } from "../../../kernel/clock/index.js";
import { openAuthority } from "../../../kernel/identity/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { type ApiServer, createApiServer } from "../index.js";

let server: ApiServer;
let url: string;
beforeAll(async () => {
  server = await createApiServer({
    clusterName: "certificates",
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    serviceCidr: "198.19.0.0/24",
    authorization: "rbac",
    tokens: [],
  });
  ({ url } = await server.listen({ host: "127.0.0.1", port: 0 }));
});
afterAll(() => server.close());

function whoAmI(how: { certPem?: string; keyPem?: string; token?: string }) {
  return new Promise<{ status: number; body: { status?: { userInfo?: unknown } } }>((resolve, reject) => {
    const outgoing = httpsRequest(
      `${url}/apis/authentication.k8s.io/v1/selfsubjectreviews`,
      {
        method: "POST",
        agent: false,
        ca: server.caPem,
        ...(how.certPem === undefined ? {} : { cert: how.certPem, key: how.keyPem }),
        headers: {
          "content-type": "application/json",
          ...(how.token === undefined ? {} : { authorization: `Bearer ${how.token}` }),
        },
      },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk;
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as object }));
      },
    );
    outgoing.on("error", reject);
    outgoing.end('{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}');
  });
}

test("a certificate of the cluster is its user, known by its fingerprint", async () => {
  const issued = await server.issueClientCertificate("ann", ["devs", "ops"]);
  const fingerprint = new X509Certificate(issued.certPem).fingerprint256.replaceAll(":", "").toLowerCase();

  expect((await whoAmI(issued)).body.status?.userInfo).toEqual({
    username: "ann",
    groups: ["devs", "ops", "system:authenticated"],
    extra: { "authentication.kubernetes.io/credential-id": [`X509SHA256=${fingerprint}`] },
  });
});

test("a stranger's certificate is refused, unless a token says who it is", async () => {
  const authority = await openAuthority({ clock: systemClock, name: "stranger" });
  const issued = await authority.issueClient("system:admin", ["system:masters"]);

  expect((await whoAmI(issued)).status).toBe(401);
  expect((await whoAmI({ ...issued, token: server.adminToken })).body.status?.userInfo).toMatchObject({
    username: "argosy:admin",
  });
  expect((await whoAmI({})).status).toBe(403);
});
