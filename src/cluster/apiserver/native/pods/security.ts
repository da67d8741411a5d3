import type { Faults } from "../../../../kernel/kinds/index.js";
import { subdomainFaults } from "../../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import { asList, asObject, asObjects, asString, at } from "../../registry/read.js";
import { descendingPath, follows, oneOf, oneOfIfSet, within } from "../rules.js";
import { validateWindowsOptions } from "./windows.js";

const ids: readonly [number, number] = [0, 2_147_483_647];
const profileTypes = ["Localhost", "RuntimeDefault", "Unconfined"];

function validateSeccomp(profile: Json | undefined, path: string, faults: Faults): void {
  if (profile === undefined) return;
  const type = asString(at(profile, "type"));
  const local = at(profile, "localhostProfile");
  const place = `${path}.localhostProfile`;
  if (type === "") faults.required(`${path}.type`, "type is required when seccompProfile is set");
  else oneOf(type, profileTypes, `${path}.type`, faults);
  if (type === "Localhost") {
    if (local === undefined) faults.required(place, "must be set when seccomp type is Localhost");
    else descendingPath(asString(local), place, faults);
  } else if (local !== undefined) faults.invalid(place, profile, "can only be set when seccomp type is Localhost");
}

const longestProfile = 4095;

/** Checks an AppArmor profile. */
export function validateAppArmor(profile: Json | undefined, path: string, faults: Faults): void {
  if (profile === undefined) return;
  const type = asString(at(profile, "type"));
  const local = at(profile, "localhostProfile");
  const place = `${path}.localhostProfile`;
  const missing = "must be set when AppArmor type is Localhost";
  if (type === "") faults.required(`${path}.type`, "type is required when appArmorProfile is set");
  else if (!profileTypes.includes(type)) faults.unsupported(`${path}.type`, type, profileTypes);
  else if (type !== "Localhost") {
    if (local !== undefined) faults.invalid(place, local, "can only be set when AppArmor type is Localhost");
  } else if (local === undefined) faults.required(place, missing);
  else {
    const name = asString(local);
    if (name.trim() !== name) faults.invalid(place, name, "must not be padded with whitespace");
    else if (name === "") faults.required(place, missing);
    if (name.length > longestProfile) faults.tooLong(place, longestProfile);
  }
}

/** Checks what a container may do; `hostUsers`: its users are the machine's. */
export function validateSecurityContext(
  value: Json | undefined,
  path: string,
  faults: Faults,
  hostUsers: boolean,
): void {
  if (value === undefined) return;
  const context = asObject(value);
  const privileged = context["privileged"] === true;
  within(context["runAsUser"], ids, `${path}.runAsUser`, faults);
  within(context["runAsGroup"], ids, `${path}.runAsGroup`, faults);
  oneOfIfSet(context["procMount"], ["Default", "Unmasked"], `${path}.procMount`, faults);
  if (hostUsers && context["procMount"] === "Unmasked")
    faults.invalid(`${path}.procMount`, "Unmasked", "`hostUsers` must be false to use `Unmasked`");
  validateSeccomp(context["seccompProfile"], `${path}.seccompProfile`, faults);
  if (context["allowPrivilegeEscalation"] === false) {
    if (privileged)
      faults.invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    for (const capability of asList(at(context, "capabilities", "add")))
      if (capability === "CAP_SYS_ADMIN")
        faults.invalid(
          path,
          context,
          "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
        );
  }
  validateWindowsOptions(context["windowsOptions"], `${path}.windowsOptions`, faults);
  validateAppArmor(context["appArmorProfile"], `${path}.appArmorProfile`, faults);
}

const segment = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
const sysctl = `^(${segment}[\\./])*${segment}$`;
const longestSysctl = 253;
const sysctlPattern = new RegExp(sysctl);

