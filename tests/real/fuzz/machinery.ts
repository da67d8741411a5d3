import type { Json, JsonObject } from "../../../src/kernel/kinds/object.js";
import { Chance } from "./chance.js";
import { expression, ruledObjects, ruledSchema, shownExpression } from "./expressions.js";
import { Maker } from "./generate.js";
import { scaled, subresourceRequest } from "./machinery-bodies.js";
import { collectionRequest } from "./machinery-collections.js";
import { enforcements, policies } from "./machinery-policies.js";
import { definition, definitionsPath, installed, numbered, type Request } from "./machinery-shared.js";
import { made, mutate, type Schema, schemaOf } from "./mutate.js";
import { type Sample, samples } from "./samples.js";
import { rootSchema } from "./schemas.js";
import type { Scenario, Step } from "./types.js";

/** Scenarios about what all kinds share: definitions and their objects, rules, policies, reviews, collections, subresources, documents. */
export function generateMachinery(seed: number, tag: string, only?: RegExp): Scenario {
  const chance = new Chance(seed);
  const namespace = `f${seed}${tag}`;
  const makers: readonly (readonly [number, string, (chance: Chance, namespace: string) => Step[]])[] = [
    [14, "definitions", definitions],
    [14, "customs", customs],
    [14, "rules", rules],
    [12, "policies", policies],
    [3, "enforcements", enforcements],
    [8, "reviews", reviews],
    [12, "collections", collections],
    [10, "subresources", subresources],
    [5, "documents", documents],
    [11, "configurations", configurations],
  ];
  const fitting = makers.filter(([, name]) => only === undefined || only.test(name));
  const make = chance.weighted(fitting.map(([weight, , maker]) => [weight, maker] as const));
  return { seed, namespace, steps: make(chance, namespace) };
}

function definitions(chance: Chance, namespace: string): Step[] {
  const definitionSample = samples.find(({ kind }) => kind === "CustomResourceDefinition");
  return numbered(
    Array.from({ length: 6 + chance.int(5) }, () => {
      const body = definition(namespace, rootSchema(chance, { wrong: chance.pick([0, 0.2, 0.5]) }), extras(chance));
      if (chance.maybe(0.3) && definitionSample !== undefined) mutate(chance, body, definitionSample);
      if (chance.maybe(0.2)) addVersion(chance, body);
      const mode = chance.pick(["", "", "", "&fieldValidation=Strict", "&fieldValidation=Warn"]);
      return { method: "POST", path: `${definitionsPath}?dryRun=All${mode}`, body };
    }),
  );
}

/** What a version has beside its schema. */
function extras(chance: Chance): JsonObject {
  const path = (): string =>
    chance.pick([
      ".spec.a",
      ".spec.list",
      ".status.n",
      ".metadata.name",
      "spec",
      ".spec.x-y",
      ".spec['a']",
      ".spec.list[0]",
      ".",
      "",
    ]);
  return {
    ...(chance.maybe(0.3)
      ? {
          subresources: {
            status: {},
            ...(chance.maybe(0.5)
              ? {
                  scale: {
                    specReplicasPath: path(),
                    statusReplicasPath: path(),
                    ...(chance.maybe(0.5) ? { labelSelectorPath: path() } : {}),
                  },
                }
              : {}),
          },
        }
      : {}),
    ...(chance.maybe(0.3)
      ? {
          additionalPrinterColumns: [
            {
              name: chance.pick(["A", "", "a b"]),
              type: chance.pick(["string", "integer", "date", "x"]),
              jsonPath: path(),
              ...(chance.maybe(0.3) ? { format: chance.pick(["int32", "byte", "x"]) } : {}),
            },
          ],
        }
      : {}),
    ...(chance.maybe(0.25)
      ? { selectableFields: [{ jsonPath: path() }, ...(chance.maybe(0.2) ? [{ jsonPath: path() }] : [])] }
      : {}),
    ...(chance.maybe(0.1)
      ? { deprecated: true, deprecationWarning: chance.pick(["old", "", "a\nb", "x".repeat(300)]) }
      : {}),
  };
}

