import type { LabelSelector } from "kubernetes-types/meta/v1.js";
import type { Clock } from "../../../kernel/clock/index.js";
import { isConflict } from "../../../kernel/errors/index.js";
import { labelSelectorMatches } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Submit } from "../admission/index.js";
import { isPodOn, nodeNameOf } from "../auth/index.js";
import { badRequest, conflict, failure, forbidden, invalid, notFound, unexplained } from "../failures.js";
import { copy, equalJson, isObject, objectAt, stringAt, stringsAt } from "../fields.js";
import { bodyType } from "../registry/index.js";
import { listPrefix, objectKey } from "../store/keys.js";
import type { Store, Stored, VirtualResource } from "../types.js";
import { accepted, success, timestamp } from "./answers.js";
import { sayOfPod } from "./pod-conditions.js";

/** A race for a pod or a budget is run so often, as upstream. */
const maxAttempts = 20;

const pods = { group: "", plural: "pods" };
const budgets = { group: "policy", plural: "poddisruptionbudgets" };

export interface EvictionOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly submit: Submit;
}

/** `pods/eviction`: a delete that respects PodDisruptionBudgets. */
export function podEviction(options: EvictionOptions): VirtualResource {
  return {
    group: "",
    version: "v1",
    plural: "pods",
    subresource: "eviction",
    body: bodyType("policy", "v1", "Eviction"),
    async create({ object, namespace, name, user, dryRun, admit }) {
      const node = nodeNameOf(user);
      if (node !== undefined && !isPodOn(options.store, node, { namespace, name, uid: "" }))
        throw forbidden(pods, name, `node "${node}" can only evict pods with spec.nodeName set to itself`);
      if (stringAt(objectAt(object, "metadata"), "name") !== name)
        throw badRequest("name in URL does not match name in Eviction object");
      const asked = deleteOptionsOf(object, name, dryRun);
      await admit();
      await evict(options, { namespace, name }, asked);
      return success(201);
    },
  };
}

const evictionKind = { group: "policy", kind: "Eviction" };

/** The options of the delete: a rehearsal may be asked for in both places. Throws 422, 500. */
function deleteOptionsOf(eviction: JsonObject, name: string, dryRun: boolean): JsonObject {
  const { apiVersion: _apiVersion, kind: _kind, ...options } = objectAt(eviction, "deleteOptions");
  const field = "ignoreStoreReadErrorWithClusterBreakingPotential";
  if (options[field] === true) {
    const message = "Invalid value: true: can not be set for pod eviction, try after removing the option";
    throw invalid(evictionKind, name, [{ reason: "FieldValueInvalid", message, field: `deleteOptions.${field}` }]);
  }
  const own = stringsAt(options, "dryRun");
  if (!dryRun) return options;
  if (own.length === 0) return { ...options, dryRun: ["All"] };
  if (own.length > 1 || own[0] !== "All")
    throw unexplained(`Non-matching dry-run options in request and content: [All] and [${own.join(" ")}]`);
  return options;
}

interface Place {
  readonly namespace: string;
  readonly name: string;
}

/** Spends a budget where one guards the pod, marks the pod and deletes it. A pod that changes meanwhile is looked at again, unless the client named its version. */
async function evict(options: EvictionOptions, at: Place, asked: JsonObject): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const pod = options.store.get(objectKey(pods, at.namespace, at.name));
    if (pod === undefined) throw notFound(pods, at.name);
    const isRehearsal = stringsAt(asked, "dryRun").length > 0;
    const isFree = needsNoBudget(pod.value);
    const isFixed = isFree ? !isOver(pod.value) : await spendBudget(options, pod, { name: at.name, isRehearsal });
    const given = objectAt(asked, "preconditions");
    const isPinned = given["resourceVersion"] !== undefined;
    const preconditions =
      isFixed && !isPinned
        ? { ...given, resourceVersion: stringAt(objectAt(pod.value, "metadata"), "resourceVersion") }
        : given;
    try {
      await deletePod(options, at, { ...asked, preconditions });
      return;
    } catch (error) {
      if (!isConflict(error) || isPinned || !isFree || attempt >= maxAttempts) throw error;
    }
  }
}

