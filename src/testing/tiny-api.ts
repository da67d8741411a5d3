import {
  type ApiClient,
  createClient,
  type Transport,
  type TransportRequest,
  type TransportResponse,
} from "../kernel/client/index.js";
import { seededRandom, virtualClock } from "../kernel/clock/index.js";
import { ApiError } from "../kernel/errors/index.js";

interface Meta {
  name: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  finalizers?: string[];
  deletionTimestamp?: string;
  [field: string]: unknown;
}
interface Obj {
  metadata: Meta;
  [field: string]: unknown;
}
interface Entry {
  revision: number;
  type: string;
  collection: string;
  object: Obj;
}
interface Watcher {
  collection: string;
  namespace: string;
  push(line: string): void;
  end(): void;
}

const failure = (code: number, reason: string, message = reason): ApiError =>
  new ApiError({ kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", message, reason, code });

/**
 * The least that answers like an API server, for tests of the client itself: any kind, list and watch with history, optimistic
 * writes, merge patches, finalizers; and switches for what goes wrong (outage, compaction, silence). Not the embedded API server.
 */
export class TinyApi implements Transport {
  readonly objects = new Map<string, Obj>();
  readonly requests: string[] = [];
  /** Requests fail as if nobody listened. */
  isDown = false;
  /** Requests are refused for want of rights. */
  isForbidding = false;
  /** Watches stay open but nothing arrives: a half-open socket. */
  isSilent = false;
  /** Answers that are held back until released. */
  revision = 100;
  #history: Entry[] = [];
  #compactedAt = 0;
  #watchers = new Set<Watcher>();
  #uid = 0;

  compact(): void {
    this.#compactedAt = this.revision;
    this.#history = [];
  }

  cutWatches(): void {
    for (const watcher of this.#watchers) watcher.end();
  }

  get watchCount(): number {
    return this.#watchers.size;
  }

  bookmark(): void {
    for (const w of this.#watchers)
      w.push(JSON.stringify({ type: "BOOKMARK", object: { metadata: { resourceVersion: String(this.revision) } } }));
  }

  async request(request: TransportRequest): Promise<TransportResponse> {
    this.requests.push(`${request.method} ${request.path}`);
    await new Promise((resolve) => setImmediate(resolve));
    if (this.isDown) throw new TypeError("connect ECONNREFUSED");
    if (this.isForbidding) throw failure(403, "Forbidden", "it is forbidden");
    request.signal?.throwIfAborted();
    const url = new URL(request.path, "http://tiny");
    if (url.searchParams.get("watch") === "true") return this.#watch(url, request.signal);
    try {
      return json(200, this.#answer(request, url));
    } catch (error) {
      if (error instanceof ApiError) return json(error.httpCode, error.status);
      throw error;
    }
  }

  upgrade(): never {
    throw failure(501, "NotImplemented");
  }

  async close(): Promise<void> {
    this.cutWatches();
  }

  #answer(request: TransportRequest, url: URL): object {
    const { collection, namespace, name, subresource } = parsePath(url.pathname);
    const key = `${collection}/${namespace}/${name}`;
    const body = request.body === undefined ? { metadata: { name: "" } } : (JSON.parse(String(request.body)) as Obj);
    const current = this.objects.get(key);
    if (request.method === "GET" && name === "") return this.#list(collection, namespace, url);
    if (request.method === "POST") {
      this.#uid += 1;
      const created = { ...body, metadata: { ...body.metadata, ...(namespace ? { namespace } : {}) } } as Obj;
      created.metadata.name ??= `${created.metadata.generateName}${this.#uid}`;
      const createdKey = `${collection}/${namespace}/${created.metadata.name}`;
      if (this.objects.has(createdKey)) throw failure(409, "AlreadyExists");
      created.metadata.uid = `uid-${this.#uid}`;
      created.metadata.creationTimestamp = "2026-01-01T00:00:00Z";
      created.metadata.managedFields = [{ manager: "tiny" }];
      return this.#store(createdKey, collection, created, "ADDED");
    }
    if (current === undefined) throw failure(404, "NotFound", `${name} not found`);
    if (request.method === "GET") return current;
    if (request.method === "DELETE") return this.#delete(key, collection, current);
    const version = body.metadata?.resourceVersion;
    if (version !== undefined && version !== current.metadata.resourceVersion) throw failure(409, "Conflict");
    const merged =
      request.method === "PUT"
        ? subresource === "status"
          ? { ...current, status: body["status"] }
          : body
        : mergePatch(current, body);
    const { deletionTimestamp, finalizers = [] } = merged.metadata;
    if (deletionTimestamp !== undefined && finalizers.length === 0) return this.#remove(key, collection, merged);
    return this.#store(key, collection, structuredClone(merged), "MODIFIED");
  }

  #delete(key: string, collection: string, current: Obj): object {
    if ((current.metadata.finalizers ?? []).length === 0) {
      this.#remove(key, collection, current);
      return { kind: "Status", apiVersion: "v1", status: "Success", details: { uid: current.metadata.uid } };
    }
    return this.#store(
      key,
      collection,
      mergePatch(current, { metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" } }),
      "MODIFIED",
    );
  }

  #remove(key: string, collection: string, current: Obj): Obj {
    this.objects.delete(key);
    return this.#record("DELETED", collection, structuredClone(current));
  }

  #store(key: string, collection: string, object: Obj, type: string): Obj {
    this.objects.set(key, object);
    return this.#record(type, collection, object);
  }

  #record(type: string, collection: string, object: Obj): Obj {
    this.revision += 1;
    object.metadata.resourceVersion = String(this.revision);
    const entry = { revision: this.revision, type, collection, object };
    this.#history.push(entry);
    if (!this.isSilent) for (const watcher of this.#watchers) deliver(watcher, entry);
    return object;
  }

  #list(collection: string, namespace: string, url: URL): object {
    const items = [...this.objects]
      .filter(([key]) => key.startsWith(`${collection}/${namespace === "" ? "" : `${namespace}/`}`))
      .map(([, object]) => object);
    const start = Number(url.searchParams.get("continue") ?? 0);
    const limit = Number(url.searchParams.get("limit") ?? items.length);
    const rest = start + limit < items.length ? { continue: String(start + limit) } : {};
    return {
      kind: "List",
      metadata: { resourceVersion: String(this.revision), ...rest },
      items: items.slice(start, start + limit).map(({ kind: _k, apiVersion: _a, ...item }) => item),
    };
  }

  #watch(url: URL, signal: AbortSignal | undefined): TransportResponse {
    const { collection, namespace } = parsePath(url.pathname);
    const from = Number(url.searchParams.get("resourceVersion") ?? this.revision);
    if (from < this.#compactedAt) {
      const gone = `${JSON.stringify({ type: "ERROR", object: failure(410, "Expired").status })}\n`;
      return {
        status: 200,
        headers: {},
        body: (async function* () {
          yield Buffer.from(gone);
        })(),
      };
    }
    const lines: string[] = [];
    let wake = (): void => undefined;
    let ended = false;
    const watcher: Watcher = {
      collection,
      namespace,
      push: (line) => {
        lines.push(line);
        wake();
      },
      end: () => {
        ended = true;
        wake();
      },
    };
    this.#watchers.add(watcher);
    for (const entry of this.#history) if (entry.revision > from) deliver(watcher, entry);
    signal?.addEventListener("abort", () => wake(), { once: true });
    const watchers = this.#watchers;
    async function* body(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) {
          signal?.throwIfAborted();
          if (lines.length > 0)
            yield Buffer.from(
              lines
                .splice(0)
                .map((line) => `${line}\n`)
                .join(""),
            );
          else if (ended) return;
          else
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
        }
      } finally {
        watchers.delete(watcher);
      }
    }
    return { status: 200, headers: {}, body: body() };
  }
}