function addVersion(chance: Chance, body: JsonObject): void {
  const { versions, ...spec } = (body["spec"] ?? {}) as JsonObject;
  if (!Array.isArray(versions)) return;
  const second = {
    name: chance.pick(["v2", "v1", "v1beta1", "A", ""]),
    served: chance.maybe(0.5),
    storage: chance.maybe(0.2),
    schema: { openAPIV3Schema: rootSchema(chance, { wrong: 0.1 }) },
    ...extras(chance),
  };
  body["spec"] = { ...spec, versions: [...versions, second] };
  if (chance.maybe(0.4))
    (body["spec"] as JsonObject)["conversion"] = chance.pick<Json>([
      { strategy: "None" },
      { strategy: "Webhook" },
      { strategy: "x" },
      { strategy: "Webhook", webhook: { conversionReviewVersions: ["v1"], clientConfig: { url: "https://h/x" } } },
      { strategy: "Webhook", webhook: { conversionReviewVersions: ["v3"], clientConfig: { url: "http://h/x" } } },
      {
        strategy: "Webhook",
        webhook: {
          conversionReviewVersions: ["v1", "v1"],
          clientConfig: { service: { name: "s", namespace: "n", path: "x//y" } },
        },
      },
      {
        strategy: "Webhook",
        webhook: {
          conversionReviewVersions: ["v1"],
          clientConfig: { service: { name: "", namespace: "" }, url: "https://h" },
        },
      },
      { strategy: "None", webhook: { conversionReviewVersions: ["v1"] } },
    ]);
}

/** Objects of a definition of their own. */
function customs(chance: Chance, namespace: string): Step[] {
  const schema = rootSchema(chance, { wrong: 0 });
  const rest: JsonObject = {
    ...(chance.maybe(0.6)
      ? {
          subresources: {
            status: {},
            ...(chance.maybe(0.5)
              ? { scale: { specReplicasPath: ".spec.value", statusReplicasPath: ".status.n" } }
              : {}),
          },
        }
      : {}),
    ...(chance.maybe(0.4)
      ? {
          additionalPrinterColumns: ["string", "integer", "date", "number", "boolean"].map((type) => ({
            name: type,
            type,
            jsonPath: chance.pick([
              ".spec.a",
              ".spec.b",
              ".spec.list",
              ".spec.list[0]",
              ".spec.map",
              ".spec.list[*].name",
              ".status.n",
              ".metadata.labels.a",
            ]),
          })),
        }
      : {}),
  };
  const body = made(chance, schema as Schema, "", 2);
  const sample: Sample = {
    apiVersion: `${namespace}n.example.com/v1`,
    kind: "Thing",
    plural: "things",
    namespaced: true,
    subresources: ["status", "scale"],
    body: typeof body === "object" && body !== null && !Array.isArray(body) ? body : {},
    schema,
  };
  const maker = new Maker(chance, namespace, sample, installed(namespace, definition(namespace, schema, rest)));
  for (let count = 6 + chance.int(8); count > 0; count -= 1) maker.add();
  return [...maker.steps, { id: 99, method: "DELETE", path: `${definitionsPath}/things.${namespace}n.example.com` }];
}

/** Rules that hold, fail or do not compile, one after the other in one definition. */
function rules(chance: Chance, namespace: string): Step[] {
  const path = `/apis/${namespace}n.example.com/v1/namespaces/${namespace}/things`;
  const bodyOf = (validations: Json, mark: string): JsonObject => {
    const spec = { ...ruledSchema, "x-kubernetes-validations": validations };
    return definition(namespace, { type: "object", properties: { spec, mark: { type: "string", enum: [mark] } } });
  };
  const steps: Request[] = installed(namespace, bodyOf([{ rule: "true" }], "m"));
  for (let round = 0; round < 8; round += 1) {
    const mark = `m${round}`;
    const isShown = chance.maybe(0.6);
    const rule = isShown
      ? { rule: "false", messageExpression: shownExpression(chance) }
      : { rule: expression(chance, "bool"), ...(chance.maybe(0.2) ? { message: "no" } : {}) };
    const id = steps.length;
    steps.push({
      setup: true,
      method: "PATCH",
      path: `${definitionsPath}/things.${namespace}n.example.com`,
      contentType: "application/merge-patch+json",
      body: { spec: bodyOf([rule], mark)["spec"] ?? null },
    });
    const body = (object: JsonObject): JsonObject => ({
      apiVersion: `${namespace}n.example.com/v1`,
      kind: "Thing",
      metadata: { name: "x" },
      mark,
      spec: object,
    });
    for (const object of ruledObjects)
      steps.push({
        after: id,
        until: { without: "supported values" },
        method: "POST",
        path: `${path}?dryRun=All`,
        body: body(object),
      });
  }
  steps.push({ method: "DELETE", path: `${definitionsPath}/things.${namespace}n.example.com` });
  return numbered(steps);
}

