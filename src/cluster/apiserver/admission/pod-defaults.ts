import type { JsonObject } from "../../../kernel/kinds/object.js";
import { forbidden } from "../failures.js";
import { isObject, objectAt, stringAt } from "../fields.js";
import { listPrefix, objectKey } from "../store/keys.js";
import type { AdmissionPlugin, AdmissionRequest, Store } from "../types.js";

const noExecuteKeys = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/** Pods stay five minutes on a node that is not ready or not reachable, unless they say otherwise. */
export function defaultTolerationSeconds(): AdmissionPlugin {
  return {
    name: "DefaultTolerationSeconds",
    mutate(request) {
      // On updates as well: whoever replaces the list means the tolerations of their own.
      const spec = podSpecOf(request);
      if (spec === undefined || request.operation === "DELETE") return;
      const given = spec["tolerations"];
      const tolerations = Array.isArray(given) ? given : [];
      const isTolerated = (key: string) =>
        tolerations.filter(isObject).some((toleration) => {
          const [ownKey, effect] = [stringAt(toleration, "key"), stringAt(toleration, "effect")];
          return (ownKey === key || ownKey === "") && (effect === "NoExecute" || effect === "");
        });
      const added = noExecuteKeys
        .filter((key) => !isTolerated(key))
        .map((key) => ({ key, operator: "Exists", effect: "NoExecute", tolerationSeconds: 300 }));
      if (added.length > 0) spec["tolerations"] = [...tolerations, ...added];
    },
  };
}

const priorityClasses = { group: "scheduling.k8s.io", plural: "priorityclasses" };

/** Resolves a pod's PriorityClass to its number; there is at most one default class. */
export function podPriority(store: Store): AdmissionPlugin {
  const defaultClass = (): JsonObject | undefined =>
    store
      .list(listPrefix(priorityClasses, ""))
      .items.map(({ value }) => value)
      .filter((value) => value["globalDefault"] === true)
      .toSorted((left, right) => priorityOf(left) - priorityOf(right))[0];
  return {
    name: "Priority",
    mutate(request) {
      const spec = newPodSpec(request);
      if (spec === undefined) return;
      const name = stringAt(spec, "priorityClassName");
      const found = name === "" ? defaultClass() : store.get(objectKey(priorityClasses, "", name))?.value;
      if (name !== "" && found === undefined)
        throw forbidden({ group: "", plural: "pods" }, request.name, `no PriorityClass with name ${name} was found`);
      const priority = priorityOf(found);
      if (typeof spec["priority"] === "number" && spec["priority"] !== priority)
        throw forbidden(
          { group: "", plural: "pods" },
          request.name,
          `the integer value of priority (${spec["priority"]}) must not be provided in pod spec; priority admission controller computed ${priority} from the given PriorityClass name`,
        );
      if (found !== undefined) spec["priorityClassName"] = stringAt(objectAt(found, "metadata"), "name");
      spec["priority"] = priority;
      const policy = (found === undefined ? "" : stringAt(found, "preemptionPolicy")) || "PreemptLowerPriority";
      if (typeof spec["preemptionPolicy"] === "string" && spec["preemptionPolicy"] !== policy)
        throw forbidden(
          { group: "", plural: "pods" },
          request.name,
          `the string value of PreemptionPolicy (${spec["preemptionPolicy"]}) must not be provided in pod spec; priority admission controller computed ${policy} from the given PriorityClass name`,
        );
      spec["preemptionPolicy"] = policy;
    },
    validate(request) {
      const { type, object, name } = request;
      if (type.group !== priorityClasses.group || type.plural !== priorityClasses.plural) return;
      if (object?.["globalDefault"] !== true) return;
      const other = defaultClass();
      const otherName = other === undefined ? name : stringAt(objectAt(other, "metadata"), "name");
      if (otherName !== name)
        throw forbidden(
          priorityClasses,
          name,
          `PriorityClass ${otherName} is already marked as default. Only one default can exist`,
        );
    },
  };
}

function priorityOf(priorityClass: JsonObject | undefined): number {
  const value = priorityClass?.["value"];
  return typeof value === "number" ? value : 0;
}

/** The spec of a pod that is being created; `undefined` for other requests. */
function newPodSpec(request: AdmissionRequest): JsonObject | undefined {
  return request.operation === "CREATE" ? podSpecOf(request) : undefined;
}

function podSpecOf({ type, subresource, object }: AdmissionRequest): JsonObject | undefined {
  if (type.group !== "" || type.plural !== "pods" || subresource !== "") return undefined;
  const spec = object?.["spec"];
  return isObject(spec) ? spec : undefined;
}
