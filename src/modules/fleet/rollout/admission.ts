import type { StatusCause } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import type { ModuleAdmission } from "../../../kernel/module/types.js";
import { asObjects, asString, isObject } from "../../../kernel/schema/index.js";
import { faultOfGate } from "./gates.js";
import { HyperRolloutKind } from "./kind.js";

/** Names of waves that are made. */
const OWN_WAVES: readonly string[] = ["all", "rest", "leaving"];

/** Refuses HyperRollouts that cannot be carried out. */
export function hyperRolloutAdmission(): ModuleAdmission {
  return {
    kind: HyperRolloutKind,
    level: "continuum",
    review: async ({ spec }) => ({ faults: isObject(spec) ? faultsOfRollout(spec) : [], warnings: [] }),
  };
}

/** What is wrong with a HyperRollout's spec beyond its schema. Pure. */
export function faultsOfRollout(spec: JsonObject): StatusCause[] {
  return [
    ...wavesFaults(spec),
    ...stepsFaults(spec),
    ...gatesFaults(spec),
    ...amountFaults("spec.maxUnavailable", spec["maxUnavailable"]),
  ];
}

function wavesFaults(spec: JsonObject): StatusCause[] {
  const names = new Set(OWN_WAVES);
  return asObjects(spec["waves"]).flatMap((wave, w) => {
    const place = `spec.waves[${w}]`;
    const name = asString(wave["name"]);
    const own = names.has(name) ? [invalid(`${place}.name`, nameFault(name))] : [];
    names.add(name);
    const isEmpty = [wave["clusters"], wave["selector"], wave["count"]].every((part) => part === undefined);
    const empty = isEmpty
      ? [invalid(place, "says neither clusters nor selector nor count: it would never have a cluster")]
      : [];
    return [...own, ...empty, ...amountFaults(`${place}.count`, wave["count"])];
  });
}

function stepsFaults(spec: JsonObject): StatusCause[] {
  return asObjects(spec["steps"]).flatMap(({ canaryPercent, shadowPercent }, index) =>
    (canaryPercent === undefined) === (shadowPercent === undefined)
      ? [invalid(`spec.steps[${index}]`, "give either canaryPercent or shadowPercent")]
      : [],
  );
}

function nameFault(name: string): string {
  return `"${name}" is ${OWN_WAVES.includes(name) ? "the name of a wave that is made" : "used twice"}`;
}

function gatesFaults(spec: JsonObject): StatusCause[] {
  const names = new Set<string>();
  return asObjects(spec["gates"]).flatMap((gate, g) => {
    const name = asString(gate["name"]);
    const what = names.has(name) ? `"${name}" is used twice` : faultOfGate(gate);
    names.add(name);
    return what === "" ? [] : [invalid(`spec.gates[${g}]`, what)];
  });
}

function amountFaults(field: string, value: unknown): StatusCause[] {
  const text = JSON.stringify(value) ?? "";
  if (value === undefined || /^"?[1-9]\d{0,5}%?"?$/.test(text)) return [];
  return [invalid(field, `${text} is neither a number of clusters from 1 nor a percentage such as 25%`)];
}

function invalid(field: string, message: string): StatusCause {
  return { reason: "FieldValueInvalid", field, message };
}
