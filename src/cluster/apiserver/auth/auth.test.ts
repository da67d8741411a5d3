import { afterAll, beforeAll, expect, test } from "vitest";
import { type ApiClient, createClient, httpTransport } from "../../../kernel/client/index.js";
import { systemClock, systemRandom } from "../../../kernel/clock/index.js";
import { ApiError } from "../../../kernel/errors/index.js";
import { openAuthority } from "../../../kernel/identity/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { type ApiServer, createApiServer } from "../index.js";

const users = {
  alice: { username: "alice", groups: ["devs"] },
  mallory: { username: "mallory", groups: [] },
  node: { username: "system:node:n1", groups: ["system:nodes"] },
};
const tokenOf = (name: string) => `${name}-token-0123456789`;
let server: ApiServer;
let admin: ApiClient;

beforeAll(async () => {
  server = await createApiServer({
    clusterName: "auth",
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    serviceCidr: "198.19.0.0/24",
    authorization: "rbac",
    tokens: Object.entries(users).map(([name, user]) => ({ token: tokenOf(name), user })),
  });
  admin = as(server.adminToken);
});
afterAll(() => server.close());

const as = (token: string) =>
  createClient({ transport: server.transport(token), clock: systemClock, random: systemRandom });
const post = (client: ApiClient, path: string, body: JsonObject, headers = {}) =>
  client.json("POST", path, body, { headers });

async function refusal(promise: Promise<unknown>): Promise<{ code: number; message: string }> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ApiError) return { code: error.httpCode, message: error.status.message };
    throw error;
  }
  throw new Error("was not refused");
}

async function namespace(): Promise<string> {
  const made = await post(admin, "/api/v1/namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { generateName: "t-" },
  });
  return String((made as { metadata: { name: string } }).metadata.name);
}

const role = (name: string, rules: JsonObject[]) => ({
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "Role",
  metadata: { name },
  rules,
});
const binding = (name: string, roleName: string, subject: JsonObject, kind = "Role") => ({
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "RoleBinding",
  metadata: { name },
  roleRef: { apiGroup: "rbac.authorization.k8s.io", kind, name: roleName },
  subjects: [subject],
});
const user = (name: string) => ({ apiGroup: "rbac.authorization.k8s.io", kind: "User", name });
const rbac = (ns: string, plural: string) => `/apis/rbac.authorization.k8s.io/v1/namespaces/${ns}/${plural}`;

test("a request without credentials is anonymous, one with a wrong token is refused", async () => {
  const anonymous = {
    method: "GET",
    path: "/api/v1/nodes",
    query: new URLSearchParams(),
    body: new Uint8Array(),
    signal: new AbortController().signal,
  };

  const nobody = await server.handle({ ...anonymous, headers: {} });
  const version = await server.handle({ ...anonymous, path: "/version", headers: {} });
  const wrong = await server.handle({ ...anonymous, headers: { authorization: "Bearer nonsense" } });
  const basic = await server.handle({ ...anonymous, headers: { authorization: "Basic YTpi" } });

  expect([nobody.status, version.status, wrong.status, basic.status]).toEqual([403, 200, 401, 403]);
  expect(Buffer.from(nobody.body as Uint8Array).toString()).toContain(
    'User \\"system:anonymous\\" cannot list resource \\"nodes\\"',
  );
});

test("roles allow what they say, in their namespace, from the moment they are bound", async () => {
  const ns = await namespace();
  const alice = as(tokenOf("alice"));
  const list = () => alice.json("GET", `/api/v1/namespaces/${ns}/configmaps`);

  expect(await refusal(list())).toEqual({
    code: 403,
    message: `configmaps is forbidden: User "alice" cannot list resource "configmaps" in API group "" in the namespace "${ns}"`,
  });
  await post(
    admin,
    rbac(ns, "roles"),
    role("r", [
      { apiGroups: [""], resources: ["configmaps"], verbs: ["list"] },
      { apiGroups: [""], resources: ["secrets"], verbs: ["get"], resourceNames: ["one"] },
      { apiGroups: ["apps"], resources: ["*/scale"], verbs: ["*"] },
    ]),
  );
  await post(
    admin,
    rbac(ns, "rolebindings"),
    binding("b", "r", { apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: "devs" }),
  );

  await list();
  expect((await refusal(alice.json("GET", `/api/v1/namespaces/${ns}/secrets/one`))).code).toBe(404);
  expect((await refusal(alice.json("GET", `/api/v1/namespaces/${ns}/secrets/two`))).code).toBe(403);
  expect((await refusal(alice.json("GET", "/api/v1/namespaces/default/configmaps"))).code).toBe(403);
  expect((await refusal(alice.json("GET", `/apis/apps/v1/namespaces/${ns}/deployments/d/scale`))).code).toBe(404);
  expect((await refusal(as(tokenOf("mallory")).json("GET", `/api/v1/namespaces/${ns}/configmaps`))).code).toBe(403);
  await admin.json("DELETE", `${rbac(ns, "rolebindings")}/b`);
  expect((await refusal(list())).code).toBe(403);
});

