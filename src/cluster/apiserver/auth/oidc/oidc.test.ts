import { createHmac } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { exportSPKI, importJWK } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock, systemRandom } from "../../../../kernel/clock/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { silentLogger } from "../../../../kernel/log/index.js";
import { temporaryFolder } from "../../../../testing/folder.js";
import { createApiServer, readAuthenticationConfig } from "../../index.js";
import { parseAuthenticationConfig } from "./index.js";
import { startIssuer, type TestIssuer } from "./issuer.fixture.js";

let issuer: TestIssuer;
const folder = temporaryFolder("oidc");
beforeAll(async () => {
  issuer = await startIssuer();
});
afterAll(() => issuer.close());

const indented = (text: string) => text.trim().replaceAll("\n", "\n        ");
const configOf = (mappings: string, more = "") => `
apiVersion: apiserver.config.k8s.io/v1beta1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: ${issuer.url}
    audiences: [argosy, other]
    audienceMatchPolicy: MatchAny
    certificateAuthority: |
        ${indented(issuer.caPem)}
  claimMappings:
    ${indented(mappings).replaceAll("        ", "    ")}
${more}
`;
const plain = `
username: {claim: sub, prefix: "oidc:"}
groups: {claim: groups, prefix: "oidc:"}
`;

async function serve(text: string) {
  const file = join(folder, `${systemRandom.suffix(8)}.yaml`);
  writeFileSync(file, text);
  const server = await createApiServer({
    clusterName: "oidc",
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    serviceCidr: "198.19.0.0/24",
    authorization: "rbac",
    tokens: [],
    authentication: await readAuthenticationConfig(file),
  });
  const ask = async (method: string, path: string, token: string | undefined, body?: JsonObject) => {
    const answer = await server.handle({
      method,
      path,
      query: new URLSearchParams(),
      headers: {
        "content-type": "application/json",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      body: body === undefined ? new Uint8Array() : Buffer.from(JSON.stringify(body)),
      signal: new AbortController().signal,
    });
    return {
      status: answer.status,
      body: JSON.parse(Buffer.from(answer.body as Uint8Array).toString()) as Record<string, unknown>,
    };
  };
  const who = async (token: string) => {
    const { status, body } = await ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", token, {
      apiVersion: "authentication.k8s.io/v1",
      kind: "SelfSubjectReview",
    });
    return status === 201 ? (body as { status: { userInfo: JsonObject } }).status.userInfo : status;
  };
  return { server, ask, who };
}

test("a token of a configured issuer is its user; anything less is refused", async () => {
  const { server, who, ask } = await serve(configOf(plain));
  const now = Math.floor(Date.now() / 1000);

  expect(await who(await issuer.sign({ sub: "ann", groups: ["devs", "ops"] }))).toEqual({
    username: "oidc:ann",
    groups: ["oidc:devs", "oidc:ops", "system:authenticated"],
  });
  expect(await who(await issuer.sign({ sub: "ann", groups: "devs", aud: ["x", "other"] }))).toMatchObject({
    groups: ["oidc:devs", "system:authenticated"],
  });
  const good = await issuer.sign({ sub: "ann" });
  const bad = {
    expired: await issuer.sign({ sub: "ann" }, { expires: now - 1 }),
    "no expiry": await issuer.sign({ sub: "ann", exp: undefined as never }),
    "not yet": await issuer.sign({ sub: "ann", nbf: now + 1000 }),
    audience: await issuer.sign({ sub: "ann", aud: "someone-else" }),
    issuer: await issuer.sign({ sub: "ann", iss: "https://elsewhere.example" }),
    "no user": await issuer.sign({ name: "ann" }),
    "user is no text": await issuer.sign({ sub: 5 as never }),
    "groups are no texts": await issuer.sign({ sub: "ann", groups: [5] }),
    signature: `${good.slice(0, -8)}AAAAAAAA`,
    none: forged(good, { alg: "none" }, () => ""),
    "none in capitals": forged(good, { alg: "nOnE" }, () => ""),
    critical: forged(good, { alg: "RS256", kid: "k1", crit: ["exp"] }, () => "AAAA"),
    garbage: "a.b.c",
    empty: "..",
  };
  for (const [name, token] of Object.entries(bad)) expect([name, await who(token)]).toEqual([name, 401]);
  expect((await ask("GET", "/version", undefined)).status).toBe(200);
  await server.close();
});

