import { createHash } from "node:crypto";
import type { Clock } from "../../src/kernel/clock/index.js";
import type { Json, JsonObject } from "../../src/kernel/kinds/index.js";
import { asObject, asString, cloneObject, equalJson, isObject } from "../../src/kernel/schema/index.js";

/** What a member answers. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Of a write: to be told when whoever wrote has heard of it. */
  readonly receipt?: Receipt;
}

/** A write that was carried out, and whether its answer arrived. */
export interface Receipt {
  isHeard: boolean;
}

/** A write that arrived, for the trace. */
export interface Written {
  readonly member: string;
  readonly line: string;
  /** Nothing changed, although whoever wrote knew of the write before. */
  readonly isRepeat: boolean;
}

/** Where a watch's lines go. */
export interface Sink {
  push(line: string): void;
  end(): void;
}

interface Stored {
  object: JsonObject;
  readonly applied: Map<string, JsonObject>;
  /** Digests of everything that was applied to it. */
  readonly seen: Set<string>;
  receipt: Receipt | undefined;
}

interface Change {
  readonly revision: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: JsonObject;
}

interface Watch {
  readonly sink: Sink;
  readonly namespace: string;
  readonly endMs: number;
}

interface Collection {
  readonly kind: ServedKind;
  readonly objects: Map<string, Stored>;
  changes: Change[];
  /** Changes up to here are forgotten. */
  forgotten: number;
  readonly watches: Set<Watch>;
}

interface ServedKind {
  readonly apiVersion: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
}

const served = (apiVersion: string, kind: string, plural: string, namespaced = true): ServedKind => ({
  apiVersion,
  kind,
  plural,
  namespaced,
});

