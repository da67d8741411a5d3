import type { JsonObject } from "../../../kernel/kinds/index.js";
import type { AdmissionReview, ModuleAdmission } from "../../../kernel/module/types.js";
import { asObject, asString, equalJson } from "../../../kernel/schema/index.js";
import { OPERATION_FIELDS, OPERATIONS, ResourceInterpreterCustomizationKind } from "./customization-kind.js";
import { LuaError, Script } from "./lua/index.js";

const WEBHOOK = "resourceinterpretercustomization.karmada.io";
const ACCEPTED: AdmissionReview = { faults: [], warnings: [] };

/** Refuses customizations that are no Lua, or that say of a kind what another one says already. */
export function customizationAdmission(): ModuleAdmission {
  return {
    kind: ResourceInterpreterCustomizationKind,
    level: "continuum",
    review: async (object, old, cluster) => {
      if (old !== undefined && equalJson(object["spec"], old["spec"])) return ACCEPTED;
      const informer = cluster.informers.informer(ResourceInterpreterCustomizationKind);
      await informer.synced();
      const others = informer.list().filter(({ metadata }) => metadata.name !== nameOf(object));
      const fault =
        conflictOf(
          object,
          others.map((other) => ({ name: other.metadata.name, spec: other.spec })),
        ) ?? scriptFault(object);
      return fault === undefined ? ACCEPTED : { ...ACCEPTED, denial: { webhook: WEBHOOK, message: fault } };
    },
  };
}

function nameOf(object: JsonObject): string {
  return asString(asObject(object["metadata"])["name"]);
}

function scriptIn(spec: unknown, operation: string): string {
  return asString(asObject(asObject(asObject(spec)["customizations"])[operation])["luaScript"]);
}

function conflictOf(
  object: JsonObject,
  others: readonly { readonly name: string; readonly spec: object }[],
): string | undefined {
  const { spec } = object;
  const target = (of: unknown): string => {
    const { apiVersion, kind } = asObject(asObject(of)["target"]);
    return `${asString(apiVersion)}/${asString(kind)}`;
  };
  for (const other of others) {
    if (target(other.spec) !== target(spec)) continue;
    // Of dependencies there may be several.
    const twice = OPERATION_FIELDS.find(
      (operation) =>
        operation !== "dependencyInterpretation" &&
        scriptIn(spec, operation) !== "" &&
        scriptIn(other.spec, operation) !== "",
    );
    if (twice !== undefined)
      return `conflicting with InterpreterOperation(${OPERATIONS[twice]}) of existing ResourceInterpreterCustomization(${other.name})`;
  }
  return undefined;
}

function scriptFault(object: JsonObject): string | undefined {
  for (const operation of OPERATION_FIELDS) {
    const source = scriptIn(object["spec"], operation);
    if (source === "") continue;
    try {
      new Script(source);
    } catch (error) {
      if (!(error instanceof LuaError)) throw error;
      return `InterpreterOperation(${OPERATIONS[operation]}) Lua script error: ${error.message}`;
    }
  }
  return undefined;
}
