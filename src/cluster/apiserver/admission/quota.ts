import { isConflict, isNotFound } from "../../../kernel/errors/index.js";
import { addQuantities, compareQuantities, formatQuantity, zeroQuantity } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Logger } from "../../../kernel/log/index.js";
import { follow } from "../auth/index.js";
import { forbidden, internalError } from "../failures.js";
import { copy, equalJson, objectAt, stringAt } from "../fields.js";
import { listPrefix, parseKey } from "../store/keys.js";
import type { AdmissionPlugin, AdmissionRequest, Store, Stored, StoreEvent } from "../types.js";
import { type Amounts, amountsIn, toList } from "./quantities.js";
import { countUsage, inScope, type Resource, resourceOf, unspecified, usageOf, withId } from "./quota-usage.js";

const quotas = { group: "", plural: "resourcequotas" };

/** Holds namespaces to their ResourceQuotas and keeps the quotas' status. */
export function resourceQuota(store: Store, log: Logger): AdmissionPlugin & { close(): void } {
  const tracker = trackUsage(store, log);
  return {
    name: "ResourceQuota",
    close: () => tracker.close(),
    validate(request) {
      const { object, operation, subresource, namespace, type } = request;
      const isWrite = operation === "CREATE" || operation === "UPDATE";
      if (!isWrite || object === undefined || namespace === "") return undefined;
      if (subresource !== "" && subresource !== "resize") return undefined;
      const { items } = store.list(listPrefix(quotas, namespace));
      const resource = { group: type.group, plural: type.plural };
      return items.length === 0 ? undefined : spendAll(store, items, { request, resource, object });
    },
  };
}

async function spendAll(store: Store, of: readonly Stored[], demand: Demand): Promise<void> {
  for (const { key } of of) await spend(store, key, demand);
}

interface Demand {
  readonly request: AdmissionRequest;
  readonly resource: Resource;
  readonly object: JsonObject;
}

/** Books the object on one quota; throws 403 when it does not fit. The booking is compare-and-swap: no two creates share the last place. */
async function spend(store: Store, key: string, demand: Demand): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const quota = store.get(key);
    if (quota === undefined) return;
    const next = booked(store, quota, demand);
    if (next === undefined || demand.request.dryRun) return;
    try {
      await store.update(key, quota.revision, next);
      return;
    } catch (error) {
      if (isNotFound(error)) return;
      if (!isConflict(error)) throw error;
    }
  }
  throw internalError("resource quota evaluation timed out: the quota changes too fast");
}

function booked(store: Store, quota: Stored, { request, resource, object }: Demand): JsonObject | undefined {
  const { value } = quota;
  const name = stringAt(objectAt(value, "metadata"), "name");
  const hard = amountsIn(objectAt(objectAt(value, "spec"), "hard"));
  const about = [...hard.keys()].filter((item) => isSame(resourceOf(item), resource));
  if (about.length === 0 || !inScope(value, resource, object)) return undefined;
  const refuse = (why: string) => forbidden(resource, request.name, why);
  if (resource.plural === "pods" && request.operation === "CREATE") {
    const silent = unspecified(about, object);
    if (silent.length > 0) throw refuse(`failed quota: ${name}: must specify ${silent.join("; ")}`);
  }
  const delta = increase(resource, object, request.old);
  const counted = amountsIn(objectAt(objectAt(value, "status"), "used"));
  const isCounted = [...hard.keys()].every((item) => counted.has(item));
  const used = isCounted ? counted : countUsage(store, value, request.namespace);
  const after: Amounts = new Map(used);
  const exceeded: string[] = [];
  for (const item of about) {
    const more = delta.get(item);
    if (more === undefined || more.nanos <= 0n) continue;
    const sum = addQuantities(used.get(item) ?? zeroQuantity, more);
    after.set(item, sum);
    if (compareQuantities(sum, hard.get(item) ?? zeroQuantity) > 0) exceeded.push(item);
  }
  if (exceeded.length > 0) {
    const show = (amounts: Amounts) =>
      exceeded
        .toSorted()
        .map((item) => `${item}=${formatQuantity(amounts.get(item) ?? zeroQuantity)}`)
        .join(",");
    throw refuse(`exceeded quota: ${name}, requested: ${show(delta)}, used: ${show(used)}, limited: ${show(hard)}`);
  }
  return withStatus(value, after);
}

