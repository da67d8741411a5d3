import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { seededRandom, systemClock, virtualClock } from "../../../kernel/clock/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { temporaryFolder } from "../../../testing/folder.js";
import { type ApiServer, createApiServer } from "../index.js";
import type { RequestInfo } from "../types.js";
import { AuditFile } from "./file.js";
import { defaultAuditPolicy, parseAuditPolicy } from "./policy.js";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});
const newFile = () => join(temporaryFolder("audit"), "audit.log");
const everything = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse}]\n";

async function serve(policy: string) {
  const file = newFile();
  const server = await createApiServer({
    clusterName: "audit",
    clock: systemClock,
    random: seededRandom(3),
    log: silentLogger,
    serviceCidr: "198.19.0.0/24",
    authorization: "rbac",
    tokens: [{ token: "ann-token-0123456789", user: { username: "ann", groups: ["devs"] } }],
    audit: {
      policy: parseAuditPolicy("policy.yaml", policy),
      log: { file, maxSizeMiB: 1, maxBackups: 2, maxAgeDays: 0 },
    },
  });
  closers.push(() => server.close());
  return { server, text: () => readFileSync(file, "utf8"), events: () => eventsIn(file) };
}

function eventsIn(file: string): JsonObject[] {
  const lines = readFileSync(file, "utf8").split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as JsonObject);
}

interface Ask {
  readonly token?: string | undefined;
  readonly body?: JsonObject | string;
  readonly headers?: Record<string, string>;
  readonly signal?: AbortSignal;
}

function ask(server: ApiServer, method: string, path: string, how: Ask = {}) {
  const [place = "", query = ""] = path.split("?");
  const token = "token" in how ? how.token : server.adminToken;
  const { body } = how;
  return server.handle({
    method,
    path: place,
    query: new URLSearchParams(query),
    headers: {
      "content-type": "application/json",
      "user-agent": "test",
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...how.headers,
    },
    body: body === undefined ? new Uint8Array() : Buffer.from(typeof body === "string" ? body : JSON.stringify(body)),
    remoteAddress: "192.0.2.7",
    signal: how.signal ?? new AbortController().signal,
  });
}

const configMap = (name: string, data: JsonObject) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name },
  data,
});
const maps = "/api/v1/namespaces/default/configmaps";

test("a request is noted from its arrival to its answer: who, what, whence, how it was judged and answered", async () => {
  const { server, events } = await serve(everything);
  await ask(server, "POST", maps, { body: configMap("a", { k: "v" }) });
  await ask(server, "GET", `${maps}/b`, { token: "ann-token-0123456789" });

  const [received, complete, , forbidden] = events();
  expect(received).toMatchObject({
    kind: "Event",
    apiVersion: "audit.k8s.io/v1",
    level: "RequestResponse",
    stage: "RequestReceived",
    requestURI: maps,
    verb: "create",
    user: { username: "argosy:admin", groups: ["system:masters", "system:authenticated"] },
    sourceIPs: ["192.0.2.7"],
    userAgent: "test",
    objectRef: { resource: "configmaps", namespace: "default", apiVersion: "v1" },
  });
  expect(complete).toMatchObject({
    auditID: received?.["auditID"],
    stage: "ResponseComplete",
    responseStatus: { metadata: {}, code: 201 },
    requestObject: { data: { k: "v" } },
    responseObject: { kind: "ConfigMap", metadata: { name: "a", managedFields: [{}] } },
    annotations: { "authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "" },
  });
  expect(complete?.["stageTimestamp"]).toEqual(expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/));
  expect(forbidden).toMatchObject({
    responseStatus: { code: 403, reason: "Forbidden", status: "Failure" },
    annotations: { "authorization.k8s.io/decision": "forbid" },
  });
});

