import type { Json, JsonObject } from "../../../kernel/kinds/index.js";
import { asList, asNumber, asObject, asObjects, asString, isObject, toJson } from "../../../kernel/schema/index.js";
import {
  OPERATION_FIELDS,
  type Operation,
  type ResourceInterpreterCustomization,
  scriptOf,
} from "./customization-kind.js";
import { KUBE_LIBRARY } from "./kube-library.js";
import { LuaError, Script, toJsonValue, typeName } from "./lua/index.js";
import { textsOf } from "./pods.js";
import type {
  Component,
  DependentObject,
  NodeClaim,
  PartialInterpreter,
  ReplicaRequirements,
  Replicas,
} from "./types.js";

/** What scripts run with. */
export interface ScriptSurroundings {
  readonly nowMs: () => number;
  /** Told when a script goes wrong where there is no better place to say so. */
  readonly report: (operation: Operation, message: string) => void;
}

type Scripts = Partial<Record<Operation, Script>>;

/** Reads the scripts of a customization. Throws `LuaError`; admission has seen to it that there is none. */
function scriptsOf(customization: ResourceInterpreterCustomization): Scripts {
  const scripts: Scripts = {};
  for (const operation of OPERATION_FIELDS) {
    const source = scriptOf(customization, operation);
    if (source !== "") scripts[operation] = new Script(source);
  }
  return scripts;
}

interface Answer {
  readonly type: string;
  readonly json: Json | undefined;
}

/** Calls a function of a script: what it returned, as JSON. */
type Ask = (name: string, args: readonly (Json | undefined)[]) => readonly Answer[];

/** How customizations of one kind, in the order of their names, read its objects. Dependencies are those of all of them. */
export function customInterpreter(
  customizations: readonly ResourceInterpreterCustomization[],
  surroundings: ScriptSurroundings,
): PartialInterpreter {
  const all = customizations.map(scriptsOf);
  const asking = (script: Script): Ask => {
    return (name, args) =>
      script.run({ name, args, nowMs: surroundings.nowMs(), modules: { kube: KUBE_LIBRARY } }, (values, budget) =>
        values.map((value) => ({ type: typeName(value), json: toJsonValue(value, budget) })),
      );
  };
  const first = (operation: Operation): Ask | undefined => {
    const script = all.find((scripts) => scripts[operation] !== undefined)?.[operation];
    return script === undefined ? undefined : asking(script);
  };
  const finders = all.flatMap(({ dependencyInterpretation: script }) => (script === undefined ? [] : [asking(script)]));
  return {
    ...replicaPart(first("replicaResource")),
    ...componentPart(first("componentResource")),
    ...revisionPart(first("replicaRevision")),
    ...retentionPart(first("retention")),
    ...reflectionPart(first("statusReflection"), surroundings),
    ...aggregationPart(first("statusAggregation")),
    ...healthPart(first("healthInterpretation"), surroundings),
    ...dependencyPart(finders),
  };
}

/** The answer that must be a table. */
function tableIn(answers: readonly Answer[]): JsonObject {
  const [answer] = answers;
  if (!isObject(answer?.json))
    throw new LuaError(`expect the returned requires type is table but got ${answer?.type ?? "nil"}`);
  return answer.json;
}

function replicaPart(ask: Ask | undefined): PartialInterpreter {
  if (ask === undefined) return {};
  return {
    replicas(object): Replicas {
      const [count, needs] = ask("GetReplicas", [object]);
      const replicas = asNumber(count?.json);
      if (replicas === undefined) throw new LuaError(`result type ${count?.type ?? "nil"} is not number`);
      if (needs !== undefined && needs.type !== "nil" && !isObject(needs.json))
        throw new LuaError(`expect the returned requires type is table but got ${needs.type}`);
      return { replicas: Math.trunc(replicas), requirements: requirementsIn(needs?.json) };
    },
  };
}

function componentPart(ask: Ask | undefined): PartialInterpreter {
  if (ask === undefined) return {};
  return {
    components: (object): Component[] =>
      asObjects(ask("GetComponents", [object])[0]?.json).map((part) => ({
        name: asString(part["name"]),
        replicas: Math.trunc(asNumber(part["replicas"]) ?? 0),
        requirements: requirementsIn(part["replicaRequirements"]),
      })),
  };
}

