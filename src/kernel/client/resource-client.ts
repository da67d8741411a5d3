import { ApiError, isExpired, isNotFound } from "../errors/index.js";
import { apiVersionOf, type Json, type JsonObject, type Kind, type KubeObject } from "../kinds/index.js";
import { isObject } from "../schema/index.js";
import type { Exchange } from "./exchange.js";
import { failureFrom, localFailure } from "./failures.js";
import { decodeLines } from "./lines.js";
import { collectionPath, listQuery, objectPath, watchQuery, withQuery, writeQuery } from "./paths.js";
import { ToldTwice } from "./told-twice.js";
import type {
  AcknowledgedWrite,
  ApplyOptions,
  DeleteOptions,
  ListOptions,
  ObjectList,
  PatchType,
  ResourceClient,
  WatchEvent,
  WatchOptions,
  WriteOptions,
} from "./types.js";
import { asJson, asObject, parseJson } from "./wire.unsafe.js";

const pageSize = 500;

const patchContentTypes: Readonly<Record<PatchType, string>> = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
};

interface Dependencies {
  readonly exchange: Exchange;
  readonly onWrite: (write: AcknowledgedWrite) => void;
}

interface Write {
  readonly method: string;
  readonly path: string;
  readonly body: object;
  readonly options: WriteOptions & Partial<ApplyOptions>;
  readonly contentType?: string;
}

function deleteBody(options: DeleteOptions): string {
  const { gracePeriodSeconds, propagationPolicy, preconditions } = options;
  return JSON.stringify({
    apiVersion: "v1",
    kind: "DeleteOptions",
    gracePeriodSeconds,
    propagationPolicy,
    preconditions,
  });
}

function readPage<T extends KubeObject>(kind: Kind<T>, answer: Json): ObjectList<T> {
  if (!isObject(answer) || !isObject(answer["metadata"]))
    throw localFailure(500, `the server sent no list of ${kind.plural}`);
  const { resourceVersion, continue: next } = answer["metadata"];
  const items = Array.isArray(answer["items"]) ? answer["items"] : [];
  return {
    items: items.map((item) => asObject<T>(item, kind)),
    resourceVersion: typeof resourceVersion === "string" ? resourceVersion : "",
    ...(typeof next === "string" && next !== "" ? { continue: next } : {}),
  };
}

function readEvent<T extends KubeObject>(kind: Kind<T>, event: unknown): WatchEvent<T> {
  const type = isObject(event) ? event["type"] : undefined;
  const object = isObject(event) ? event["object"] : undefined;
  if (type === "ADDED" || type === "MODIFIED" || type === "DELETED" || type === "BOOKMARK")
    return { type, object: asObject<T>(object, kind) };
  if (type !== "ERROR") throw localFailure(500, `the server sent an unknown watch event of ${kind.plural}`);
  const code = isObject(object) && typeof object["code"] === "number" ? object["code"] : 500;
  throw failureFrom(code, JSON.stringify(object ?? {}), `watch of ${kind.plural}`);
}

/** Whether an answer to a delete still shows the object: it has finalizers (a Namespace's are in its spec) or time left. */
function isStillThere(object: KubeObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds = 0, finalizers = [] } = object.metadata;
  if (deletionTimestamp === undefined) return false;
  const spec = "spec" in object && isObject(object.spec) ? object.spec : {};
  const inSpec = Array.isArray(spec["finalizers"]) ? spec["finalizers"] : [];
  return deletionGracePeriodSeconds > 0 || finalizers.length + inSpec.length > 0;
}

/** Typed calls on one kind over an exchange. */
export function createResourceClient<T extends KubeObject>(
  kind: Kind<T>,
  dependencies: Dependencies,
): ResourceClient<T> {
  const last = new ToldTwice<T>();
  return { kind, ...readsOf(kind, dependencies.exchange, last), ...writesOf(kind, dependencies, last) };
}