/** The kinds of a simulated member. */
const KINDS: readonly ServedKind[] = [
  served("v1", "Namespace", "namespaces", false),
  served("v1", "Node", "nodes", false),
  served("v1", "Pod", "pods"),
  served("v1", "ConfigMap", "configmaps"),
  served("v1", "Secret", "secrets"),
  served("v1", "Service", "services"),
  served("v1", "ServiceAccount", "serviceaccounts"),
  served("apps/v1", "Deployment", "deployments"),
  served("batch/v1", "Job", "jobs"),
  served("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", false),
  served("tensorstack.dev/v1beta1", "MLService", "mlservices"),
  served("tensorstack.dev/v1beta1", "MLServiceRuntime", "mlserviceruntimes"),
];
const KEPT_CHANGES = 50;
const pathOf = (apiVersion: string): string => (apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion}`);
const DISCOVERY: ReadonlyMap<string, string> = new Map(
  [...new Set(KINDS.map(({ apiVersion }) => apiVersion))].map((groupVersion) => [
    pathOf(groupVersion),
    JSON.stringify({
      kind: "APIResourceList",
      groupVersion,
      resources: KINDS.filter(({ apiVersion }) => apiVersion === groupVersion).map(({ kind, plural, namespaced }) => ({
        name: plural,
        kind,
        namespaced,
        verbs: ["create", "delete", "get", "list", "patch", "update", "watch"],
      })),
    }),
  ]),
);
const GROUPS = JSON.stringify({
  kind: "APIGroupList",
  groups: [...DISCOVERY.keys()]
    .filter((path) => path.startsWith("/apis/"))
    .map((path) => path.slice("/apis/".length))
    .map((groupVersion) => ({
      name: groupVersion.split("/")[0],
      versions: [{ groupVersion, version: groupVersion.split("/")[1] }],
    })),
});

/** How a simulated member is. */
export interface MemberOptions {
  readonly name: string;
  readonly clock: Clock;
  /** How far its clock is ahead of the hub's. */
  readonly skewMs: number;
  /** How long its workloads take until they are ready. */
  readonly readyAfterMs: number;
  readonly nodes: readonly JsonObject[];
  readonly onWritten: (written: Written) => void;
}

/** The least of a Kubernetes that a hub needs of a member, in memory: objects with versions, server-side apply, watches; and workloads that get ready. */
export class SimulatedMember {
  readonly name: string;
  /** A token that opens it; others are answered with 401. */
  token = "1";
  /** Share of manifests that are refused, picked by their names, and with which status. */
  refusal: { readonly share: number; readonly status: number } | undefined;
  /** Its own workloads stand still too. */
  isFrozen = false;
  writes = 0;
  repeats = 0;
  /** Writes that brought back what an object had before something else. */
  flaps = 0;
  requests = 0;
  readonly #options: MemberOptions;
  readonly #collections = new Map<string, Collection>();
  #revision = 1;
  #uids = 0;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.name = options.name;
    for (const kind of KINDS)
      this.#collections.set(`${pathOf(kind.apiVersion)}/${kind.plural}`, {
        kind,
        objects: new Map(),
        changes: [],
        forgotten: 0,
        watches: new Set(),
      });
    for (const name of ["default", "kube-system"]) this.#seed("/api/v1/namespaces", { metadata: { name } });
    for (const node of options.nodes) this.#seed("/api/v1/nodes", node);
  }

  /** Answers a request; a watch is asked for with `watch`. */
  handle(request: {
    readonly method: string;
    readonly path: string;
    readonly body: string;
    readonly contentType: string;
    readonly token: string;
  }): Answer {
    this.requests += 1;
    if (request.token !== this.token) return failure(401, "Unauthorized", "Unauthorized");
    const [path = "", query = ""] = request.path.split("?");
    if (request.method === "GET") {
      if (path === "/readyz") return { status: 200, body: "ok" };
      if (path === "/version") return { status: 200, body: '{"major":"1","minor":"34","gitVersion":"v1.34.4"}' };
      if (path === "/apis") return { status: 200, body: GROUPS };
      const resources = DISCOVERY.get(path);
      if (resources !== undefined) return { status: 200, body: resources };
    }
    const place = this.#placeOf(path);
    if (place === undefined) return { status: 404, body: "404 page not found" };
    if (request.method === "GET")
      return place.name === "" ? this.#list(place, new URLSearchParams(query)) : this.#get(place);
    return this.#write(request, place, new URLSearchParams(query));
  }

  /** Opens a watch; the answer is a failure, or its undoing. */
  watch(path: string, token: string, sink: Sink): Answer | (() => void) {
    this.requests += 1;
    if (token !== this.token) return failure(401, "Unauthorized", "Unauthorized");
    const [plain = "", query = ""] = path.split("?");
    const place = this.#placeOf(plain);
    if (place === undefined) return { status: 404, body: "404 page not found" };
    const { collection, namespace } = place;
    const parameters = new URLSearchParams(query);
    const from = Number(parameters.get("resourceVersion") ?? this.#revision);
    if (from < collection.forgotten) {
      const { body } = failure(410, "Expired", "too old resource version");
      sink.push(`{"type":"ERROR","object":${body}}`);
      sink.end();
      return () => {};
    }
    const seconds = Number(parameters.get("timeoutSeconds") ?? 300);
    const watch: Watch = { sink, namespace, endMs: this.#options.clock.monotonicMs() + seconds * 1000 };
    collection.watches.add(watch);
    for (const change of collection.changes) if (change.revision > from) deliver(watch, change);
    return () => void collection.watches.delete(watch);
  }

  /** To be called about each minute: bookmarks for watches, the end of those that lasted long enough. */
  tick(): void {
    const nowMs = this.#options.clock.monotonicMs();
    const bookmark = `{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"${this.#revision}"}}}`;
    for (const { watches } of this.#collections.values())
      for (const watch of watches) {
        if (watch.endMs > nowMs) watch.sink.push(bookmark);
        else {
          watches.delete(watch);
          watch.sink.end();
        }
      }
  }

  /** An object as it is there now. */
  find(apiVersion: string, kind: string, namespace: string, name: string): JsonObject | undefined {
    for (const { kind: known, objects } of this.#collections.values())
      if (known.apiVersion === apiVersion && known.kind === kind)
        return objects.get(known.namespaced ? `${namespace}/${name}` : `/${name}`)?.object;
    return undefined;
  }

  /** Everything that came from a hub. */
  delivered(): JsonObject[] {
    return [...this.#collections.values()].flatMap(({ objects }) =>
      [...objects.values()].map(({ object }) => object).filter((object) => isDelivered(object)),
    );
  }

  /** What somebody in the member does to a share of what was delivered: it is taken away, or changed. Returns how many. */
  meddle(pick: (name: string) => boolean, how: "delete" | "change"): number {
    let count = 0;
    for (const collection of this.#collections.values()) {
      if (collection.kind.kind === "Namespace") continue;
      for (const [key, stored] of [...collection.objects]) {
        const { name = "" } = asObject(stored.object["metadata"]) as { name?: string };
        if (!isDelivered(stored.object) || !pick(`${this.name}/${key}/${name}`)) continue;
        count += 1;
        if (how === "delete") this.#remove(collection, key, stored);
        else {
          const object = cloneObject(stored.object);
          const field = collection.kind.kind === "ConfigMap" ? "data" : "spec";
          object[field] = Object.fromEntries(Object.keys(asObject(object[field])).map((name) => [name, "meddled"]));
          this.#put(collection, key, { ...stored, object, seen: new Set() }, "MODIFIED");
        }
      }
    }
    return count;
  }

  /** Whoever wrote does not know of it any more. */
  forgetHeard(): void {
    for (const { objects } of this.#collections.values())
      for (const { receipt } of objects.values()) if (receipt !== undefined) receipt.isHeard = false;
  }

  /** Objects with their versions, as one hash. */
  hash(): string {
    const hash = createHash("sha256");
    for (const [path, { objects }] of this.#collections)
      for (const [key, { object }] of objects) hash.update(`${path} ${key} ${JSON.stringify(object)}\n`);
    return hash.digest("hex");
  }

  #placeOf(path: string): Place | undefined {
    const parts = path.split("/");
    const head = parts[1] === "api" ? 3 : 4;
    const isScoped = parts[head] === "namespaces" && parts.length > head + 2;
    const [plural, name = "", subresource = ""] = parts.slice(isScoped ? head + 2 : head);
    const collection = this.#collections.get(`${parts.slice(0, head).join("/")}/${plural}`);
    if (collection === undefined) return undefined;
    return { collection, namespace: isScoped ? (parts[head + 1] ?? "") : "", name, subresource };
  }

  #get({ collection, namespace, name }: Place): Answer {
    const stored = collection.objects.get(`${namespace}/${name}`);
    return stored === undefined ? notFound(collection, name) : { status: 200, body: JSON.stringify(stored.object) };
  }

  #list({ collection, namespace }: Place, query: URLSearchParams): Answer {
    const all = [...collection.objects.values()].filter(
      ({ object }) => namespace === "" || asObject(object["metadata"])["namespace"] === namespace,
    );
    const start = Number(query.get("continue") ?? 0);
    const end = start + Number(query.get("limit") ?? all.length);
    const { apiVersion, kind } = collection.kind;
    const metadata = { resourceVersion: `${this.#revision}`, ...(end < all.length ? { continue: `${end}` } : {}) };
    const items = all.slice(start, end).map(({ object }) => object);
    return { status: 200, body: JSON.stringify({ apiVersion, kind: `${kind}List`, metadata, items }) };
  }

  #write(request: { method: string; body: string; contentType: string }, place: Place, query: URLSearchParams): Answer {
    const { collection } = place;
    const body = request.body === "" ? {} : asObject(JSON.parse(request.body));
    const name = place.name === "" ? asString(asObject(body["metadata"])["name"]) : place.name;
    const key = `${place.namespace}/${name}`;
    const stored = collection.objects.get(key);
    const isDry = query.get("dryRun") === "All";
    const { refusal } = this;
    if (request.method !== "DELETE" && refusal !== undefined && shareOf(`${this.name}/${key}`) < refusal.share)
      return failure(refusal.status, reasonOf(refusal.status), `admission webhook "no.example" denied ${name}`);
    if (request.method === "DELETE") return this.#delete(collection, key, name, body);
    return this.#change(request, { place, body, key, name, stored, isDry }, query);
  }

  #change(
    request: { method: string; contentType: string },
    { place, body, key, name, stored, isDry }: Asked,
    query: URLSearchParams,
  ): Answer {
    const { collection } = place;
    if (place.namespace !== "" && !this.#collection("/api/v1/namespaces").objects.has(`/${place.namespace}`))
      return failure(404, "NotFound", `namespaces "${place.namespace}" not found`);
    if (request.method === "POST") {
      if (stored !== undefined)
        return failure(409, "AlreadyExists", `${collection.kind.plural} "${name}" already exists`);
      return this.#carryOut(place, { key, name, isDry, manager: "", next: body, stored });
    }
    const manager = query.get("fieldManager") ?? "";
    if (request.contentType === "application/apply-patch+yaml") {
      const before = stored === undefined ? {} : without(stored.object, stored.applied.get(manager) ?? {}, body);
      return this.#carryOut(place, { key, name, isDry, manager, next: merge(before, body), stored, applied: body });
    }
    if (stored === undefined) return notFound(collection, name);
    const wanted = asString(asObject(body["metadata"])["resourceVersion"]);
    if (wanted !== "" && wanted !== asObject(stored.object["metadata"])["resourceVersion"])
      return failure(409, "Conflict", `${collection.kind.plural} "${name}" was changed meanwhile`);
    const next = request.method === "PUT" ? body : mergePatch(stored.object, body);
    return this.#carryOut(place, { key, name, isDry, manager, next, stored });
  }

  #carryOut({ collection, namespace }: Place, write: Write): Answer {
    const { stored, name, isDry, manager } = write;
    const { apiVersion, kind } = collection.kind;
    const old = asObject(stored?.object["metadata"]);
    const { status: _status, ...next } = write.next;
    const isSame = stored !== undefined && sameBut(stored.object, next);
    const isSameSpec = stored !== undefined && equalJson(bare(stored.object), bare(next));
    const nowMs = this.#options.clock.now() + this.#options.skewMs;
    const own =
      stored === undefined
        ? { uid: this.#uid(), creationTimestamp: `${new Date(nowMs).toISOString().slice(0, 19)}Z`, generation: 1 }
        : { ...serverFields(old), generation: Number(old["generation"] ?? 1) + (isSameSpec ? 0 : 1) };
    const scope = namespace === "" ? {} : { namespace };
    const metadata: JsonObject = { ...asObject(next["metadata"]), name, ...scope, ...own };
    const status = stored?.object["status"];
    const object = { ...next, apiVersion, kind, metadata, ...(status === undefined ? {} : { status }) };
    if (isDry) return { status: 200, body: JSON.stringify(object) };
    const isRepeat = isSame && stored.receipt?.isHeard === true;
    this.#note(`${write.applied === undefined ? "write" : "apply"} ${kind} ${write.key} ${digest(next)}`, isRepeat);
    const receipt: Receipt = { isHeard: false };
    const applied = stored?.applied ?? new Map<string, JsonObject>();
    const seen = stored?.seen ?? new Set<string>();
    if (write.applied !== undefined) {
      applied.set(manager, write.applied);
      this.#see(digest(write.applied), seen, isSame);
    }
    const now: Stored = { object: isSame ? stored.object : object, applied, seen, receipt };
    if (isSame) collection.objects.set(write.key, now);
    else {
      this.#put(collection, write.key, now, stored === undefined ? "ADDED" : "MODIFIED");
      this.#play(collection, write.key);
    }
    return { status: stored === undefined ? 201 : 200, body: JSON.stringify(now.object), receipt };
  }

  #see(content: string, seen: Set<string>, isSame: boolean): void {
    if (!isSame && seen.has(content)) this.flaps += 1;
    seen.add(content);
  }

  #delete(collection: Collection, key: string, name: string, options: JsonObject): Answer {
    const stored = collection.objects.get(key);
    if (stored === undefined) return notFound(collection, name);
    const uid = asString(asObject(stored.object["metadata"])["uid"]);
    const wanted = asString(asObject(options["preconditions"])["uid"]);
    if (wanted !== "" && wanted !== uid) return failure(409, "Conflict", `${name} is another object now`);
    this.#note(`delete ${collection.kind.kind} ${key}`, false);
    this.#remove(collection, key, stored);
    if (collection.kind.kind === "Namespace")
      for (const other of this.#collections.values())
        for (const [inside, object] of [...other.objects])
          if (inside.startsWith(`${name}/`)) this.#remove(other, inside, object);
    return {
      status: 200,
      body: JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Success", details: { uid } }),
    };
  }

  #note(line: string, isRepeat: boolean): void {
    this.writes += 1;
    if (isRepeat) this.repeats += 1;
    this.#options.onWritten({ member: this.name, line, isRepeat });
  }

  /** The part of whoever makes workloads true in the member. */
  #play(collection: Collection, key: string): void {
    const { kind } = collection.kind;
    if (kind !== "Deployment" && kind !== "MLService") return;
    const { clock, readyAfterMs } = this.#options;
    clock.setTimer(readyAfterMs, () => {
      const stored = collection.objects.get(key);
      if (stored === undefined) return;
      if (this.isFrozen) {
        this.#play(collection, key);
        return;
      }
      const status = statusOf(kind, stored.object);
      if (equalJson(status, stored.object["status"] ?? null)) return;
      this.#put(collection, key, { ...stored, object: { ...stored.object, status } }, "MODIFIED");
    });
  }

  #seed(path: string, object: JsonObject): void {
    const collection = this.#collection(path);
    const { apiVersion, kind } = collection.kind;
    const metadata = { ...asObject(object["metadata"]), uid: this.#uid(), creationTimestamp: "2026-01-01T00:00:00Z" };
    const own = { ...object, apiVersion, kind, metadata };
    const stored = { object: own, applied: new Map(), seen: new Set<string>(), receipt: undefined };
    this.#put(collection, `/${asString(asObject(object["metadata"])["name"])}`, stored, "ADDED");
  }

  #collection(path: string): Collection {
    const collection = this.#collections.get(path);
    if (collection === undefined) throw new Error(`a simulated member has no ${path}`);
    return collection;
  }

  #uid(): string {
    this.#uids += 1;
    return `${this.name}-${this.#uids}`;
  }

  #put(collection: Collection, key: string, stored: Stored, type: "ADDED" | "MODIFIED"): void {
    this.#revision += 1;
    const metadata = { ...asObject(stored.object["metadata"]), resourceVersion: `${this.#revision}` };
    stored.object = { ...stored.object, metadata };
    collection.objects.set(key, stored);
    this.#tell(collection, { revision: this.#revision, type, object: stored.object });
  }

  #remove(collection: Collection, key: string, { object }: Stored): void {
    this.#revision += 1;
    collection.objects.delete(key);
    const metadata = { ...asObject(object["metadata"]), resourceVersion: `${this.#revision}` };
    this.#tell(collection, { revision: this.#revision, type: "DELETED", object: { ...object, metadata } });
  }

  #tell(collection: Collection, change: Change): void {
    collection.changes.push(change);
    if (collection.changes.length > 2 * KEPT_CHANGES) {
      collection.changes = collection.changes.slice(-KEPT_CHANGES);
      collection.forgotten = (collection.changes[0]?.revision ?? 1) - 1;
    }
    for (const watch of collection.watches) deliver(watch, change);
  }
}

