import type { JsonObject } from "../../../src/kernel/kinds/object.js";
import type { Chance } from "./chance.js";
import { expression, ruledObjects, ruledSchema, shownExpression } from "./expressions.js";
import { definition, definitionsPath, installed, numbered, type Request } from "./machinery-shared.js";
import type { Step } from "./types.js";

/** An expression about `self`, about something else. */
const about = (text: string, what: string): string =>
  text.replaceAll("self.set", "object.spec.set").replaceAll("self", what);

/** Policies whose expressions do or do not compile. */
export function policies(chance: Chance, namespace: string): Step[] {
  const path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies?dryRun=All";
  const rule = { apiGroups: ["none.example.com"], apiVersions: ["v1"], operations: ["CREATE"], resources: ["things"] };
  const dynamic = (text: string): string =>
    about(text, chance.pick(["object", "oldObject", "object.spec", "variables.v", "params"]));
  const steps = Array.from({ length: 8 }, () => ({
    method: "POST",
    path,
    body: {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingAdmissionPolicy",
      metadata: { name: `${namespace}n` },
      spec: {
        matchConstraints: { resourceRules: [rule] },
        ...(chance.maybe(0.3) ? { paramKind: { apiVersion: "v1", kind: "ConfigMap" } } : {}),
        ...(chance.maybe(0.7)
          ? {
              variables: [
                {
                  name: "v",
                  expression: dynamic(chance.pick(["object.spec", "1", "object", expression(chance, "strings")])),
                },
              ],
            }
          : {}),
        ...(chance.maybe(0.3)
          ? { matchConditions: [{ name: "c", expression: dynamic(expression(chance, "bool")) }] }
          : {}),
        ...(chance.maybe(0.2)
          ? { auditAnnotations: [{ key: "k", valueExpression: dynamic(shownExpression(chance)) }] }
          : {}),
        validations: [
          {
            expression: chance.maybe(0.3) ? chance.pick(requestExpressions) : dynamic(expression(chance, "bool")),
            ...(chance.maybe(0.4) ? { messageExpression: dynamic(shownExpression(chance)) } : {}),
          },
        ],
      },
    } satisfies JsonObject,
  }));
  return numbered(steps);
}

const requestExpressions = [
  "request.userInfo.username == 'a'",
  "request.kind.kind == 'Pod' && request.operation in ['CREATE']",
  "request.nope",
  "request.userInfo.groups.exists(g, g == 'x')",
  "request.userInfo.extra['a'][0] == 'b'",
  "request.options.dryRun == true",
  "authorizer.group('').resource('pods').namespace('x').check('get').allowed()",
  "authorizer.path('/healthz').check('get').reason() == ''",
  "authorizer.requestResource.check('update').errored()",
  "authorizer.serviceAccount('a', 'b').group('').resource('x').subresource('y').name('z').check('v').error() == ''",
  "authorizer.group(1)",
  "namespaceObject.metadata.name == 'x'",
  "namespaceObject.metadata.labels.?a.orValue('') == 'b'",
  "namespaceObject.bogus",
  "namespaceObject.spec.finalizers.size() > 0",
  "object.metadata.name.startsWith('a') || oldObject == null",
  "params.data.x == '1'",
  "variables.nope",
  "variables.v.x > 1",
  "size(object.spec.containers) > 0 && object.spec.containers.all(c, c.image.contains('/'))",
  "request.dryRun",
  "request.name + 1",
  "request.object == null",
  "authorizer.group('').resource('pods').fieldSelector('a=b').check('list').allowed()",
  "object",
  "object.spec",
  "'x'",
  "has(object.a.b) && object.a.b",
];

const admission = "/apis/admissionregistration.k8s.io/v1";

/** Policies in force: what they say of objects. */
export function enforcements(chance: Chance, namespace: string): Step[] {
  const name = `${namespace}n`;
  const schema = { type: "object", properties: { spec: ruledSchema } };
  const steps: Request[] = [
    ...installed(namespace, definition(namespace, schema)),
    {
      setup: true,
      method: "POST",
      path: `/api/v1/namespaces/${namespace}/configmaps`,
      body: { metadata: { name: "params", labels: { p: "1" } }, data: { x: "1", k: "v" } },
    },
  ];
  const hasParams = chance.maybe(0.3);
  const { spec } = policyOf(chance, { namespace, mark: "m0", hasParams });
  const validations = [{ expression: "object.metadata.name != 'probe'", message: "seen m0" }];
  const simple = { ...(spec as JsonObject), matchConditions: null, auditAnnotations: null, validations };
  const policy: JsonObject = { metadata: { name }, spec: simple };
  steps.push(
    { setup: true, method: "POST", path: `${admission}/validatingadmissionpolicies`, body: policy },
    {
      setup: true,
      method: "POST",
      path: `${admission}/validatingadmissionpolicybindings`,
      body: { metadata: { name }, spec: { policyName: name, ...bindingOf(chance, hasParams) } },
    },
    ...asked(chance, namespace, { mark: "m0", after: 3 }),
  );
  for (let round = 1; round < 6; round += 1) {
    const mark = `m${round}`;
    const path = `${admission}/validatingadmissionpolicies/${name}`;
    const body = policyOf(chance, { namespace, mark, hasParams });
    const contentType = "application/merge-patch+json";
    const after = steps.length;
    steps.push({ setup: true, method: "PATCH", path, contentType, body }, ...asked(chance, namespace, { mark, after }));
  }
  steps.push(
    { method: "DELETE", path: `${admission}/validatingadmissionpolicybindings/${name}` },
    { method: "DELETE", path: `${admission}/validatingadmissionpolicies/${name}` },
    { method: "DELETE", path: `${definitionsPath}/things.${name}.example.com` },
  );
  return numbered(steps);
}