type Reads<T extends KubeObject> = Pick<ResourceClient<T>, "get" | "find" | "list" | "watch" | "watchTogether">;

function readsOf<T extends KubeObject>(kind: Kind<T>, exchange: Exchange, last: ToldTwice<T>): Reads<T> {
  const listPage = async (options: ListOptions): Promise<ObjectList<T>> => {
    const path = withQuery(collectionPath(kind, options.namespace), listQuery(options));
    const takesObjects = options.isShared === true;
    return readPage(kind, await exchange.json("GET", path, { signal: options.signal, takesObjects }));
  };

  const listAll = async (options: ListOptions): Promise<ObjectList<T>> => {
    const items: T[] = [];
    let page = await listPage({ ...options, limit: pageSize });
    const { resourceVersion } = page;
    for (;;) {
      for (const item of page.items) items.push(item);
      if (page.continue === undefined) return { items, resourceVersion };
      const { resourceVersion: _version, resourceVersionMatch: _match, ...next } = options;
      page = await listPage({ ...next, limit: pageSize, continue: page.continue });
    }
  };

  const get: Reads<T>["get"] = async (name, options = {}) =>
    asObject<T>(
      await exchange.json("GET", objectPath(kind, name, options.namespace), { signal: options.signal }),
      kind,
    );

  return {
    get,
    async find(name, options) {
      try {
        return await get(name, options);
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
    },
    async list(options = {}) {
      if (options.limit !== undefined || options.continue !== undefined) return listPage(options);
      try {
        return await listAll(options);
      } catch (error) {
        // The snapshot of the first page was compacted meanwhile: one unpaged read cannot expire.
        if (isExpired(error)) return listPage(options);
        throw error;
      }
    },
    async *watch(options = {}) {
      for await (const events of watchTogether(kind, { exchange, last }, options)) yield* events;
    },
    watchTogether: (options = {}) => watchTogether(kind, { exchange, last }, options),
  };
}

/** What arrives together is told together: who reads it pays for one promise, and not one an event. */
async function* watchTogether<T extends KubeObject>(
  kind: Kind<T>,
  { exchange, last }: { readonly exchange: Exchange; readonly last: ToldTwice<T> },
  options: WatchOptions,
): AsyncGenerator<readonly WatchEvent<T>[]> {
  const path = withQuery(collectionPath(kind, options.namespace), watchQuery(options));
  const takesObjects = options.isShared === true;
  const stream = await exchange.watch(path, { signal: options.signal, takesObjects });
  if ("events" in stream) {
    for await (const events of stream.events) yield* allOf(events, (event) => readEvent(kind, event));
    return;
  }
  const about = `watch of ${kind.plural}`;
  for await (const lines of decodeLines(stream.body))
    yield* allOf(lines, (line) => last.event(line, (text) => readEvent(kind, parseJson(text, about))));
}

/** All that can be read, before the failure of what cannot. */
function* allOf<In, Out>(items: readonly In[], read: (item: In) => Out): Generator<readonly Out[]> {
  const all: Out[] = [];
  try {
    for (const item of items) all.push(read(item));
  } finally {
    if (all.length > 0) yield all;
  }
}

type Writes<T extends KubeObject> = Omit<ResourceClient<T>, "kind" | keyof Reads<T>>;

/** One write, told to whoever listens. */
function writerOf<T extends KubeObject>(
  kind: Kind<T>,
  { exchange, onWrite }: Dependencies,
  last: ToldTwice<T>,
): (write: Write) => Promise<T> {
  const apiVersion = apiVersionOf(kind);
  const write = async ({ method, path, body, options, contentType }: Write): Promise<T> => {
    const { value, isShared, text } = await exchange.answer(method, withQuery(path, writeQuery(options)), {
      content: body,
      signal: options.signal,
      ...(options.isBounded === true ? { isBounded: true } : {}),
      takesObjects: true,
      known: (answer) => asJson(last.answered(answer)),
      ...(contentType === undefined ? {} : { contentType }),
    });
    // A binding is answered with a Status, which has no metadata of its own.
    if (isObject(value) && value["kind"] === "Status") value["metadata"] ??= {};
    const object = asObject<T>(value, kind);
    if (options.dryRun === true || object.kind !== kind.kind || object.apiVersion !== apiVersion) return object;
    if (text !== undefined) last.keepAnswer(text, object);
    onWrite({ type: "put", object, isShared });
    return object;
  };
  return (asked) => {
    last.begin();
    return write(asked).finally(() => last.end());
  };
}

function writesOf<T extends KubeObject>(kind: Kind<T>, dependencies: Dependencies, last: ToldTwice<T>): Writes<T> {
  const { exchange } = dependencies;
  const apiVersion = apiVersionOf(kind);
  const write = writerOf(kind, dependencies, last);

  const update: Writes<T>["update"] = async (object, options = {}) =>
    write({
      method: "PUT",
      path: objectPath(kind, object.metadata.name, options.namespace ?? object.metadata.namespace, options.subresource),
      body: object,
      options,
    });

  const apply: Writes<T>["apply"] = async (object, options) =>
    write({
      method: "PATCH",
      path: objectPath(kind, object.metadata.name, options.namespace ?? object.metadata.namespace, options.subresource),
      body: { ...object, apiVersion, kind: kind.kind },
      options,
      contentType: "application/apply-patch+yaml",
    });

  return {
    update,
    apply,
    async create(object, options = {}) {
      const namespace = options.namespace ?? object.metadata.namespace;
      const path =
        options.subresource === undefined
          ? collectionPath(kind, requireNamespace(kind, namespace))
          : objectPath(kind, object.metadata.name ?? "", namespace, options.subresource);
      return write({ method: "POST", path, body: object, options });
    },
    updateStatus: async (object, options) => update(object, { ...options, subresource: "status" }),
    patch: async (name, type, patch, options = {}) =>
      write({
        method: "PATCH",
        path: objectPath(kind, name, options.namespace, options.subresource),
        body: patch,
        options,
        contentType: patchContentTypes[type],
      }),
    applyStatus: async (object, options) => apply(object, { ...options, subresource: "status" }),
    delete: (name, options = {}) => deleteObject(kind, name, options, dependencies),
    async deleteCollection(options = {}) {
      const path = withQuery(collectionPath(kind, options.namespace), listQuery(options));
      await exchange.json("DELETE", path, { body: deleteBody(options), signal: options.signal });
    },
  };
}

function requireNamespace(kind: Kind, namespace: string | undefined): string | undefined {
  if (kind.namespaced && namespace === undefined) throw localFailure(400, `${kind.kind}: a namespace is required`);
  return namespace;
}

async function deleteObject(
  kind: Kind,
  name: string,
  options: DeleteOptions,
  dependencies: Dependencies,
): Promise<void> {
  let answer: Json;
  try {
    answer = await dependencies.exchange.json("DELETE", objectPath(kind, name, options.namespace), {
      body: deleteBody(options),
      signal: options.signal,
    });
  } catch (error) {
    if (error instanceof ApiError && isNotFound(error)) return;
    throw error;
  }
  const namespace = kind.namespaced ? (options.namespace ?? "") : "";
  const report = dependencies.onWrite;
  if (!isObject(answer)) return;
  if (answer["kind"] === kind.kind) {
    const object = asObject(answer, kind);
    report(
      isStillThere(object)
        ? { type: "put", object, isShared: false }
        : { type: "gone", namespace, name, uid: object.metadata.uid },
    );
    return;
  }
  const uid = uidOfDetails(answer);
  if (uid !== undefined) report({ type: "gone", namespace, name, uid });
}

function uidOfDetails(status: JsonObject): string | undefined {
  const details = status["details"];
  const uid = isObject(details) ? details["uid"] : undefined;
  return typeof uid === "string" ? uid : undefined;
}