interface Place {
  readonly collection: Collection;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
}

interface Asked {
  readonly place: Place;
  readonly body: JsonObject;
  readonly key: string;
  readonly name: string;
  readonly stored: Stored | undefined;
  readonly isDry: boolean;
}

interface Write {
  readonly key: string;
  readonly name: string;
  readonly isDry: boolean;
  readonly manager: string;
  readonly next: JsonObject;
  readonly stored: Stored | undefined;
  readonly applied?: JsonObject;
}

function deliver({ sink, namespace }: Watch, { type, object }: Change): void {
  if (namespace !== "" && asObject(object["metadata"])["namespace"] !== namespace) return;
  sink.push(`{"type":"${type}","object":${JSON.stringify(object)}}`);
}

function isDelivered(object: JsonObject): boolean {
  return asObject(asObject(object["metadata"])["labels"])["karmada.io/managed"] === "true";
}

/** A failure as an API server tells it. */
export function failure(code: number, reason: string, message: string): Answer {
  const status = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, reason, code };
  return { status: code, body: JSON.stringify(status) };
}

function notFound({ kind }: Collection, name: string): Answer {
  return failure(404, "NotFound", `${kind.plural} "${name}" not found`);
}

const REASONS: Readonly<Record<number, string>> = { 400: "BadRequest", 403: "Forbidden", 422: "Invalid" };
const reasonOf = (status: number): string => REASONS[status] ?? "InternalError";