const review = (apiVersion: string, kind: string, plural: string, body: JsonObject, namespaced = false): Sample => ({
  apiVersion,
  kind,
  plural,
  namespaced,
  subresources: [],
  body,
});
const attributes = { namespace: "default", verb: "get", resource: "pods" };
const reviewSamples: readonly Sample[] = [
  review("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews", {
    spec: { user: "u", groups: ["g"], resourceAttributes: attributes },
  }),
  review("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews", {
    spec: { user: "u", nonResourceAttributes: { path: "/healthz", verb: "get" } },
  }),
  review("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", {
    spec: { resourceAttributes: attributes },
  }),
  review(
    "authorization.k8s.io/v1",
    "LocalSubjectAccessReview",
    "localsubjectaccessreviews",
    { spec: { user: "u", resourceAttributes: { ...attributes, namespace: "NAMESPACE" } } },
    true,
  ),
  review("authorization.k8s.io/v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", {
    spec: { namespace: "default" },
  }),
  review("authentication.k8s.io/v1", "TokenReview", "tokenreviews", { spec: { token: "x" } }),
  review("authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews", {}),
];

function filled(sample: Sample, namespace: string, name?: string): JsonObject {
  const { apiVersion, kind, body } = sample;
  const text = JSON.stringify(body).replaceAll("NAMESPACE", namespace).replaceAll("NAME", `${namespace}n`);
  return { apiVersion, kind, metadata: name === undefined ? {} : { name }, ...(JSON.parse(text) as JsonObject) };
}

function collection({ apiVersion, plural, namespaced }: Sample, namespace: string): string {
  const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  return `${root}${namespaced ? `/namespaces/${namespace}` : ""}/${plural}`;
}

function reviews(chance: Chance, namespace: string): Step[] {
  return numbered(
    Array.from({ length: 8 }, () => {
      const sample = chance.pick(reviewSamples);
      const path = collection(sample, namespace);
      if (chance.maybe(0.06)) return { method: chance.pick(["GET", "DELETE", "PATCH"]), path };
      const body = filled(sample, namespace);
      for (let count = chance.int(3); count > 0; count -= 1) mutate(chance, body, sample);
      const query = chance.pick(["", "", "?fieldValidation=Strict", "?dryRun=All", "?pretty=true"]);
      return {
        method: "POST",
        path: `${path}${query}`,
        body,
        ...(chance.maybe(0.25) ? { headers: impersonated(chance) } : {}),
        ...(chance.maybe(0.1)
          ? { accept: chance.pick(["application/yaml", "application/json;as=Table;v=v1;g=meta.k8s.io", "text/plain"]) }
          : {}),
      };
    }),
  );
}

function impersonated(chance: Chance): Record<string, string> {
  return chance.pick<Record<string, string>>([
    { "impersonate-user": "jane" },
    { "impersonate-user": "jane", "impersonate-group": "devs" },
    { "impersonate-user": "system:serviceaccount:default:default" },
    { "impersonate-user": "jane", "impersonate-uid": "7", "impersonate-extra-a%2fb": "c" },
    { "impersonate-group": "devs" },
    { "impersonate-user": "system:anonymous" },
  ]);
}

function collections(chance: Chance, namespace: string): Step[] {
  const sample = chance.pick(
    samples.filter(({ kind }) => ["ConfigMap", "Secret", "Lease", "Widget", "Service"].includes(kind)),
  );
  const path = collection(sample, namespace);
  const steps: Request[] = ["a", "b", "c", "d"].map((name, index) => {
    const body = filled(sample, namespace, `${namespace}${name}`);
    body["metadata"] = {
      name: `${namespace}${name}`,
      labels: { app: name < "c" ? "x" : "y", [`l${index}`]: "1" },
      ...(chance.maybe(0.1) ? { finalizers: ["example.com/f"] } : {}),
    };
    return { setup: true, method: "POST", path, body };
  });
  for (let count = 8; count > 0; count -= 1) steps.push(collectionRequest(chance, path, namespace, steps.length));
  return numbered(steps);
}