test("what is secret is in no event, whatever the policy says", async () => {
  const { server, text, events } = await serve(everything);
  const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "s" }, stringData: { password: "hunter2" } };
  const path = "/api/v1/namespaces/default/secrets";
  await ask(server, "POST", path, { body: secret });
  await ask(server, "GET", `${path}/s`);
  await ask(server, "GET", path);
  await ask(server, "PATCH", `${path}/s`, {
    body: { stringData: { password: "hunter2" } },
    headers: { "content-type": "application/merge-patch+json" },
  });
  await ask(server, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", {
    body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token: "hunter2-token" } },
  });
  await ask(server, "POST", "/api/v1/namespaces/default/serviceaccounts", {
    body: { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "sa" } },
  });
  const issued = await ask(server, "POST", "/api/v1/namespaces/default/serviceaccounts/sa/token", {
    body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} },
  });
  // Somebody else's kind may carry one, and kubectl's annotation repeats it.
  const annotations = { "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify(secret) };
  await ask(server, "POST", maps, {
    body: { ...configMap("carrier", {}), metadata: { name: "carrier", annotations }, embedded: secret },
  });
  const token = JSON.parse(Buffer.from(issued.body as Uint8Array).toString()) as { status?: { token?: string } };

  expect(issued.status).toBe(201);
  expect(events()).toHaveLength(16);
  expect(events()[1]).toMatchObject({ verb: "create", objectRef: { resource: "secrets", name: "s" } });
  expect(events().filter((event) => event["level"] === "Metadata")).toHaveLength(12);
  for (const word of [
    "hunter2",
    server.adminToken,
    token.status?.token ?? "?",
    Buffer.from("hunter2").toString("base64"),
  ])
    expect(text()).not.toContain(word);
});

test("impersonation shows both, a wrong token nobody, a watch its beginning and its end", async () => {
  const { server, events } = await serve(everything);
  await ask(server, "GET", maps, { headers: { "impersonate-user": "bob" } });
  expect(events().at(-1)).toMatchObject({ user: { username: "argosy:admin" }, impersonatedUser: { username: "bob" } });

  await ask(server, "GET", maps, { token: "wrong" });
  expect(events().at(-1)).toMatchObject({ user: {}, stage: "ResponseStarted", responseStatus: { code: 401 } });

  const answer = await ask(server, "GET", `${maps}?watch=true`);
  expect(events().at(-1)).toMatchObject({ stage: "ResponseStarted", verb: "watch", responseStatus: { code: 200 } });
  answer.done?.();
  expect(events().at(-1)).toMatchObject({ stage: "ResponseComplete", verb: "watch" });
});

test("a policy's audit action and annotations are in the event", async () => {
  const { server, events } = await serve(everything);
  const base = "/apis/admissionregistration.k8s.io/v1";
  const apiVersion = "admissionregistration.k8s.io/v1";
  const resourceRules = [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["configmaps"] }];
  await ask(server, "POST", `${base}/validatingadmissionpolicies`, {
    body: {
      apiVersion,
      kind: "ValidatingAdmissionPolicy",
      metadata: { name: "size" },
      spec: {
        matchConstraints: { resourceRules },
        validations: [{ expression: "true" }, { expression: "size(object.data) < 2", message: "too many" }],
        auditAnnotations: [
          { key: "entries", valueExpression: "'entries: ' + string(size(object.data))" },
          { key: "none", valueExpression: "''" },
        ],
      },
    },
  });
  await ask(server, "POST", `${base}/validatingadmissionpolicybindings`, {
    body: {
      apiVersion,
      kind: "ValidatingAdmissionPolicyBinding",
      metadata: { name: "noted" },
      spec: { policyName: "size", validationActions: ["Audit"] },
    },
  });
  const made = await ask(server, "POST", maps, { body: configMap("many", { a: "1", b: "2" }) });

  expect(made.status).toBe(201);
  const annotations = events().at(-1)?.["annotations"] as Record<string, string>;
  expect(annotations["size/entries"]).toBe("entries: 2");
  expect(annotations).not.toHaveProperty("size/none");
  expect(JSON.parse(annotations["validation.policy.admission.k8s.io/validation_failure"] ?? "")).toEqual([
    { message: "too many", policy: "size", binding: "noted", expressionIndex: 1, validationActions: ["Audit"] },
  ]);
});

const info = (more: Partial<RequestInfo>): RequestInfo => ({
  isResource: true,
  verb: "get",
  path: "",
  group: "",
  version: "v1",
  resource: "pods",
  subresource: "",
  namespace: "default",
  name: "p",
  ...more,
});
const ann = { username: "ann", groups: ["devs"] };