/** A number in [0, 1) that depends on the text alone. */
export function shareOf(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32BE() / 2 ** 32;
}

function digest(value: JsonObject): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 16);
}

const OWN_METADATA = ["uid", "creationTimestamp", "generation", "resourceVersion"] as const;

function serverFields({ uid = "", creationTimestamp = "", resourceVersion = "" }: JsonObject): JsonObject {
  return { uid, creationTimestamp, resourceVersion };
}

/** Whether an object says the same as it is written, but for what the server adds. */
function sameBut(object: JsonObject, next: JsonObject): boolean {
  const strip = ({ status: _status, metadata, ...rest }: JsonObject): JsonObject => {
    const own = { ...asObject(metadata) };
    for (const name of OWN_METADATA) delete own[name];
    return { ...rest, metadata: own };
  };
  return equalJson(strip(object), strip(next));
}

const bare = ({ status: _status, metadata: _metadata, apiVersion: _apiVersion, kind: _kind, ...rest }: JsonObject) =>
  rest;

/** Without what a manager applied before and does not any more. */
function without(object: JsonObject, before: JsonObject, now: JsonObject): JsonObject {
  const result: JsonObject = { ...object };
  for (const [name, value] of Object.entries(before)) {
    const [present, wanted] = [result[name], now[name]];
    if (isObject(value) && isObject(present)) {
      const rest = without(present, value, asObject(wanted));
      if (Object.keys(rest).length === 0 && wanted === undefined) delete result[name];
      else result[name] = rest;
    } else if (wanted === undefined) delete result[name];
  }
  return result;
}