function bindingOf(chance: Chance, hasParams: boolean): JsonObject {
  return {
    validationActions: chance.pick([["Deny"], ["Deny"], ["Deny", "Audit"], ["Warn"], ["Warn", "Audit"]]),
    ...(hasParams
      ? {
          paramRef: chance.pick<JsonObject>([
            { name: "params", parameterNotFoundAction: "Deny" },
            { name: "params", parameterNotFoundAction: "Allow" },
            { name: "none", parameterNotFoundAction: "Deny" },
            { selector: { matchLabels: { p: "1" } }, parameterNotFoundAction: "Deny" },
            { selector: {}, parameterNotFoundAction: "Allow" },
          ]),
        }
      : {}),
  };
}

interface Round {
  readonly namespace: string;
  readonly mark: string;
  readonly hasParams: boolean;
}

/** A policy that refuses, besides, an object by which is seen that it is in force. */
function policyOf(chance: Chance, { namespace, mark, hasParams }: Round): JsonObject {
  const dynamic = (text: string): string => about(text, chance.pick(["object.spec", "object.spec", "variables.v"]));
  const shown = (): string => dynamic(shownExpression(chance));
  const validation = (): JsonObject => ({
    expression: chance.pick([() => dynamic(expression(chance, "bool")), () => chance.pick(enforced), () => "false"])(),
    ...(chance.maybe(0.6) ? { messageExpression: shown() } : {}),
    ...(chance.maybe(0.3) ? { message: "no" } : {}),
    ...(chance.maybe(0.3)
      ? { reason: chance.pick(["Forbidden", "Unauthorized", "Invalid", "RequestEntityTooLarge"]) }
      : {}),
  });
  return {
    spec: {
      failurePolicy: chance.pick(["Fail", "Fail", "Ignore"]),
      matchConstraints: {
        resourceRules: [
          {
            apiGroups: [`${namespace}n.example.com`],
            apiVersions: ["v1"],
            operations: ["CREATE", "UPDATE"],
            resources: ["things"],
          },
        ],
      },
      ...(hasParams ? { paramKind: { apiVersion: "v1", kind: "ConfigMap" } } : {}),
      variables: [
        {
          name: "v",
          expression: chance.pick(["object.spec", "object.?spec.orValue({})", "has(object.spec) ? object.spec : null"]),
        },
      ],
      matchConditions: chance.maybe(0.3)
        ? [{ name: "c", expression: `object.metadata.name == 'probe' || (${dynamic(expression(chance, "bool"))})` }]
        : null,
      auditAnnotations: chance.maybe(0.3) ? [{ key: "k", valueExpression: shown() }] : null,
      validations: [
        { expression: "object.metadata.name != 'probe'", message: `seen ${mark}` },
        ...Array.from({ length: 1 + chance.int(2) }, validation),
      ],
    },
  };
}

const enforced = [
  "request.operation == 'UPDATE'",
  "request.userInfo.username == 'a' || request.kind.kind == 'Nope'",
  "request.name == 'x' && request.namespace == '' && request.dryRun",
  "request.userInfo.extra['a'][0] == 'b'",
  "request.options.dryRun == ['None']",
  "request.resource.resource == 'things' && request.subResource == 'x'",
  "namespaceObject.metadata.name == 'x'",
  "namespaceObject.metadata.labels['kubernetes.io/metadata.name'] == 'x'",
  "namespaceObject.metadata.labels.?a.orValue('') == 'b'",
  "namespaceObject.status.phase == 'Active' && namespaceObject.spec.finalizers == ['kubernetes']",
  "authorizer.group('').resource('pods').namespace('x').check('get').allowed() && false",
  "authorizer.path('/healthz').check('get').allowed() == false",
  "authorizer.requestResource.check('update').reason() == 'x'",
  "authorizer.serviceAccount('a', 'b').group('').resource('x').check('v').allowed()",
  "oldObject == null && false",
  "oldObject.spec.n > 1",
  "object.metadata.uid == ''",
  "has(object.metadata.labels) && object.metadata.labels.a == 'b'",
  "object.kind == 'x' || object.apiVersion == 'y'",
  "params.data.x == '2'",
  "params == null",
  "params.metadata.name == 'x' || params.kind == 'y'",
];

/** Objects that the policy is asked about, when it is seen to be in force. */
function asked(
  chance: Chance,
  namespace: string,
  { mark, after }: { readonly mark: string; readonly after: number },
): Request[] {
  const path = `/apis/${namespace}n.example.com/v1/namespaces/${namespace}/things?dryRun=All`;
  const object = (name: string, spec: JsonObject): JsonObject => ({
    apiVersion: `${namespace}n.example.com/v1`,
    kind: "Thing",
    metadata: { name },
    spec,
  });
  const probe: Request = {
    setup: true,
    after,
    until: { with: `seen ${mark}` },
    method: "POST",
    path,
    body: object("probe", { s: "a" }),
  };
  return [
    probe,
    ...ruledObjects.map((spec) => ({ after, method: "POST", path, body: object("x", spec) })),
    ...(chance.maybe(0.3) ? [{ after, method: "POST", path, body: object("x", {}) }] : []),
  ];
}
