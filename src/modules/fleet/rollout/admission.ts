import type { StatusCause } from "../../../kernel/errors/index.js";
import type { JsonObject } from "../../../kernel/kinds/index.js";
import type { ModuleAdmission } from "../../../kernel/module/types.js";
import { asObject, asObjects, asString, equalJson, isObject } from "../../../kernel/schema/index.js";
import { faultOfGate } from "./gates.js";
import { HyperRolloutKind } from "./kind.js";

/** Names of waves that are made. */
const OWN_WAVES: readonly string[] = ["all", "rest", "leaving"];

/** Refuses HyperRollouts that cannot be carried out, and promotions of waves that there are not; warns of what has no effect. */
export function hyperRolloutAdmission(): ModuleAdmission {
  return {
    kind: HyperRolloutKind,
    level: "continuum",
    review: async ({ spec }, old) => {
      if (!isObject(spec)) return { faults: [], warnings: [] };
      const before = asObject(old?.["spec"])["promoted"];
      // What was promoted before says nothing of waves that were renamed since.
      const isPromoted = spec["promoted"] !== undefined && !equalJson(before, spec["promoted"]);
      const promotion = isPromoted ? promotionFaults(spec) : [];
      return { faults: [...faultsOfRollout(spec), ...promotion], warnings: takenTwice(spec) };
    },
  };
}

function promotionFaults(spec: JsonObject): StatusCause[] {
  const through = asString(asObject(spec["promoted"])["through"]);
  const waves = asObjects(spec["waves"]).map((wave) => asString(wave["name"]));
  if (through === "*" || OWN_WAVES.includes(through) || waves.includes(through)) return [];
  const known = waves.length === 0 ? "all" : [...waves, "rest"].join(", ");
  return [invalid("spec.promoted.through", `there is no wave "${through}"; there are ${known}, and * means all`)];
}

/** Clusters that a wave names and an earlier one takes whatever happens. */
function takenTwice(spec: JsonObject): string[] {
  const taken = new Map<string, string>();
  return asObjects(spec["waves"]).flatMap((wave, w) => {
    const { clusters } = wave;
    const named = (Array.isArray(clusters) ? clusters : []).filter((cluster) => typeof cluster === "string");
    const name = asString(wave["name"]);
    return named.flatMap((cluster) => {
      const first = taken.get(cluster);
      if (first !== undefined) return [`spec.waves[${w}].clusters: ${cluster} is in wave ${first}, which comes first`];
      // A wave with a count may leave it to a later one.
      if (wave["count"] === undefined) taken.set(cluster, name);
      return [];
    });
  });
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
