import type { Faults } from "../../../../kernel/kinds/index.js";
import { configKeyFaults, labelFaults, subdomainFaults } from "../../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { asObject, asObjects, asString } from "../../registry/read.js";
import { follows, needed, noBackSteps, optional } from "../rules.js";
import { checkFieldReference, checkResourceReference, environmentFields } from "./downward.js";

const nameWords = "a valid environment variable name must consist only of printable ASCII characters other than '='";

/** Names of environment variables: anything that can be printed, but no sign of equality. */
function variableFaults(name: string): string[] {
  return /^[ -<>-~]*$/.test(name) ? [] : [nameWords];
}

/** Checks a container's environment variables. */
export function validateEnv(env: readonly JsonObject[], path: string, faults: Faults): void {
  for (const [index, variable] of env.entries()) {
    const place = `${path}[${index}]`;
    const name = needed(variable, "name", place, faults);
    follows(variableFaults, name, `${place}.name`, faults);
    if (variable["valueFrom"] !== undefined) validateValueFrom(variable, `${place}.valueFrom`, faults);
  }
}

function validateValueFrom(variable: JsonObject, path: string, faults: Faults): void {
  const from = asObject(variable["valueFrom"]);
  const names = Object.keys(sources).filter((name) => from[name] !== undefined);
  for (const name of names) sources[name]?.(asObject(from[name]), `${path}.${name}`, faults);
  if (names.length === 0)
    faults.invalid(
      path,
      "",
      "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
    );
  else if (asString(variable["value"]) !== "")
    faults.invalid(path, "", "may not be specified when `value` is not empty");
  else if (names.length > 1) faults.invalid(path, "", "may not have more than one field specified at a time");
}

function checkKey(reference: JsonObject, path: string, faults: Faults): void {
  follows(subdomainFaults, asString(reference["name"]), `${path}.name`, faults);
  optional(configKeyFaults, needed(reference, "key", path, faults), `${path}.key`, faults);
}

function checkFileKey(reference: JsonObject, path: string, faults: Faults): void {
  follows(variableFaults, needed(reference, "key", path, faults), `${path}.key`, faults);
  optional(labelFaults, needed(reference, "volumeName", path, faults), `${path}.volumeName`, faults);
  noBackSteps(needed(reference, "path", path, faults), `${path}.path`, faults);
}

const sources: Readonly<Record<string, (reference: JsonObject, path: string, faults: Faults) => void>> = {
  fieldRef: (reference, path, faults) => checkFieldReference(reference, path, environmentFields, faults),
  resourceFieldRef: (reference, path, faults) => checkResourceReference(reference, path, faults, false),
  configMapKeyRef: checkKey,
  secretKeyRef: checkKey,
  fileKeyRef: checkFileKey,
};

/** Checks the ConfigMaps and Secrets that become environment variables as a whole. */
export function validateEnvFrom(list: readonly JsonObject[], path: string, faults: Faults): void {
  for (const [index, from] of list.entries()) {
    const place = `${path}[${index}]`;
    optional(variableFaults, from["prefix"], `${place}.prefix`, faults);
    const names = ["configMapRef", "secretRef"].filter((name) => from[name] !== undefined);
    for (const name of names) {
      const holder = needed(asObject(from[name]), "name", `${place}.${name}`, faults);
      // As the prefix of generated names, which may end in a dash.
      optional((text) => subdomainFaults(asPrefix(text)), holder, `${place}.${name}.name`, faults);
    }
    if (names.length === 0) faults.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`");
    else if (names.length > 1) faults.invalid(path, "", "may not have more than one field specified at a time");
  }
}

const asPrefix = (text: string): string => (text.length > 1 && text.endsWith("-") ? `${text.slice(0, -2)}a` : text);

/** Checks that the volumes that variables come from are there, and such that containers write. */
export function validateFileVolumes(
  containers: readonly (readonly [JsonObject, string])[],
  volumes: readonly JsonObject[],
  faults: Faults,
): void {
  const known = new Map(volumes.map((volume) => [asString(volume["name"]), volume]));
  for (const [container, path] of containers)
    for (const [index, variable] of asObjects(container["env"]).entries()) {
      const reference = asObject(variable["valueFrom"])["fileKeyRef"];
      if (reference === undefined) continue;
      const name = asString(asObject(reference)["volumeName"]);
      const place = `${path}.env[${index}].valueFrom.fileKeyRef.volumeName`;
      const volume = known.get(name);
      if (volume === undefined) faults.notFound(place, name);
      else if (volume["emptyDir"] === undefined)
        faults.invalid(place, name, "referenced volume must be of type emptyDir");
    }
}