function merge(object: JsonObject, more: JsonObject): JsonObject {
  const result: JsonObject = { ...object };
  for (const [name, value] of Object.entries(more)) {
    const present = result[name];
    if (value === undefined) continue;
    result[name] = isObject(value) && isObject(present) ? merge(present, value) : value;
  }
  return result;
}

function mergePatch(object: JsonObject, patch: JsonObject): JsonObject {
  const result: JsonObject = { ...object };
  for (const [name, value] of Object.entries(patch)) {
    if (value === null || value === undefined) delete result[name];
    else result[name] = isObject(value) ? mergePatch(asObject(result[name]), value) : value;
  }
  return result;
}

/** Of workloads that run: everything they were asked for is there. */
function statusOf(kind: string, object: JsonObject): Json {
  const spec = asObject(object["spec"]);
  const observedGeneration = Number(asObject(object["metadata"])["generation"] ?? 1);
  const condition = (type: string): JsonObject => ({ type, status: "True", reason: "Simulated", message: "" });
  if (kind === "Deployment") {
    const replicas = Number(spec["replicas"] ?? 1);
    return {
      observedGeneration,
      replicas,
      updatedReplicas: replicas,
      readyReplicas: replicas,
      availableReplicas: replicas,
      conditions: [condition("Available")],
    };
  }
  return { observedGeneration, defaultRelease: asString(spec["default"]), conditions: [condition("Ready")] };
}