test.each([
  ["users: [ann]", {}, true],
  ["users: [bob]", {}, false],
  ["userGroups: [devs, ops]", {}, true],
  ["userGroups: [ops]", {}, false],
  ["verbs: [list]", {}, false],
  ["namespaces: [default]", {}, true],
  ['namespaces: [""]', {}, false],
  ['namespaces: [""]', { resource: "nodes", namespace: "" }, true],
  ["nonResourceURLs: ['*']", {}, false],
  ["nonResourceURLs: ['/ver*']", { isResource: false, path: "/version" }, true],
  ['resources: [{group: ""}]', {}, true],
  ["resources: [{group: apps}]", {}, false],
  ['resources: [{group: "", resources: [pods]}]', { subresource: "log" }, false],
  ['resources: [{group: "", resources: ["pods/log"]}]', { subresource: "log" }, true],
  ['resources: [{group: "", resources: ["pods/*"]}]', { subresource: "log" }, true],
  ['resources: [{group: "", resources: ["*/log"]}]', { subresource: "log" }, true],
  ['resources: [{group: "", resources: ["*"]}]', { subresource: "log" }, true],
  ['resources: [{group: "", resources: [pods], resourceNames: [q]}]', {}, false],
  ['resources: [{group: "", resources: [pods], resourceNames: [p]}]', {}, true],
])("a rule with %s and %j", (rule, asked, matches) => {
  const text = `apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Request, ${rule}}]\n`;
  expect(parseAuditPolicy("p.yaml", text).scopeOf(ann, info(asked)).level).toBe(matches ? "Request" : "None");
});

test.each([
  ["rules: []", "rules"],
  ["rules: [{level: Some}]", "rules[0].level"],
  ["rules: [{level: None, nonResourceURLs: [a]}]", "rules[0].nonResourceURLs[0]: must begin with a slash"],
  ["rules: [{level: None, nonResourceURLs: ['/a*b']}]", "at its end only"],
  ["rules: [{level: None, nonResourceURLs: [/a], namespaces: [b]}]", "not for both"],
  ["rules: [{level: None, resources: [{group: apps/v1}]}]", "rules[0].resources[0].group"],
  ["rules: [{level: None, resources: [{resourceNames: [a]}]}]", "goes with resources only"],
  ["rules: [{level: None, omitStages: [Later]}]", "rules[0].omitStages[0]"],
  ["rules: [{level: None, user: [a]}]", "rules[0].user: there is no such field; users is meant"],
])("a policy with %s is refused with its place", (rules, message) => {
  const parse = () => parseAuditPolicy("p.yaml", `apiVersion: audit.k8s.io/v1\nkind: Policy\n${rules}\n`);
  expect(parse).toThrow("p.yaml: ");
  expect(parse).toThrow(message);
});

test("the default policy notes writes whole, reads without bodies, and neither health checks nor events", () => {
  const policy = defaultAuditPolicy();
  const level = (asked: Partial<RequestInfo>) => policy.scopeOf(ann, info(asked)).level;

  expect(level({ verb: "create", resource: "pods" })).toBe("Request");
  expect(level({ verb: "create", resource: "configmaps" })).toBe("Metadata");
  expect(level({ verb: "create", resource: "secrets" })).toBe("Metadata");
  expect(level({ verb: "list" })).toBe("Metadata");
  expect(level({ verb: "create", resource: "events" })).toBe("None");
  expect(level({ isResource: false, path: "/readyz/ping" })).toBe("None");
});

test("the file rotates; what was put aside is kept as long and as often as asked", async () => {
  const clock = virtualClock();
  const file = newFile();
  const open = (maxBackups: number, maxAgeDays: number) => {
    const opened = new AuditFile({ file, maxSizeMiB: 1, maxBackups, maxAgeDays }, { clock, log: silentLogger });
    opened.open();
    return opened;
  };
  const names = () => readdirSync(join(file, "..")).toSorted();
  const log = open(2, 0);
  const line = "x".repeat(600 * 1024);
  for (let count = 0; count < 6; count++) {
    log.write(line);
    await clock.advance(count === 3 ? 0 : 1500);
  }
  expect(names()).toHaveLength(3);
  expect(names().at(-1)).toBe("audit.log");
  expect(names()[0]).toMatch(/^audit-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}\.log$/);
  log.close();
  await clock.advance(3 * 86_400_000);
  open(0, 2).close();
  expect(names()).toEqual(["audit.log"]);
});
