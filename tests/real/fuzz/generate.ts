import type { Json, JsonObject } from "../../../src/kernel/kinds/object.js";
import { Chance } from "./chance.js";
import { mutate } from "./mutate.js";
import { rawRequest } from "./raw.js";
import { type Sample, samples } from "./samples.js";
import type { Scenario, Step } from "./types.js";

/** Objects of these change what other requests are answered: made as they are, changed only with dryRun. */
const farReaching = new Set([
  "CustomResourceDefinition",
  "ValidatingWebhookConfiguration",
  "MutatingWebhookConfiguration",
  "ValidatingAdmissionPolicy",
  "ValidatingAdmissionPolicyBinding",
  "PriorityClass",
  "StorageClass",
  "RuntimeClass",
  "LimitRange",
  "IngressClass",
]);

/** All of the scenario of a seed; `tag` keeps runs against one server apart. */
export function generate(seed: number, tag: string, only?: RegExp): Scenario {
  const chance = new Chance(seed);
  const namespace = `f${seed}${tag}`;
  const fitting =
    only === undefined ? samples : samples.filter(({ apiVersion, kind }) => only.test(`${apiVersion}/${kind}`));
  const maker = new Maker(chance, namespace, chance.pick(fitting));
  for (let count = 6 + chance.int(8); count > 0; count -= 1) maker.add();
  return { seed, namespace, steps: maker.steps };
}

/** Makes the requests of one kind. */
export class Maker {
  readonly steps: Step[] = [];
  readonly #chance: Chance;
  readonly #sample: Sample;
  readonly #namespace: string;
  readonly #name: string;
  #nextId = 0;

