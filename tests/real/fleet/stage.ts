import { setTimeout as sleep } from "node:timers/promises";
import { ApiError } from "../../../src/kernel/errors/index.js";
import type { Json, JsonObject } from "../../../src/kernel/kinds/object.js";
import { asObject, asObjects, asString } from "../../../src/kernel/schema/index.js";
import type { Side } from "./sides.js";

const HYPERS = "/apis/tensorstack.dev/v1beta1/namespaces/NS/hypermlservices";
const ROLLOUTS = "/apis/argosy.dev/v1alpha1/namespaces/NS/hyperrollouts";
const HEADS = "/apis/argosy.dev/v1alpha1/namespaces/NS/headingresses";
const BINDINGS = "/apis/work.karmada.io/v1alpha2/namespaces/NS/resourcebindings";
const IN_MEMBERS = [
  "/api/v1/namespaces/NS/configmaps",
  "/api/v1/namespaces/NS/secrets",
  "/apis/apps/v1/namespaces/NS/deployments",
  "/apis/tensorstack.dev/v1beta1/namespaces/NS/mlservices",
];
const json = "application/json";
const mergePatch = "application/merge-patch+json";

/** A namespace of one of the two fleets. */
export class Stage {
  readonly side: Side;
  readonly namespace: string;
  /** How writes were answered that are not taken. */
  readonly #refusals: string[] = [];

  constructor(side: Side, namespace: string) {
    this.side = side;
    this.namespace = namespace;
  }

  /** Creates, in the hub or a member. What is refused is noted. */
  async create(object: JsonObject, member?: string): Promise<void> {
    await this.#noted(() => this.#send("POST", this.#collection(object), { ...object }, member));
  }

  /** Merges a change into the object of a plural and name. */
  async change(plural: string, name: string, patch: JsonObject, member?: string): Promise<void> {
    await this.#noted(() => this.#send("PATCH", `${this.#path(plural)}/${name}`, patch, member));
  }

  async remove(plural: string, name: string, member?: string): Promise<void> {
    await this.#send("DELETE", `${this.#path(plural)}/${name}`, undefined, member);
  }

  async get(plural: string, name: string): Promise<JsonObject> {
    return this.#send("GET", `${this.#path(plural)}/${name}`);
  }

  /** Everything that can be seen, in words that are the same for both fleets. */
  async look(): Promise<string[]> {
    const lines = await Promise.all([
      this.#list(HYPERS).then((items) => items.flatMap(hyperLines)),
      this.#list(ROLLOUTS).then((items) => items.flatMap(rolloutLines)),
      this.#list(HEADS).then((items) => items.flatMap(headLines)),
      this.#list(BINDINGS).then((items) => items.flatMap(bindingLines)),
      ...[...this.side.members.keys()].flatMap((member) =>
        IN_MEMBERS.map((path) =>
          this.#list(path, member).then((items) => items.flatMap((item) => memberLines(member, path, item))),
        ),
      ),
    ]);
    const seen = lines.flat();
    return [...this.#refusals, ...(seen.length === 0 ? ["empty"] : seen)].map(plain);
  }

  /** Waits until something is seen. */
  async seen(line: RegExp): Promise<void> {
    for (const end = Date.now() + 30_000; Date.now() < end; await sleep(100))
      if ((await this.look()).some((one) => line.test(one))) return;
    throw new Error(`${this.side.name} never shows ${String(line)}`);
  }

  async #noted(write: () => Promise<unknown>): Promise<void> {
    try {
      await write();
    } catch (error) {
      if (!(error instanceof ApiError) || error.httpCode < 400 || error.httpCode > 422) throw error;
      this.#refusals.push(`refused: ${error.message}`);
    }
  }

  #path(plural: string): string {
    const known = [HYPERS, ROLLOUTS, HEADS, BINDINGS, ...IN_MEMBERS, POLICIES, OVERRIDES];
    const path = known.find((one) => one.endsWith(`/${plural}`));
    if (path === undefined) throw new Error(`no path for ${plural}`);
    return path.replace("NS", this.namespace);
  }

  #collection({ kind }: JsonObject): string {
    const plural = asString(kind).toLowerCase();
    return this.#path(
      plural.endsWith("y") ? `${plural.slice(0, -1)}ies` : plural.endsWith("ss") ? `${plural}es` : `${plural}s`,
    );
  }

  async #list(path: string, member?: string): Promise<JsonObject[]> {
    const { items } = await this.#send("GET", path.replace("NS", this.namespace), undefined, member);
    return [...asObjects(items)];
  }

  async #send(method: string, path: string, body?: JsonObject, member?: string): Promise<JsonObject> {
    const client = member === undefined ? this.side.hub : this.side.members.get(member);
    if (client === undefined) throw new Error(`no member ${shown(member)}`);
    const headers = { "content-type": method === "PATCH" ? mergePatch : json };
    return asObject(await client.json(method, path, body, { headers }));
  }
}