/** What stands below an object. */
function subresources(chance: Chance, namespace: string): Step[] {
  const sample = chance.pick(
    samples.filter(({ kind }) =>
      ["Pod", "ServiceAccount", "Node", "Namespace", "Service", "Job", "PersistentVolumeClaim", ...scaled].includes(
        kind,
      ),
    ),
  );
  const name = `${namespace}n`;
  const path = collection(sample, namespace);
  const steps: Request[] = [{ setup: true, method: "POST", path, body: filled(sample, namespace, name) }];
  for (let count = 9; count > 0; count -= 1) {
    const at = `${path}/${chance.maybe(0.93) ? name : "none"}`;
    steps.push(subresourceRequest(chance, sample, at, name));
  }
  return numbered(steps);
}

/** Webhook configurations, policies, bindings, roles: changed in several places. */
function configurations(chance: Chance, namespace: string): Step[] {
  const kinds = [
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "Lease",
  ];
  const sample = chance.pick(samples.filter(({ kind }) => kinds.includes(kind)));
  const schema = schemaOf(sample);
  return numbered(
    Array.from({ length: 8 }, () => {
      const body = filled(sample, namespace, `${namespace}n`);
      for (let count = 1 + chance.int(3); count > 0; count -= 1) mutate(chance, body, sample);
      if (chance.maybe(0.2)) {
        const all = made(chance, schema, "", 2);
        if (typeof all === "object" && all !== null && !Array.isArray(all))
          for (const [field, value] of Object.entries(all))
            if (!["metadata", "apiVersion", "kind"].includes(field) && value !== undefined) body[field] = value;
      }
      return { method: "POST", path: `${collection(sample, namespace)}?dryRun=All`, body };
    }),
  );
}

/** Discovery, OpenAPI, health, version. */
function documents(chance: Chance): Step[] {
  const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
  const accepts = [
    aggregated,
    `${aggregated},application/json`,
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    `${aggregated},application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json`,
    "application/json;g=apidiscovery.k8s.io;v=v3;as=APIGroupDiscoveryList",
    "application/yaml",
    "text/html",
    "*/*",
    "application/json;q=0.5,application/yaml",
  ];
  const paths = [
    "/api",
    "/apis",
    "/apis/",
    "/api/",
    "/api/v1",
    "/apis/apps",
    "/apis/apps/v1",
    "/apis/fuzz.example.com",
    "/apis/fuzz.example.com/v1",
    "/apis/autoscaling",
    "/apis/authorization.k8s.io/v1",
    "/apis/policy/v1",
    "/apis/events.k8s.io/v1",
    "/apis/batch",
    "/apis/admissionregistration.k8s.io/v1",
    "/apis/apiextensions.k8s.io/v1",
    "/apis/rbac.authorization.k8s.io/v1",
    "/version",
    "/version/",
    "/healthz",
    "/livez",
    "/readyz",
    "/healthz/ping",
    "/livez?verbose",
    "/livez?exclude=ping",
    "/readyz?exclude=nope",
    "/healthz/",
    "/nope",
    "/apis/nope/v1",
    "/api/v2",
    "/openapi",
    "/openapi/v2",
    "/openapi/v2/",
    "/openapi/v3/",
    "/openapi/v3/nope",
    "/openapi/v3/apis/apps/v1",
    "/openapi/v3/apis/fuzz.example.com/v1",
    "/livez?verbose&exclude=log",
    "/readyz?verbose",
    "/.well-known/openid-configuration",
    "/openid/v1/jwks",
    "/metrics/nope",
    "/logs",
    "/debug/pprof",
    "/ui",
    "/swaggerapi",
    "/apis/apps/v1/",
    "/apis/apps/",
  ];
  return numbered(
    Array.from({ length: 8 }, () => ({
      method: chance.weighted([
        [10, "GET"],
        [1, "POST"],
        [1, "HEAD"],
        [1, "PUT"],
        [1, "OPTIONS"],
      ] as const),
      path: chance.pick(paths),
      ...(chance.maybe(0.6) ? { accept: chance.pick(accepts) } : {}),
    })),
  );
}