/** The token's claims under another header. */
function forged(token: string, header: object, sign: (text: string) => string): string {
  const text = `${Buffer.from(JSON.stringify(header)).toString("base64url")}.${token.split(".")[1]}`;
  return `${text}.${sign(text)}`;
}

test("the published key is no shared secret", async () => {
  const { server, who } = await serve(configOf(plain));
  const good = await issuer.sign({ sub: "ann" });
  const pem = await exportSPKI((await importJWK(issuer.keys[0] ?? {}, "RS256", { extractable: true })) as never);

  for (const secret of [pem, pem.trim(), JSON.stringify(issuer.keys[0]), issuer.keys[0]?.n ?? "", ""]) {
    const token = forged(good, { alg: "HS256", kid: "k1" }, (text) =>
      createHmac("sha256", secret).update(text).digest("base64url"),
    );
    expect(await who(token)).toBe(401);
  }
  issuer.keys.push({ kty: "oct", kid: "shared", k: Buffer.from("secret").toString("base64url") });
  const shared = forged(good, { alg: "HS256", kid: "shared" }, (text) =>
    createHmac("sha256", "secret").update(text).digest("base64url"),
  );
  expect(await who(shared)).toBe(401);
  issuer.keys.pop();
  await server.close();
});

test("keys are asked for once, and again when a token names one that is not known; withdrawn ones end", async () => {
  const { server, who } = await serve(configOf(plain));
  issuer.asked.clear();
  for (let round = 0; round < 5; round++) await who(await issuer.sign({ sub: `u${round}` }));
  expect(issuer.asked.get("/keys")).toBe(1);

  await issuer.addKey("k2", "ES256");
  expect(await who(await issuer.sign({ sub: "eve" }, { kid: "k2" }))).toMatchObject({ username: "oidc:eve" });
  expect(issuer.asked.get("/keys")).toBe(2);
  const stranger = forged(await issuer.sign({ sub: "x" }), { alg: "RS256", kid: "unknown" }, () => "AAAA");
  for (let round = 0; round < 20; round++) expect(await who(stranger)).toBe(401);
  // Whoever sends nonsense cannot make the server flood the issuer.
  expect(issuer.asked.get("/keys")).toBeLessThan(8);
  await server.close();
});

test("an issuer that does not answer, or answers for another, vouches for nobody and hurts nobody", async () => {
  const { server, who } = await serve(configOf(plain));
  const token = await issuer.sign({ sub: "ann" });
  issuer.answers.set("/.well-known/openid-configuration", 500);
  expect(await who(token)).toBe(401);
  issuer.answers.set("/.well-known/openid-configuration", {
    issuer: "https://other.example",
    jwks_uri: `${issuer.url}/keys`,
  });
  expect(await who(token)).toBe(401);
  expect(await who(server.adminToken)).toMatchObject({ username: "argosy:admin" });
  issuer.answers.clear();
  expect(await who(token)).toMatchObject({ username: "oidc:ann" });
  await server.close();
});

test("claims are read, checked and put together by expressions", async () => {
  const { server, who } = await serve(
    configOf(
      `
username: {expression: "claims.email_verified ? claims.email : 'nobody'"}
groups: {expression: "claims.roles.split(',')"}
uid: {claim: oid}
extra: [{key: "example.com/tenant", valueExpression: "claims.tid"}]
`,
      `
  claimValidationRules:
  - {claim: hd, requiredValue: example.com}
  - {expression: "claims.exp - claims.iat <= 3600", message: the token lives too long}
  userValidationRules:
  - {expression: "!user.username.startsWith('system:')", message: reserved}
  - {expression: "user.groups.all(g, !g.startsWith('system:'))"}
`,
    ),
  );
  const claims = {
    email: "ann@example.com",
    email_verified: true,
    roles: "a,b",
    oid: "7",
    tid: "t1",
    hd: "example.com",
  };

  expect(await who(await issuer.sign(claims))).toEqual({
    username: "ann@example.com",
    uid: "7",
    groups: ["a", "b", "system:authenticated"],
    extra: { "example.com/tenant": ["t1"] },
  });
  for (const wrong of [
    { ...claims, hd: "evil.example" },
    { ...claims, email: "system:admin" },
    { ...claims, roles: "system:masters" },
    { ...claims, roles: undefined },
    { ...claims, exp: Math.floor(Date.now() / 1000) + 4000 },
  ])
    expect(await who(await issuer.sign(wrong))).toBe(401);
  await server.close();
});