  constructor(chance: Chance, namespace: string, sample: Sample, before: readonly Omit<Step, "id">[] = []) {
    this.#chance = chance;
    this.#sample = sample;
    this.#namespace = sample.kind === "ResourceQuota" ? `${namespace}q` : namespace;
    this.#name = (sample.name ?? "NAME").replaceAll("NAME", `${namespace}n`);
    for (const step of before) this.#push(step);
    const isReal = sample.kind !== "CustomResourceDefinition";
    this.#push({
      setup: true,
      method: "POST",
      path: this.#path("", this.#query(isReal ? [] : [["dryRun", "All"]])),
      body: this.#object(0),
    });
  }

  add(): void {
    const steps: readonly (readonly [number, () => void])[] = [
      [30, () => this.#create()],
      [14, () => this.#update()],
      [22, () => this.#patch()],
      [10, () => this.#apply()],
      [6, () => this.#read()],
      [6, () => this.#list()],
      [4, () => this.#status()],
      [4, () => this.#remove()],
      [4, () => this.#push(rawRequest(this.#chance, this.#sample, this.#path("")))],
      [3, () => this.#push({ method: "GET", path: this.#path(this.#name) })],
    ];
    this.#chance.weighted(steps)();
  }

  #push(step: Omit<Step, "id">): void {
    this.steps.push({ id: this.#nextId++, ...step });
  }

  #path(name: string, query = ""): string {
    const { apiVersion, plural, namespaced } = this.#sample;
    const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const place = namespaced ? `/namespaces/${this.#namespace}` : "";
    return `${root}${place}/${plural}${name === "" ? "" : `/${name}`}${query === "" ? "" : `?${query}`}`;
  }

  #query(pairs: readonly (readonly [string, string])[]): string {
    return pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
  }

  /** The sample's object with some changes. */
  #object(changes: number, name = this.#name): JsonObject {
    const { apiVersion, kind, body } = this.#sample;
    const text = JSON.stringify(body)
      .replaceAll("NAMESPACE", this.#namespace)
      .replaceAll("NAME", `${this.#namespace}n`);
    const object = { apiVersion, kind, metadata: { name }, ...(JSON.parse(text) as JsonObject) };
    for (let count = changes; count > 0; count -= 1) mutate(this.#chance, object, this.#sample);
    return object;
  }

  #writeOptions(): [string, string][] {
    const chance = this.#chance;
    const pairs: [string, string][] = [];
    if (farReaching.has(this.#sample.kind)) pairs.push(["dryRun", "All"]);
    else if (chance.maybe(0.15)) pairs.push(["dryRun", chance.pick(["All", "All", "Some", ""])]);
    if (chance.maybe(0.3))
      pairs.push(["fieldValidation", chance.pick(["Strict", "Warn", "Ignore", "Strict", "Bogus", ""])]);
    if (chance.maybe(0.25))
      pairs.push(["fieldManager", chance.pick(["m1", "m2", "a b", "", "x".repeat(129), "é", "\u0007"])]);
    return pairs;
  }

  #changes(): number {
    return this.#chance.weighted([
      [6, 1],
      [3, 2],
      [1, 4],
    ]);
  }

  #create(): void {
    const options = this.#writeOptions();
    const isDry = options.some(([name]) => name === "dryRun");
    if (!isDry && this.#chance.maybe(0.5)) options.push(["dryRun", "All"]);
    const name =
      this.#sample.name === undefined
        ? this.#chance.pick([`${this.#namespace}m`, `${this.#namespace}m`, this.#name])
        : this.#name;
    this.#push({
      method: "POST",
      path: this.#path("", this.#query(options)),
      body: this.#object(this.#changes(), name),
    });
  }

  #update(): void {
    const object = this.#object(this.#changes());
    const metadata = object["metadata"];
    const version = this.#chance.weighted<string | undefined>([
      [4, undefined],
      [4, `\${rv:${this.#someId()}}`],
      [1, "1"],
      [1, "x"],
    ]);
    if (version !== undefined && typeof metadata === "object" && metadata !== null && !Array.isArray(metadata))
      metadata["resourceVersion"] = version;
    this.#push({ method: "PUT", path: this.#path(this.#name, this.#query(this.#writeOptions())), body: object });
  }

  #someId(): number {
    return this.#chance.maybe(0.5) ? 0 : this.#chance.int(this.#nextId);
  }

  #patch(): void {
    const chance = this.#chance;
    const type = chance.weighted([
      [4, "merge"],
      [5, "strategic-merge"],
      [4, "json"],
    ] as const);
    const body = type === "json" ? this.#operations() : this.#partial();
    const path = this.#path(this.#name, this.#query(this.#writeOptions()));
    this.#push({ method: "PATCH", path, contentType: `application/${type}-patch+json`, body });
  }

  /** Some of a changed object: what a merge patch holds. */
  #partial(): JsonObject {
    const chance = this.#chance;
    const before = this.#object(0);
    const after = this.#object(this.#changes());
    const patch = difference(before, after) as JsonObject;
    if (chance.maybe(0.15)) directives(chance, patch);
    if (chance.maybe(0.1)) patch["metadata"] = { labels: { a: chance.pick<Json>(["b", null]) } };
    return patch;
  }

  #operations(): Json {
    const chance = this.#chance;
    const paths = pathsOf(this.#object(0), "").concat([
      "/metadata/labels/a",
      "/metadata/labels",
      "/spec/bogus",
      "/nope/x",
      "",
      "/metadata/name",
      "spec",
    ]);
    return Array.from({ length: 1 + chance.int(3) }, () => {
      const op = chance.weighted([
        [5, "replace"],
        [4, "remove"],
        [4, "add"],
        [2, "test"],
        [1, "move"],
        [1, "copy"],
        [1, "bogus"],
      ] as const);
      const path = chance.pick(paths) + (op === "add" && chance.maybe(0.2) ? "/-" : "");
      const value = chance.pick<Json>(["x", 1, null, { a: "b" }, ["c"], "YQ==", true, 0]);
      if (op === "move" || op === "copy") return { op, from: chance.pick(paths), path };
      return op === "remove" || chance.maybe(0.05) ? { op, path } : { op, path, value };
    });
  }

  #apply(): void {
    const chance = this.#chance;
    const object = this.#object(chance.int(3));
    for (const field of Object.keys(object))
      if (!["apiVersion", "kind", "metadata"].includes(field) && chance.maybe(0.2)) delete object[field];
    thin(chance, object);
    const options = this.#writeOptions().filter(([name]) => name !== "fieldManager");
    if (chance.maybe(0.97)) options.push(["fieldManager", chance.pick(["m1", "m2", "m3"])]);
    if (chance.maybe(0.4)) options.push(["force", chance.pick(["true", "true", "false", "x"])]);
    const name = chance.maybe(0.8) ? this.#name : `${this.#namespace}z`;
    if (name !== this.#name && typeof object["metadata"] === "object") object["metadata"] = { name };
    const path = this.#path(name, this.#query(options));
    this.#push({ method: "PATCH", path, contentType: "application/apply-patch+yaml", body: object });
  }

  #status(): void {
    const subresource =
      this.#sample.subresources.length === 0 ? "status" : this.#chance.pick(this.#sample.subresources);
    const path = this.#path(`${this.#name}/${subresource}`, this.#query(this.#writeOptions()));
    const chance = this.#chance;
    if (subresource === "scale") {
      const body = {
        apiVersion: "autoscaling/v1",
        kind: "Scale",
        metadata: { name: this.#name },
        spec: { replicas: chance.pick([0, 1, -1, 3]) },
      };
      if (chance.maybe(0.3)) this.#push({ method: "GET", path: this.#path(`${this.#name}/scale`) });
      else if (chance.maybe(0.5)) this.#push({ method: "PUT", path, body });
      else
        this.#push({ method: "PATCH", path, contentType: "application/merge-patch+json", body: { spec: body.spec } });
      return;
    }
    const condition = {
      type: "Ready",
      status: chance.pick(["True", "False", "x"]),
      lastTransitionTime: "2020-01-01T00:00:00Z",
      reason: "R",
      message: "m",
    };
    const status = chance.pick<Json>([
      { conditions: [condition] },
      { replicas: 3 },
      { phase: "Running" },
      { observedGeneration: 1, readyReplicas: 1 },
      { active: 1 },
      {},
    ]);
    if (chance.maybe(0.5))
      this.#push({ method: "PATCH", path, contentType: "application/merge-patch+json", body: { status } });
    else this.#push({ method: "PUT", path, body: { ...this.#object(chance.int(2)), status } });
  }

  #read(): void {
    const accept = this.#accept();
    this.#push({
      method: "GET",
      path: this.#path(this.#chance.pick([this.#name, `${this.#namespace}m`, "none"])),
      ...accept,
    });
  }

  #accept(): { accept?: string } {
    const accept = this.#chance.weighted<string | undefined>([
      [3, undefined],
      [4, "application/json;as=Table;v=v1;g=meta.k8s.io"],
      [2, "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"],
      [2, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"],
      [1, "application/json;as=Table;v=v1beta1;g=meta.k8s.io"],
      [1, "application/yaml"],
      [1, "text/plain"],
      [1, "application/json;as=Bogus;v=v1;g=meta.k8s.io"],
      [1, "*/*"],
    ]);
    return accept === undefined ? {} : { accept };
  }

  #list(): void {
    const chance = this.#chance;
    const pairs: [string, string][] = [];
    if (chance.maybe(0.5))
      pairs.push([
        "labelSelector",
        chance.pick([
          "a=b",
          "a",
          "!a",
          "a in (b,c)",
          "a notin (b)",
          "a!=b",
          "a=b,c=d",
          "a in b",
          "=",
          "a==",
          "a=b=c",
          "(a)",
          "a in ()",
          "a>1",
          "a<x",
          "-a",
          "a b",
          ",",
          "a,,b",
          "a=b c",
          "!a=b",
          "x/y/z=1",
          "a=é",
        ]),
      ]);
    if (chance.maybe(0.4))
      pairs.push([
        "fieldSelector",
        chance.pick([
          `metadata.name=${this.#name}`,
          "metadata.name!=x",
          "status.phase=Running",
          "spec.nodeName=",
          "type=Opaque",
          "bogus=1",
          "metadata.namespace=default",
          "=",
          "a",
          "spec.color=red",
          "metadata.name=a,metadata.name=b",
          "a==b=c",
          "metadata.labels.a=b",
        ]),
      ]);
    if (chance.maybe(0.3)) pairs.push(["limit", chance.pick(["1", "2", "0", "-1", "x", "1000"])]);
    if (chance.maybe(0.2)) pairs.push(["continue", chance.pick([`\${continue:${this.#someId()}}`, "x", "", "e30="])]);
    if (chance.maybe(0.3))
      pairs.push(["resourceVersion", chance.pick(["0", "1", "x", "", `\${rv:${this.#someId()}}`, "99999999", "-1"])]);
    if (chance.maybe(0.3)) pairs.push(["resourceVersionMatch", chance.pick(["Exact", "NotOlderThan", "Bogus", ""])]);
    if (chance.maybe(0.1)) pairs.push(["timeoutSeconds", chance.pick(["1", "x", "-1"])]);
    if (chance.maybe(0.07)) pairs.push(["sendInitialEvents", chance.pick(["true", "false", "x"])]);
    if (chance.maybe(0.07)) pairs.push(["includeObject", chance.pick(["None", "Metadata", "Object", "x"])]);
    this.#push({ method: "GET", path: this.#path("", this.#query(pairs)), ...this.#accept() });
  }

  #remove(): void {
    const chance = this.#chance;
    const pairs: [string, string][] = [];
    if (chance.maybe(0.3)) pairs.push(["dryRun", chance.pick(["All", "x"])]);
    if (chance.maybe(0.2)) pairs.push(["gracePeriodSeconds", chance.pick(["0", "5", "-1", "x"])]);
    if (chance.maybe(0.2)) pairs.push(["propagationPolicy", chance.pick(["Foreground", "Background", "Orphan", "x"])]);
    if (chance.maybe(0.05)) pairs.push(["orphanDependents", "true"]);
    const options: JsonObject = { apiVersion: "v1", kind: "DeleteOptions" };
    if (chance.maybe(0.3))
      options["preconditions"] = chance.pick<Json>([
        { uid: `\${uid:${this.#someId()}}` },
        { resourceVersion: `\${rv:${this.#someId()}}` },
        { uid: "x" },
        { resourceVersion: "1" },
        {},
      ]);
    if (chance.maybe(0.3))
      options["propagationPolicy"] = chance.pick<Json>(["Foreground", "Background", "Orphan", "", "x"]);
    if (chance.maybe(0.2)) options["gracePeriodSeconds"] = chance.pick<Json>([0, 1, 30, -1, "x"]);
    if (chance.maybe(0.1)) options["dryRun"] = chance.pick<Json>([["All"], ["x"], [], "All"]);
    if (chance.maybe(0.1)) options["orphanDependents"] = true;
    if (chance.maybe(0.05)) options["bogus"] = 1;
    const isCollection = chance.maybe(0.2) && this.#sample.namespaced;
    if (isCollection && chance.maybe(0.4)) pairs.push(["labelSelector", chance.pick(["a=b", "app=a", "in in"])]);
    const body = chance.maybe(0.6) ? { body: options } : {};
    this.#push({ method: "DELETE", path: this.#path(isCollection ? "" : this.#name, this.#query(pairs)), ...body });
  }
}