test("nobody grants rights that they do not hold, unless they may escalate or bind", async () => {
  const ns = await namespace();
  const alice = as(tokenOf("alice"));
  await post(
    admin,
    rbac(ns, "roles"),
    role("editor", [
      { apiGroups: ["rbac.authorization.k8s.io"], resources: ["roles", "rolebindings"], verbs: ["create", "update"] },
      { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
    ]),
  );
  await post(admin, rbac(ns, "rolebindings"), binding("b", "editor", user("alice")));

  await post(alice, rbac(ns, "roles"), role("within", [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }]));
  const beyond = await refusal(
    post(alice, rbac(ns, "roles"), role("more", [{ apiGroups: [""], resources: ["pods"], verbs: ["get", "delete"] }])),
  );
  const bound = await refusal(
    post(alice, rbac(ns, "rolebindings"), binding("c", "admin", user("alice"), "ClusterRole")),
  );

  expect(beyond.code).toBe(403);
  expect(beyond.message).toContain('user "alice" (groups=["devs" "system:authenticated"]) is attempting to grant');
  expect(beyond.message).toContain('\n{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}');
  expect(bound.code).toBe(403);
  await post(alice, rbac(ns, "rolebindings"), binding("d", "within", user("mallory")));
  await post(
    admin,
    rbac(ns, "roles"),
    role("binder", [
      {
        apiGroups: ["rbac.authorization.k8s.io"],
        resources: ["clusterroles"],
        resourceNames: ["view"],
        verbs: ["bind"],
      },
    ]),
  );
  await post(admin, rbac(ns, "rolebindings"), binding("e", "binder", user("alice")));
  await post(alice, rbac(ns, "rolebindings"), binding("f", "view", user("alice"), "ClusterRole"));
});

test("impersonation needs a right for each of its parts, and gives no more than the impersonated user has", async () => {
  const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
  const review = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
  const alice = as(tokenOf("alice"));
  const headers = { "impersonate-user": "kim", "impersonate-extra-acme.com%2fproject": "p1" };

  const who = (await post(admin, path, review, headers)) as { status: { userInfo: JsonObject } };
  const refused = await refusal(post(alice, path, review, { "impersonate-user": "kim" }));
  const asMember = await refusal(
    admin.json("GET", "/api/v1/secrets", undefined, { headers: { "impersonate-user": "kim" } }),
  );

  expect(who.status.userInfo).toEqual({
    username: "kim",
    groups: ["system:authenticated"],
    extra: { "acme.com/project": ["p1"] },
  });
  expect(refused.message).toBe(
    'users "kim" is forbidden: User "alice" cannot impersonate resource "users" in API group "" at the cluster scope',
  );
  expect(asMember.code).toBe(403);
});

test("a ServiceAccount's token is its identity until the account or the pod is gone", async () => {
  const ns = await namespace();
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p" },
    spec: { containers: [{ name: "c", image: "i" }] },
  };
  const made = (await post(admin, `/api/v1/namespaces/${ns}/pods`, pod)) as { metadata: { uid: string } };
  const ask = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest" };
  const tokenPath = `/api/v1/namespaces/${ns}/serviceaccounts/default/token`;
  const issue = async (spec: JsonObject) =>
    ((await post(admin, tokenPath, { ...ask, spec })) as { status: { token: string } }).status.token;
  const plain = await issue({});
  const bound = await issue({ boundObjectRef: { kind: "Pod", apiVersion: "v1", name: "p", uid: made.metadata.uid } });
  const other = await issue({ audiences: ["elsewhere"] });
  const nobody = (token: string) => refusal(as(token).json("GET", `/api/v1/namespaces/${ns}/secrets`));
  const review = (token: string, spec: JsonObject = {}) =>
    post(admin, "/apis/authentication.k8s.io/v1/tokenreviews", {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenReview",
      spec: { token, ...spec },
    });

  expect((await nobody(plain)).message).toContain(`User "system:serviceaccount:${ns}:default" cannot list`);
  expect((await nobody(other)).code).toBe(401);
  expect(await review(bound)).toMatchObject({
    status: {
      authenticated: true,
      user: {
        username: `system:serviceaccount:${ns}:default`,
        groups: ["system:serviceaccounts", `system:serviceaccounts:${ns}`, "system:authenticated"],
        extra: { "authentication.kubernetes.io/pod-name": ["p"] },
      },
    },
  });
  expect(await review(other, { audiences: ["elsewhere"] })).toMatchObject({
    status: { authenticated: true, audiences: ["elsewhere"] },
  });
  expect(await review(other)).toMatchObject({ status: { user: {} } });
  await admin.json("DELETE", `/api/v1/namespaces/${ns}/pods/p?gracePeriodSeconds=0`);
  expect((await nobody(bound)).code).toBe(401);
  expect((await nobody(plain)).code).toBe(403);
  await admin.json("DELETE", `/api/v1/namespaces/${ns}/serviceaccounts/default`);
  expect((await nobody(plain)).code).toBe(401);
});

