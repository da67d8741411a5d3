import { afterAll, beforeAll, expect, test } from "vitest";
import { ApiError } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { startTestCluster, type TestCluster } from "../../../testing/index.js";

let cluster: TestCluster;
const base = "/apis/admissionregistration.k8s.io/v1";
const maps = "/api/v1/namespaces/default/configmaps";

beforeAll(async () => {
  cluster = await startTestCluster();
});
afterAll(() => cluster.close());

const post = (path: string, body: JsonObject) => cluster.client.json("POST", path, body);
const refusal = (path: string, body: JsonObject) =>
  post(path, body).then(
    () => "allowed",
    (error: unknown) => (error instanceof ApiError ? `${error.httpCode} ${error.message}` : String(error)),
  );
const configMap = (name: string, data: JsonObject) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, labels: { checked: "yes" } },
  data,
});

async function bind(name: string, policy: JsonObject, binding: JsonObject = {}): Promise<void> {
  const constraints = {
    objectSelector: { matchLabels: { checked: "yes" } },
    resourceRules: [
      { apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE", "UPDATE"], resources: ["configmaps"] },
    ],
  };
  await post(`${base}/validatingadmissionpolicies`, {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingAdmissionPolicy",
    metadata: { name },
    spec: { matchConstraints: constraints, ...policy },
  });
  await post(`${base}/validatingadmissionpolicybindings`, {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingAdmissionPolicyBinding",
    metadata: { name },
    spec: { policyName: name, validationActions: ["Deny"], ...binding },
  });
}

async function unbind(name: string): Promise<void> {
  await cluster.client.json("DELETE", `${base}/validatingadmissionpolicybindings/${name}`);
}

test("a policy sees its variables, its parameters, the request and the namespace", async () => {
  await post(maps, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "limits" }, data: { most: "2" } });
  await bind(
    "sized",
    {
      paramKind: { apiVersion: "v1", kind: "ConfigMap" },
      variables: [
        { name: "most", expression: "int(params.data.most)" },
        { name: "tooMany", expression: "size(object.data) > variables.most" },
      ],
      matchConditions: [{ name: "not-own", expression: "request.name != 'exempt'" }],
      validations: [
        {
          expression: "!variables.tooMany || oldObject != null",
          messageExpression:
            "'%s in %s: more than %d'.format([request.operation, namespaceObject.metadata.name, variables.most])",
          reason: "Forbidden",
        },
      ],
    },
    { paramRef: { name: "limits", namespace: "default", parameterNotFoundAction: "Deny" } },
  );
  const many = { a: "1", b: "2", c: "3" };
  expect(await refusal(maps, configMap("big", many))).toBe(
    `403 configmaps "big" is forbidden: ValidatingAdmissionPolicy 'sized' with binding 'sized' denied request: CREATE in default: more than 2`,
  );
  expect(await refusal(maps, configMap("exempt", many))).toBe("allowed");
  expect(await refusal(maps, configMap("small", { a: "1" }))).toBe("allowed");
  await cluster.client.json("DELETE", `${maps}/limits`);
  expect(await refusal(maps, configMap("later", {}))).toContain("no params found for policy binding");
  await unbind("sized");
  expect(await refusal(maps, configMap("big", many))).toBe("allowed");
});

test("what cannot be evaluated is refused, or let in where failures are ignored", async () => {
  await bind("strict", { validations: [{ expression: "object.data.n == '1'" }] });
  expect(await refusal(maps, configMap("n", {}))).toContain(
    "expression 'object.data.n == '1'' resulted in error: no such key",
  );
  await unbind("strict");
  await bind("lax", { failurePolicy: "Ignore", validations: [{ expression: "object.data.n == '1'" }] });
  expect(await refusal(maps, configMap("n", {}))).toBe("allowed");
  expect(await refusal(maps, configMap("n2", { n: "2" }))).toContain("422");
  await unbind("lax");
});

test("expressions ask what the user, or a ServiceAccount, may do", async () => {
  const rights = "authorizer.group('').resource('secrets').namespace('default')";
  await bind("asking", {
    validations: [
      { expression: `${rights}.check('get').allowed()`, message: "may not read secrets" },
      { expression: "authorizer.path('/healthz').check('get').allowed()", message: "may not see health" },
      { expression: "authorizer.requestResource.check('delete').allowed()", message: "may not delete it again" },
      {
        expression: `!authorizer.serviceAccount('default', 'nobody').group('').resource('pods').check('list').allowed()`,
        message: "a stranger may list pods",
      },
      { expression: `!${rights}.name('x').check('get').errored()`, message: "went wrong" },
    ],
  });
  expect(await refusal(maps, configMap("mine", {}))).toBe("allowed");

  const as = { "impersonate-user": "ann" };
  await cluster.client.json("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    metadata: { name: "maps" },
    rules: [{ apiGroups: [""], resources: ["configmaps"], verbs: ["create"] }],
  });
  await cluster.client.json("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "RoleBinding",
    metadata: { name: "maps" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "maps" },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "ann" }],
  });
  const asAnn = cluster.client.json("POST", maps, configMap("hers", {}), { headers: as }).then(
    () => "allowed",
    (error: ApiError) => error.message,
  );
  expect(await asAnn).toContain("may not read secrets");
  await unbind("asking");
});

test("errors of conditions, parameters and annotations are told as upstream tells them", async () => {
  const spec = { validations: [{ expression: "true" }] };
  await bind("conditioned", {
    ...spec,
    matchConditions: [{ name: "c", expression: "object.data.none == namespaceObject" }],
  });
  const denied = (policy: string, why: string): string =>
    `422 configmaps "m" is forbidden: ValidatingAdmissionPolicy '${policy}' with binding '${policy}' denied request: ${why}`;
  expect(await refusal(maps, configMap("m", {}))).toBe(
    denied("conditioned", "expression 'object.data.none == namespaceObject' resulted in error: no such key: data"),
  );
  await unbind("conditioned");
  await bind(
    "lacking",
    { ...spec, paramKind: { apiVersion: "v1", kind: "ConfigMap" } },
    { validationActions: ["Warn"], paramRef: { name: "nowhere", parameterNotFoundAction: "Deny" } },
  );
  const lacks = "no params found for policy binding with `Deny` parameterNotFoundAction";
  expect(await refusal(maps, configMap("m", {}))).toBe(denied("lacking", `failed to configure binding: ${lacks}`));
  await unbind("lacking");
  const noted = { key: "k", valueExpression: "request.subResource" };
  await bind("noting", { ...spec, auditAnnotations: [noted] }, { validationActions: ["Warn"] });
  expect(await refusal(maps, configMap("m", {}))).toBe(
    denied("noting", "expression 'request.subResource' resulted in error: no such key: subResource"),
  );
  await unbind("noting");
});