function increase(resource: Resource, object: JsonObject, old: JsonObject | undefined): Amounts {
  const delta = usageOf(resource, object);
  if (old === undefined) return delta;
  for (const [name, before] of usageOf(resource, old)) {
    const now = delta.get(name) ?? zeroQuantity;
    delta.set(name, { ...now, nanos: now.nanos - before.nanos });
  }
  return delta;
}

function isSame(left: Resource | undefined, right: Resource): boolean {
  return left?.group === right.group && left.plural === right.plural;
}

/** The quota with this usage in its status; `undefined` when it says so already. */
function withStatus(quota: JsonObject, used: Amounts): JsonObject | undefined {
  const hard = objectAt(objectAt(quota, "spec"), "hard");
  const status = { hard: copy(hard), used: toList(used) };
  if (equalJson(quota["status"], status)) return undefined;
  return { ...copy(quota), status };
}

/** Counts again what deletions, ends of pods and changes of quotas alter. */
function trackUsage(store: Store, log: Logger): { close(): void } {
  const followed = new Map<string, { close(): void }>();
  const dirty = new Set<string>();
  let isClosed = false;
  let isCounting = false;
  const recount = async () => {
    isCounting = true;
    while (dirty.size > 0 && !isClosed) {
      const [namespace = ""] = dirty;
      dirty.delete(namespace);
      for (const { key } of store.list(listPrefix(quotas, namespace)).items) await recountOne(store, key, namespace);
    }
    isCounting = false;
  };
  const mark = (namespace: string) => {
    dirty.add(namespace);
    if (isCounting || isClosed) return;
    recount().catch((error: unknown) => {
      isCounting = false;
      if (!isClosed) log.warn("quota usage not counted", { err: error });
    });
  };
  const followResources = () => {
    const wanted = new Map(store.list(listPrefix(quotas, "")).items.flatMap(({ value }) => resourcesIn(value)));
    for (const [id, resource] of wanted) {
      if (followed.has(id)) continue;
      const apply = (event: StoreEvent) => {
        if (lessens(event)) mark(parseKey(event.now.key).namespace);
      };
      const onGap = () => markAll();
      followed.set(id, follow(store, listPrefix(resource, ""), { onEvents: (events) => events.forEach(apply), onGap }));
    }
  };
  const markAll = () => {
    for (const { key } of store.list(listPrefix(quotas, "")).items) mark(parseKey(key).namespace);
  };
  const own = follow(store, listPrefix(quotas, ""), {
    onEvents: (events) => {
      const changed = events.filter((event) => event.type === "put" && isUncounted(event.now.value));
      if (changed.length > 0) followResources();
      for (const { now } of changed) mark(parseKey(now.key).namespace);
    },
    onGap: markAll,
  });
  followResources();
  markAll();
  return {
    close() {
      isClosed = true;
      own.close();
      for (const watch of followed.values()) watch.close();
    },
  };
}

async function recountOne(store: Store, key: string, namespace: string): Promise<void> {
  for (;;) {
    const quota = store.get(key);
    if (quota === undefined) return;
    const next = withStatus(quota.value, countUsage(store, quota.value, namespace));
    if (next === undefined) return;
    try {
      await store.update(key, quota.revision, next);
      return;
    } catch (error) {
      if (isNotFound(error)) return;
      if (!isConflict(error)) throw error;
    }
  }
}

function resourcesIn(quota: JsonObject): [string, Resource][] {
  return Object.keys(objectAt(objectAt(quota, "spec"), "hard")).flatMap((name) => withId(resourceOf(name)));
}

function isUncounted(quota: JsonObject): boolean {
  return !equalJson(objectAt(objectAt(quota, "status"), "hard"), objectAt(objectAt(quota, "spec"), "hard"));
}

/** Whether less may be used after this: something went, or a pod ended. */
function lessens(event: StoreEvent): boolean {
  if (event.type === "delete") return true;
  const phase = (object: JsonObject) => stringAt(objectAt(object, "status"), "phase");
  return event.old !== undefined && phase(event.old.value) !== phase(event.now.value);
}