test("token requests are checked", async () => {
  const ns = await namespace();
  await post(admin, `/api/v1/namespaces/${ns}/serviceaccounts`, {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "bot" },
  });
  const ask = (spec: JsonObject, name = "bot") =>
    refusal(
      post(admin, `/api/v1/namespaces/${ns}/serviceaccounts/${name}/token`, {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec,
      }),
    );

  expect((await ask({ expirationSeconds: 60 })).message).toBe(
    'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes',
  );
  expect((await ask({}, "nobody")).message).toBe('serviceaccounts "nobody" not found');
  expect((await ask({ boundObjectRef: { kind: "Pod", name: "absent" } })).code).toBe(404);
  expect((await ask({ boundObjectRef: { kind: "Deployment", name: "d" } })).code).toBe(400);
});

test("a node reads the secrets of its own pods, writes its own node and asks tokens for its own pods only", async () => {
  const ns = await namespace();
  const node = as(tokenOf("node"));
  const secret = (name: string) => ({ apiVersion: "v1", kind: "Secret", metadata: { name }, data: {} });
  for (const name of ["mine", "theirs"]) await post(admin, `/api/v1/namespaces/${ns}/secrets`, secret(name));
  const pod = (name: string, nodeName: string, secretName: string) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      nodeName,
      containers: [{ name: "c", image: "i", envFrom: [{ secretRef: { name: secretName } }] }],
    },
  });
  const mine = (await post(admin, `/api/v1/namespaces/${ns}/pods`, pod("mine", "n1", "mine"))) as {
    metadata: { uid: string };
  };
  await post(admin, `/api/v1/namespaces/${ns}/pods`, pod("theirs", "n2", "theirs"));
  const secretOf = (name: string) => node.json("GET", `/api/v1/namespaces/${ns}/secrets/${name}`);
  const tokenFor = (ref: JsonObject | null) =>
    post(node, `/api/v1/namespaces/${ns}/serviceaccounts/default/token`, {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      spec: { boundObjectRef: ref },
    });
  const newNode = (name: string) => post(node, "/api/v1/nodes", { apiVersion: "v1", kind: "Node", metadata: { name } });

  await secretOf("mine");
  expect((await refusal(secretOf("theirs"))).code).toBe(403);
  expect((await refusal(node.json("GET", `/api/v1/namespaces/${ns}/secrets`))).code).toBe(403);
  await tokenFor({ kind: "Pod", apiVersion: "v1", name: "mine", uid: mine.metadata.uid });
  expect((await refusal(tokenFor({ kind: "Pod", apiVersion: "v1", name: "theirs" }))).code).toBe(403);
  expect((await refusal(tokenFor(null))).code).toBe(403);
  await newNode("n1");
  expect((await refusal(newNode("n2"))).code).toBe(403);
  expect((await refusal(node.json("DELETE", `/api/v1/namespaces/${ns}/pods/theirs`))).code).toBe(403);
  await node.json("DELETE", `/api/v1/namespaces/${ns}/pods/mine?gracePeriodSeconds=0`);
  expect((await refusal(node.json("GET", "/apis/apps/v1/deployments"))).code).toBe(403);
});

