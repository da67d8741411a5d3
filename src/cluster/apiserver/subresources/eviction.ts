import type { LabelSelector } from "kubernetes-types/meta/v1.js";
import type { Clock } from "../../../kernel/clock/index.js";
import { isConflict } from "../../../kernel/errors/index.js";
import { labelSelectorMatches } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { Submit } from "../admission/index.js";
import { isPodOn, nodeNameOf } from "../auth/index.js";
import { badRequest, failure, forbidden, internalError, notFound } from "../failures.js";
import { copy, isObject, objectAt, stringAt, stringsAt } from "../fields.js";
import { listPrefix, objectKey } from "../store/keys.js";
import type { Store, Stored, SubresourceHandler } from "../types.js";
import { isDryRun, json, readObject, success, timestamp } from "./answers.js";

const pods = { group: "", plural: "pods" };
const budgets = { group: "policy", plural: "poddisruptionbudgets" };

export interface EvictionOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly submit: Submit;
}

/** `pods/eviction`: a delete that respects PodDisruptionBudgets. */
export function podEviction(options: EvictionOptions): SubresourceHandler {
  return {
    path: "pods/eviction",
    async handle({ request, info, user }) {
      const { namespace, name } = info;
      const node = nodeNameOf(user);
      if (node !== undefined && !isPodOn(options.store, node, { namespace, name, uid: "" }))
        throw forbidden(pods, name, `node "${node}" can only evict pods with spec.nodeName set to itself`);
      const eviction = readObject(request);
      const named = stringAt(objectAt(eviction, "metadata"), "name");
      if (named !== "" && named !== name) throw badRequest("name in URL does not match name in Eviction object");
      const pod = options.store.get(objectKey(pods, namespace, name));
      if (pod === undefined) throw notFound(pods, name);
      const dryRun = isDryRun(request);
      if (!needsNoBudget(pod.value)) await spendBudget(options, pod, { namespace, name, dryRun });
      const { metadata, spec } = {
        metadata: objectAt(pod.value, "metadata"),
        spec: objectAt(eviction, "deleteOptions"),
      };
      const given = objectAt(spec, "preconditions");
      const preconditions = { ...given, uid: given["uid"] ?? stringAt(metadata, "uid") };
      const path = `/api/v1/namespaces/${namespace}/pods/${name}${dryRun ? "?dryRun=All" : ""}`;
      const answer = await options.submit("DELETE", path, { ...spec, preconditions });
      return answer.status >= 300 ? answer : json(201, success(201));
    },
  };
}

/** Pods that do no work: their going disrupts nothing. */
function needsNoBudget(pod: JsonObject): boolean {
  const phase = stringAt(objectAt(pod, "status"), "phase");
  const isGoing = objectAt(pod, "metadata")["deletionTimestamp"] !== undefined;
  return isGoing || phase === "Succeeded" || phase === "Failed" || phase === "Pending" || phase === "";
}

async function spendBudget(
  { store, clock }: EvictionOptions,
  pod: Stored,
  at: { namespace: string; name: string; dryRun: boolean },
): Promise<void> {
  for (let attempt = 0; attempt < 5; attempt++) {
    const guarding = budgetsOf(store, pod.value, at.namespace);
    const [budget] = guarding;
    if (budget === undefined) return;
    if (guarding.length > 1)
      throw internalError(
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
      );
    if (mayGoUnready(budget.value, pod.value)) return;
    const next = spend(budget.value, at.name, timestamp(clock.now()));
    if (at.dryRun) return;
    try {
      await store.update(budget.key, budget.revision, next);
      return;
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
  }
  throw tooMany("the disruption budget changes too fast; try again");
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
function spend(budget: JsonObject, pod: string, now: string): JsonObject {
  const metadata = objectAt(budget, "metadata");
  const name = stringAt(metadata, "name");
  const status = objectAt(budget, "status");
  if (numberAt(status, "observedGeneration") < numberAt(metadata, "generation"))
    throw tooMany(`The disruption budget ${name} is still being processed by the server.`);
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
  nextStatus["disruptedPods"] = { ...objectAt(status, "disruptedPods"), [pod]: now };
  return next;
}

function tooMany(message: string) {
  return failure(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", {
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