function requirementsIn(value: Json | undefined): ReplicaRequirements | undefined {
  if (!isObject(value)) return undefined;
  const nodeClaim = nodeClaimIn(value["nodeClaim"]);
  const resourceRequest = textsOf(value["resourceRequest"]);
  const priorityClassName = asString(value["priorityClassName"]);
  const needs = {
    ...(nodeClaim === undefined ? {} : { nodeClaim }),
    ...(Object.keys(resourceRequest).length === 0 ? {} : { resourceRequest }),
    ...(priorityClassName === "" ? {} : { priorityClassName }),
  };
  return Object.keys(needs).length === 0 ? undefined : needs;
}

function nodeClaimIn(value: Json | undefined): NodeClaim | undefined {
  if (!isObject(value)) return undefined;
  const { hardNodeAffinity, nodeSelector, tolerations } = value;
  return {
    ...(isObject(hardNodeAffinity) ? { hardNodeAffinity } : {}),
    ...(isObject(nodeSelector) ? { nodeSelector: textsOf(nodeSelector) } : {}),
    ...(asList(tolerations).length === 0 ? {} : { tolerations: asObjects(tolerations) }),
  };
}

function revisionPart(ask: Ask | undefined): PartialInterpreter {
  return ask === undefined ? {} : { revise: (object, replicas) => tableIn(ask("ReviseReplica", [object, replicas])) };
}

function retentionPart(ask: Ask | undefined): PartialInterpreter {
  return ask === undefined ? {} : { retain: (desired, observed) => tableIn(ask("Retain", [desired, observed])) };
}

function reflectionPart(ask: Ask | undefined, { report }: ScriptSurroundings): PartialInterpreter {
  if (ask === undefined) return {};
  return {
    reflectStatus(object) {
      try {
        return tableIn(ask("ReflectStatus", [object]));
      } catch (error) {
        if (!(error instanceof LuaError)) throw error;
        report("statusReflection", error.message);
        return undefined;
      }
    },
  };
}

function aggregationPart(ask: Ask | undefined): PartialInterpreter {
  if (ask === undefined) return {};
  return {
    aggregateStatus: (template, items) => {
      const told = items.length === 0 ? undefined : toJson(items);
      return asObject(tableIn(ask("AggregateStatus", [template, told]))["status"]);
    },
  };
}

function healthPart(ask: Ask | undefined, { report }: ScriptSurroundings): PartialInterpreter {
  if (ask === undefined) return {};
  return {
    health(object) {
      try {
        const [answer] = ask("InterpretHealth", [object]);
        if (typeof answer?.json === "boolean") return answer.json ? "Healthy" : "Unhealthy";
        report("healthInterpretation", `result type ${answer?.type ?? "nil"} is not bool`);
      } catch (error) {
        if (!(error instanceof LuaError)) throw error;
        report("healthInterpretation", error.message);
      }
      return "Unknown";
    },
  };
}

function dependencyPart(finders: readonly Ask[]): PartialInterpreter {
  if (finders.length === 0) return {};
  return {
    dependencies: (object) =>
      finders.flatMap((ask) => asObjects(ask("GetDependencies", [object])[0]?.json).flatMap(dependencyIn)),
  };
}

function dependencyIn(value: JsonObject): DependentObject[] {
  const [apiVersion, kind, namespace, name] = ["apiVersion", "kind", "namespace", "name"].map((field) =>
    asString(value[field]),
  );
  const { labelSelector } = value;
  if (!apiVersion || !kind) throw new LuaError("dependency missing required apiVersion or kind");
  if (!name && !isObject(labelSelector))
    throw new LuaError("dependency can not leave name and labelSelector all empty");
  return [
    {
      apiVersion,
      kind,
      ...(namespace ? { namespace } : {}),
      ...(name ? { name } : { labelSelector: { matchLabels: textsOf(asObject(labelSelector)["matchLabels"]) } }),
    },
  ];
}