function deliver(watcher: Watcher, { type, collection, object }: Entry): void {
  if (watcher.collection !== collection) return;
  if (watcher.namespace !== "" && watcher.namespace !== object.metadata.namespace) return;
  watcher.push(JSON.stringify({ type, object }));
}

function json(status: number, value: unknown): TransportResponse {
  const bytes = Buffer.from(JSON.stringify(value));
  return {
    status,
    headers: { "content-type": "application/json" },
    body: (async function* () {
      yield bytes;
    })(),
  };
}

function mergePatch<T extends object>(target: T, patch: object): T {
  const result = { ...target } as Record<string, unknown>;
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else if (typeof value === "object" && !Array.isArray(value)) {
      result[key] = mergePatch((result[key] ?? {}) as object, value as object);
    } else result[key] = value;
  }
  return result as T;
}

function parsePath(path: string) {
  const parts = path.split("/").slice(1).map(decodeURIComponent);
  const rest = parts[0] === "api" ? parts.slice(2) : parts.slice(3);
  const group = parts[0] === "api" ? "core" : `${parts[1]}`;
  const namespace = rest[0] === "namespaces" && rest.length > 2 ? (rest[1] ?? "") : "";
  const tail = namespace === "" ? rest : rest.slice(2);
  return { collection: `${group}.${tail[0]}`, namespace, name: tail[1] ?? "", subresource: tail[2] ?? "" };
}

/** A tiny API with a client on a virtual clock. */
export function tinyCluster(seed = 1) {
  const api = new TinyApi();
  const clock = virtualClock();
  const random = seededRandom(seed);
  const client: ApiClient = createClient({ transport: api, clock, random });
  return { api, clock, random, client };
}