const POLICIES = "/apis/policy.karmada.io/v1alpha1/namespaces/NS/propagationpolicies";
const OVERRIDES = "/apis/policy.karmada.io/v1alpha1/namespaces/NS/overridepolicies";

/** A value in a line. */
const shown = (value: Json | undefined): string => (typeof value === "string" ? value : (JSON.stringify(value) ?? ""));
const nameOf = (item: JsonObject): string => asString(asObject(item["metadata"])["name"]);
const statusOf = (item: JsonObject): JsonObject => asObject(item["status"]);

function conditionLines(what: string, status: JsonObject): string[] {
  return asObjects(status["conditions"]).map(
    ({ type, status: value, reason, message }) =>
      `${what} ${asString(type)}=${asString(value)} ${asString(reason)}: ${asString(message)}`,
  );
}

function hyperLines(item: JsonObject): string[] {
  const what = `hyper ${nameOf(item)}`;
  const status = statusOf(item);
  return [
    `${what} ${asString(status["appliedSummary"])} in ${asString(status["clusters"])}; traffic ${asString(status["trafficSummary"])}`,
    ...conditionLines(what, status),
    ...asObjects(status["aggregatedStatus"]).map((row) => {
      const { kind, name } = asObject(row["resource"]);
      const said = [row["applied"], row["reason"], row["appliedMessage"], row["health"]].map((one) => shown(one ?? ""));
      return `${what} row ${asString(row["cluster"])} ${asString(kind)} ${asString(name)}: ${said.join(" | ")}`;
    }),
  ];
}

function rolloutLines(item: JsonObject): string[] {
  const what = `rollout ${nameOf(item)}`;
  const { phase, message, summary, target, stable, failure, clusters, gates } = statusOf(item);
  const number = (revision: unknown) => shown(asObject(revision)["number"] ?? "none");
  return [
    `${what} ${asString(phase)} ${asString(summary)} target ${number(target)} stable ${number(stable)}: ${asString(message)}`,
    ...(failure === undefined ? [] : [`${what} failure ${asString(asObject(failure)["reason"])}`]),
    ...asObjects(clusters).map(
      ({ cluster, wave, number: given, state }) =>
        `${what} ${asString(cluster)} of wave ${asString(wave)}: ${shown(given)} ${asString(state)}`,
    ),
    ...asObjects(gates).map(
      ({ name, cluster, verdict }) => `${what} gate ${asString(name)} ${asString(cluster)} ${asString(verdict)}`,
    ),
  ];
}

function headLines(item: JsonObject): string[] {
  return asObjects(statusOf(item)["backends"]).map(
    ({ name, weight, weightEffective, reason, url }) =>
      `head ${nameOf(item)} ${asString(name)} ${asString(url)} ${shown(weight)} ${shown(weightEffective)} ${asString(reason)}`,
  );
}

function bindingLines(item: JsonObject): string[] {
  const what = `binding ${nameOf(item)}`;
  const clusters = asObjects(asObject(item["spec"])["clusters"])
    .map(({ name, replicas }) => `${asString(name)}=${shown(replicas ?? "")}`)
    .sort();
  return [`${what} ${clusters.join(" ")}`, ...conditionLines(what, statusOf(item))];
}

function memberLines(member: string, path: string, item: JsonObject): string[] {
  const name = nameOf(item);
  if (name === "kube-root-ca.crt") return [];
  const { apiVersion: _a, kind: _k, metadata: _m, status: _s, ...content } = item;
  return [`${member} has ${path.split("/").at(-1)}/${name} ${JSON.stringify(sorted(content))}`];
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, sorted(member)]),
  );
}

/** Without what chance and the moment decide, and without who refused. */
function plain(line: string): string {
  return line
    .replaceAll(/admission webhook "[^"]+" denied the request: /g, "")
    .replaceAll(/\d+(\.\d+)? ?(ms|s)\b/g, "N s")
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "TIME")
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22,}/g, "UID");
}