/** What a merge patch from one value to the other holds. */
function difference(before: Json | undefined, after: Json | undefined): Json {
  const isMap = (value: Json | undefined): value is JsonObject =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isMap(before) || !isMap(after)) return after ?? null;
  const patch: JsonObject = {};
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)]))
    if (JSON.stringify(before[key]) !== JSON.stringify(after[key])) patch[key] = difference(before[key], after[key]);
  return patch;
}

/** Puts directives of strategic merge patches somewhere. */
function directives(chance: Chance, patch: JsonObject): void {
  const holders: JsonObject[] = [patch];
  const collect = (value: Json | undefined): void => {
    if (Array.isArray(value)) for (const item of value) collect(item);
    else if (typeof value === "object" && value !== null) {
      holders.push(value);
      for (const inner of Object.values(value)) collect(inner);
    }
  };
  collect(patch);
  const [name, value] = chance.pick<readonly [string, Json]>([
    ["$patch", "delete"],
    ["$patch", "replace"],
    ["$patch", "merge"],
    ["$patch", "bogus"],
    ["$retainKeys", ["emptyDir", "name"]],
    ["$setElementOrder/containers", [{ name: "main" }]],
    ["$deleteFromPrimitiveList/finalizers", ["a"]],
    ["$setElementOrder/ports", [{ port: 80 }]],
  ]);
  chance.pick(holders)[name] = value;
}

/** JSON pointers to everything in a value. */
function pathsOf(value: Json | undefined, path: string): string[] {
  if (typeof value !== "object" || value === null) return [path];
  const entries = Array.isArray(value)
    ? value.map((inner, index) => [String(index), inner] as const)
    : Object.entries(value);
  return [
    path,
    ...entries.flatMap(([key, inner]) => pathsOf(inner, `${path}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`)),
  ];
}

/** Takes some members away, so that managers own different parts. */
function thin(chance: Chance, value: JsonObject): void {
  for (const [key, inner] of Object.entries(value)) {
    if (["apiVersion", "kind", "metadata", "name", "containerPort", "port", "selector"].includes(key)) continue;
    if (chance.maybe(0.12)) delete value[key];
    else if (Array.isArray(inner))
      for (const item of inner)
        if (typeof item === "object" && item !== null && !Array.isArray(item)) thin(chance, item);
    if (typeof inner === "object" && inner !== null && !Array.isArray(inner)) thin(chance, inner);
  }
}