/** Says on the pod why it goes, then deletes it. */
async function deletePod(options: EvictionOptions, at: Place, asked: JsonObject): Promise<void> {
  const isRehearsal = stringsAt(asked, "dryRun").length > 0;
  let preconditions = objectAt(asked, "preconditions");
  if (!isRehearsal) {
    const marked = await markPod(options, at, preconditions);
    const version = stringAt(objectAt(marked.value, "metadata"), "resourceVersion");
    if (preconditions["resourceVersion"] !== undefined) preconditions = { ...preconditions, resourceVersion: version };
  }
  const path = `/api/v1/namespaces/${at.namespace}/pods/${at.name}`;
  accepted(await options.submit("DELETE", path, { ...asked, preconditions }));
}

async function markPod({ store, clock }: EvictionOptions, at: Place, preconditions: JsonObject): Promise<Stored> {
  const pod = store.get(objectKey(pods, at.namespace, at.name));
  if (pod === undefined) throw notFound(pods, at.name);
  checkPreconditions(pod.value, at.name, preconditions);
  const marked = copy(pod.value);
  sayOfPod(marked, disruption, clock.now());
  return equalJson(pod.value, marked) ? pod : store.update(pod.key, pod.revision, marked);
}

const disruption = {
  type: "DisruptionTarget",
  status: "True",
  reason: "EvictionByEvictionAPI",
  message: "Eviction API: evicting",
};

function checkPreconditions(pod: JsonObject, name: string, preconditions: JsonObject): void {
  const metadata = objectAt(pod, "metadata");
  const about = { group: "", plural: "Pod" };
  const [uid, version] = [stringAt(preconditions, "uid"), stringAt(preconditions, "resourceVersion")];
  const [ownUid, ownVersion] = [stringAt(metadata, "uid"), stringAt(metadata, "resourceVersion")];
  if (uid !== "" && uid !== ownUid)
    throw conflict(
      about,
      name,
      `the UID in the precondition (${uid}) does not match the UID in record (${ownUid}). The object might have been deleted and then recreated`,
    );
  if (version !== "" && version !== ownVersion)
    throw conflict(
      about,
      name,
      `the ResourceVersion in the precondition (${version}) does not match the ResourceVersion in record (${ownVersion}). The object might have been modified`,
    );
}

/** Pods that do no work: their going disrupts nothing. */
function needsNoBudget(pod: JsonObject): boolean {
  const phase = stringAt(objectAt(pod, "status"), "phase");
  return isOver(pod) || phase === "Pending" || phase === "";
}

/** Pods that will do no work any more. */
function isOver(pod: JsonObject): boolean {
  const phase = stringAt(objectAt(pod, "status"), "phase");
  const isGoing = objectAt(pod, "metadata")["deletionTimestamp"] !== undefined;
  return isGoing || phase === "Succeeded" || phase === "Failed";
}

/** Takes one disruption from the budget that guards the pod, if any does. Resolves to whether the pod must still be as it was seen. Throws 403, 429, 500. */
async function spendBudget(
  options: EvictionOptions,
  pod: Stored,
  at: { readonly name: string; readonly isRehearsal: boolean },
): Promise<boolean> {
  const namespace = stringAt(objectAt(pod.value, "metadata"), "namespace");
  for (let attempt = 1; ; attempt += 1) {
    const guarding = budgetsOf(options.store, pod.value, namespace);
    const [budget] = guarding;
    if (budget === undefined) return false;
    if (guarding.length > 1)
      throw unexplained(
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
      );
    if (mayGoUnready(budget.value, pod.value)) return true;
    const next = spend(budget.value, at.name, options.clock.now());
    if (at.isRehearsal) return false;
    const name = stringAt(objectAt(budget.value, "metadata"), "name");
    const path = `/apis/policy/v1/namespaces/${namespace}/poddisruptionbudgets/${name}/status`;
    try {
      accepted(await options.submit("PUT", path, next));
      return false;
    } catch (error) {
      if (!isConflict(error)) throw error;
      if (attempt >= maxAttempts)
        throw failure(504, "Timeout", `Timeout: couldn't update PodDisruptionBudget "${name}" due to conflicts`, {
          retryAfterSeconds: 10,
        });
    }
  }
}