function validateSysctls(context: JsonObject, spec: JsonObject, path: string, faults: Faults): void {
  const names = new Set<string>();
  for (const [index, one] of asObjects(context["sysctls"]).entries()) {
    const place = `${path}[${index}].name`;
    const name = asString(one["name"]);
    if (name === "") faults.required(place);
    else if (name.length > longestSysctl || !sysctlPattern.test(name))
      faults.invalid(place, name, `must have at most ${longestSysctl} characters and match regex ${sysctl}`);
    else if (names.has(name)) faults.duplicate(place, name);
    const dotted = name.replaceAll("/", ".");
    if (spec["hostNetwork"] === true && dotted.startsWith("net."))
      faults.invalid(place, name, "may not be specified when 'hostNetwork' is true");
    else if (spec["hostIPC"] === true && isOfIpc(dotted))
      faults.invalid(place, name, "may not be specified when 'hostIPC' is true");
    names.add(name);
  }
}

const isOfIpc = (name: string): boolean => name === "kernel.sem" || /^(kernel\.(shm|msg)|fs\.mqueue\.)/.test(name);

/** Checks what a pod as a whole may do. */
export function validatePodSecurity(spec: JsonObject, path: string, faults: Faults): void {
  const context = asObject(spec["securityContext"]);
  const place = `${path}.securityContext`;
  within(context["fsGroup"], ids, `${place}.fsGroup`, faults);
  within(context["runAsUser"], ids, `${place}.runAsUser`, faults);
  within(context["runAsGroup"], ids, `${place}.runAsGroup`, faults);
  for (const [index, group] of asList(context["supplementalGroups"]).entries())
    within(group, ids, `${place}.supplementalGroups[${index}]`, faults);
  if (spec["shareProcessNamespace"] === true && spec["hostPID"] === true)
    faults.invalid(`${place}.shareProcessNamespace`, true, "ShareProcessNamespace and HostPID cannot both be enabled");
  validateSysctls(context, spec, `${place}.sysctls`, faults);
  oneOfIfSet(context["fsGroupChangePolicy"], ["Always", "OnRootMismatch"], `${place}.fsGroupChangePolicy`, faults);
  validateSeccomp(context["seccompProfile"], `${place}.seccompProfile`, faults);
  validateWindowsOptions(context["windowsOptions"], `${place}.windowsOptions`, faults);
  validateAppArmor(context["appArmorProfile"], `${place}.appArmorProfile`, faults);
  oneOfIfSet(context["supplementalGroupsPolicy"], ["Merge", "Strict"], `${place}.supplementalGroupsPolicy`, faults);
  oneOfIfSet(context["seLinuxChangePolicy"], ["Recursive"], `${place}.seLinuxChangePolicy`, faults);
}

/** Checks that a pod with users of its own does not share what belongs to the machine's. */
export function validateHostUsers(
  spec: JsonObject,
  path: string,
  faults: Faults,
  containers: readonly (readonly [JsonObject, string])[],
): void {
  if (spec["hostUsers"] !== false) return;
  const words = "when `hostUsers` is false";
  if (spec["hostNetwork"] === true) faults.forbidden(`${path}.hostNetwork`, words);
  if (spec["hostPID"] === true) faults.forbidden(`${path}.HostPID`, words);
  if (spec["hostIPC"] === true) faults.forbidden(`${path}.HostIPC`, words);
  for (const [container, place] of containers)
    if (asList(container["volumeDevices"]).length > 0) faults.forbidden(`${place}.volumeDevices`, words);
}

/** Checks the name that a pod gives itself. */
export function validateHostname(spec: JsonObject, path: string, faults: Faults): void {
  const name = spec["hostnameOverride"];
  if (name === undefined) return;
  const place = `${path}.hostnameOverride`;
  if (spec["setHostnameAsFQDN"] === true)
    faults.forbidden(place, "may not be specified when setHostnameAsFQDN is true");
  if (spec["hostNetwork"] === true) faults.forbidden(place, "may not be specified when hostNetwork is true");
  if (asString(name).length > 64) faults.tooLong(place, 64);
  follows(subdomainFaults, asString(name), place, faults);
}