test("TokenReview knows these users, for the server's audience", async () => {
  const { server, ask } = await serve(configOf(plain));
  const token = await issuer.sign({ sub: "ann" });
  const review = (audiences?: string[]) =>
    ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", server.adminToken, {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenReview",
      spec: { token, ...(audiences === undefined ? {} : { audiences }) },
    });

  expect((await review()).body).toMatchObject({ status: { authenticated: true, user: { username: "oidc:ann" } } });
  expect((await review(["elsewhere"])).body["status"]).not.toHaveProperty("authenticated");
  await server.close();
});

test("anonymous requests are refused where they are switched off, but for the paths that are named", async () => {
  const off = await serve(
    "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {enabled: false}\n",
  );
  expect((await off.ask("GET", "/version", undefined)).status).toBe(401);
  await off.server.close();
  const some = await serve(
    "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {enabled: true, conditions: [{path: /version}]}\n",
  );
  expect((await some.ask("GET", "/version", undefined)).status).toBe(200);
  expect((await some.ask("GET", "/api", undefined)).status).toBe(401);
  await some.server.close();
});

test.each([
  ["username: {claim: sub}\n", "jwt[0].claimMappings.username.prefix: is wanted"],
  ["username: {}\n", "jwt[0].claimMappings.username: claim or expression is wanted"],
  ['username: {claim: sub, prefix: "", expression: claims.sub}\n', "either claim or expression"],
  ["username: {expression: claims.email}\n", "claims.email_verified must be used"],
  ['username: {expression: "claims.sub +"}\n', "jwt[0].claimMappings.username.expression: does not compile"],
  ['username: {expression: "1 + 1"}\n', "must give string, not int"],
  [
    'username: {claim: sub, prefx: ""}\n',
    "jwt[0].claimMappings.username.prefx: there is no such field; prefix is meant",
  ],
  ['username: {claim: sub, prefix: ""}\nextra: [{key: "x.k8s.io/a", valueExpression: "claims.a"}]\n', "reserved"],
])("a mapping that cannot be is refused with its place: %j", (mappings, message) => {
  expect(() => parseAuthenticationConfig("auth.yaml", configOf(mappings))).toThrow(`auth.yaml: `);
  expect(() => parseAuthenticationConfig("auth.yaml", configOf(mappings))).toThrow(message);
});

test.each([
  ["kind: Pod\napiVersion: v1\n", "kind: must be AuthenticationConfiguration"],
  ["jwt: []\n", "apiVersion: must be apiserver.config.k8s.io/v1"],
  ["a: [\n", "not valid YAML"],
])("so is a file that is something else: %j", (text, message) => {
  expect(() => parseAuthenticationConfig("auth.yaml", text)).toThrow(message);
});

test.each([
  [{ url: "http://a.example" }, "jwt[0].issuer.url: must be an https URL"],
  [{ url: "https://a.example?x=1" }, "neither query nor fragment"],
  [{ url: "https://kubernetes.default.svc.cluster.local" }, "this cluster's own"],
  [{ audiences: ["a", "b"] }, "audienceMatchPolicy: must be MatchAny"],
  [{ audiences: [] }, "jwt[0].issuer.audiences"],
  [{ certificateAuthority: "/etc/ca.pem" }, "holds no certificate"],
  [{ discoveryURL: "https://a.example/" }, "must be another URL"],
])("so is an issuer like %j", (fields, message) => {
  const config = {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthenticationConfiguration",
    jwt: [
      {
        issuer: { url: "https://a.example", audiences: ["a"], ...fields },
        claimMappings: { username: { claim: "sub", prefix: "" } },
      },
    ],
  };
  expect(() => parseAuthenticationConfig("auth.yaml", JSON.stringify(config))).toThrow(message);
});