function budgetsOf(store: Store, pod: JsonObject, namespace: string): Stored[] {
  const labels = labelsOf(pod);
  return store
    .list(listPrefix(budgets, namespace))
    .items.filter(({ value }) => labelSelectorMatches(selectorOf(objectAt(value, "spec")), labels));
}

/** A pod that is not ready serves nobody: it may go if the budget says so, or if enough others are healthy. */
function mayGoUnready(budget: JsonObject, pod: JsonObject): boolean {
  const conditions = objectAt(pod, "status")["conditions"];
  const isReady =
    Array.isArray(conditions) &&
    conditions.filter(isObject).some((condition) => condition["type"] === "Ready" && condition["status"] === "True");
  if (isReady) return false;
  if (stringAt(objectAt(budget, "spec"), "unhealthyPodEvictionPolicy") === "AlwaysAllow") return true;
  const status = objectAt(budget, "status");
  const desired = numberAt(status, "desiredHealthy");
  return desired > 0 && numberAt(status, "currentHealthy") >= desired;
}

/** The budget with one disruption less; throws 429 when there is none to spend. */
function spend(budget: JsonObject, pod: string, now: number): JsonObject {
  const metadata = objectAt(budget, "metadata");
  const name = stringAt(metadata, "name");
  const status = objectAt(budget, "status");
  if (numberAt(status, "observedGeneration") < numberAt(metadata, "generation"))
    throw tooMany(`The disruption budget ${name} is still being processed by the server.`, 10);
  const allowed = numberAt(status, "disruptionsAllowed");
  if (allowed < 0) throw forbidden(budgets, name, "pdb disruptions allowed is negative");
  if (Object.keys(objectAt(status, "disruptedPods")).length > 2000)
    throw forbidden(budgets, name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
  if (allowed === 0)
    throw tooMany(
      `The disruption budget ${name} needs ${numberAt(status, "desiredHealthy")} healthy pods and has ${numberAt(status, "currentHealthy")} currently`,
    );
  const next = copy(budget);
  const nextStatus = objectAt(next, "status");
  nextStatus["disruptionsAllowed"] = allowed - 1;
  nextStatus["disruptedPods"] = { ...objectAt(status, "disruptedPods"), [pod]: timestamp(now) };
  if (allowed === 1) nextStatus["conditions"] = exhausted(status, now);
  return next;
}

/** The conditions of a budget from which nothing more can be taken. */
function exhausted(status: JsonObject, now: number): JsonObject[] {
  const conditions = status["conditions"];
  const list = Array.isArray(conditions) ? conditions.filter(isObject) : [];
  const before = list.find((condition) => condition["type"] === "DisruptionAllowed");
  const said = {
    type: "DisruptionAllowed",
    status: "False",
    observedGeneration: numberAt(status, "observedGeneration"),
    lastTransitionTime: before?.["status"] === "False" ? (before["lastTransitionTime"] ?? null) : timestamp(now),
    reason: "InsufficientPods",
    message: "",
  };
  return before === undefined ? [...list, said] : list.map((one) => (one === before ? said : one));
}

function tooMany(message: string, retryAfterSeconds?: number) {
  return failure(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", {
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    causes: [{ reason: "DisruptionBudget", message, field: "" }],
  });
}

function labelsOf(object: JsonObject): Record<string, string> {
  const labels = objectAt(objectAt(object, "metadata"), "labels");
  return Object.fromEntries(Object.keys(labels).map((key) => [key, stringAt(labels, key)]));
}

function selectorOf(spec: JsonObject): LabelSelector | undefined {
  const selector = spec["selector"];
  if (!isObject(selector)) return undefined;
  const matchLabels = objectAt(selector, "matchLabels");
  const expressions = selector["matchExpressions"];
  return {
    matchLabels: Object.fromEntries(Object.keys(matchLabels).map((key) => [key, stringAt(matchLabels, key)])),
    matchExpressions: (Array.isArray(expressions) ? expressions.filter(isObject) : []).map((expression) => ({
      key: stringAt(expression, "key"),
      operator: stringAt(expression, "operator"),
      values: stringsAt(expression, "values"),
    })),
  };
}

function numberAt(object: JsonObject, field: string): number {
  const value = object[field];
  return typeof value === "number" ? value : 0;
}