test("a node reads its own pods by name or by its selector, and the volumes that their claims are bound to", async () => {
  const ns = await namespace();
  const node = as(tokenOf("node"));
  const claims = `/api/v1/namespaces/${ns}/persistentvolumeclaims`;
  const volumes = [`near-${ns}`, `far-${ns}`];
  const capacity = { storage: "1Gi" };
  for (const [index, name] of volumes.entries()) {
    await post(admin, "/api/v1/persistentvolumes", {
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name },
      spec: { capacity, accessModes: ["ReadWriteOnce"], hostPath: { path: "/tmp" }, storageClassName: "" },
    });
    const claim = index === 0 ? "near" : "far";
    await post(admin, claims, {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: claim },
      spec: {
        volumeName: name,
        accessModes: ["ReadWriteOnce"],
        resources: { requests: capacity },
        storageClassName: "",
      },
    });
    await post(admin, `/api/v1/namespaces/${ns}/pods`, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: claim },
      spec: {
        nodeName: index === 0 ? "n1" : "n2",
        containers: [{ name: "c", image: "i" }],
        volumes: [{ name: "v", persistentVolumeClaim: { claimName: claim } }],
      },
    });
  }
  const get = (path: string) =>
    node.json("GET", path).then(
      () => 200,
      (error: ApiError) => error.httpCode,
    );
  const pods = `/api/v1/namespaces/${ns}/pods`;

  expect(await get(`${pods}/near`)).toBe(200);
  expect(await get(`${pods}/far`)).toBe(403);
  expect(await get("/api/v1/pods")).toBe(403);
  expect(await get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn2")).toBe(403);
  expect(await get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1")).toBe(200);
  expect([await get(`${claims}/near`), await get(`${claims}/far`)]).toEqual([200, 403]);
  expect([await get(`${claims}/near/status`), await get(`${claims}/far/status`)]).toEqual([200, 403]);
  expect(await Promise.all(volumes.map((name) => get(`/api/v1/persistentvolumes/${name}`)))).toEqual([200, 403]);
  expect(await get("/api/v1/persistentvolumes")).toBe(403);
});

test("access reviews answer as the authorizer would", async () => {
  const ns = await namespace();
  await post(admin, rbac(ns, "roles"), role("r", [{ apiGroups: [""], resources: ["configmaps"], verbs: ["get"] }]));
  await post(admin, rbac(ns, "rolebindings"), binding("b", "r", user("alice")));
  const api = "/apis/authorization.k8s.io/v1";
  const ask = (kind: string, plural: string, spec: JsonObject, client = admin) =>
    post(client, `${api}/${plural}`, { apiVersion: "authorization.k8s.io/v1", kind, spec }) as Promise<{
      status: JsonObject;
    }>;
  const about = (verb: string) => ({ resourceAttributes: { verb, resource: "configmaps", namespace: ns } });

  const allowed = await ask("SubjectAccessReview", "subjectaccessreviews", { user: "alice", ...about("get") });
  const denied = await ask("SubjectAccessReview", "subjectaccessreviews", { user: "alice", ...about("delete") });
  const self = await ask("SelfSubjectAccessReview", "selfsubjectaccessreviews", about("get"), as(tokenOf("alice")));
  const rules = await ask("SelfSubjectRulesReview", "selfsubjectrulesreviews", { namespace: ns }, as(tokenOf("alice")));
  const path = await ask("SubjectAccessReview", "subjectaccessreviews", {
    user: "x",
    groups: ["system:authenticated"],
    nonResourceAttributes: { path: "/apis/apps", verb: "get" },
  });
  const nobody = await refusal(ask("SubjectAccessReview", "subjectaccessreviews", about("get")));

  expect(allowed.status).toEqual({
    allowed: true,
    reason: `RBAC: allowed by RoleBinding "b/${ns}" of Role "r" to User "alice"`,
  });
  expect(denied.status).toEqual({ allowed: false });
  expect(self.status["allowed"]).toBe(true);
  expect(path.status["allowed"]).toBe(true);
  expect(rules.status["resourceRules"]).toContainEqual({ verbs: ["get"], apiGroups: [""], resources: ["configmaps"] });
  expect(nobody.code).toBe(422);
});

test("a client certificate of the cluster's authority is an identity; one for servers, or a stranger's, is none", async () => {
  const { url, caPem } = await server.listen({ host: "127.0.0.1", port: 0 });
  const stranger = await (await openAuthority({ clock: systemClock, name: "stranger" })).issueClient("alice", [
    "system:masters",
  ]);
  const whoSends = async ({ certPem, keyPem }: { certPem: string; keyPem: string }) => {
    const transport = httpTransport({ server: url, caPem, clientCertPem: certPem, clientKeyPem: keyPem });
    const client = createClient({ transport, clock: systemClock, random: systemRandom });
    const { message } = await refusal(client.json("GET", "/api/v1/nodes"));
    await client.close();
    return /User "([^"]*)"/.exec(message)?.[1] ?? message;
  };

  expect(await whoSends(await server.issueClientCertificate("carol", ["devs"]))).toBe("carol");
  expect(await whoSends(await server.issueServerCertificate(["carol"]))).toBe("Unauthorized");
  expect(await whoSends(stranger)).toBe("Unauthorized");
});
