import type { Faults } from "../../../../kernel/kinds/index.js";
import { subdomainFaults } from "../../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../../kernel/kinds/object.js";
import { asObject, asString, at, isEmpty } from "../../registry/read.js";
import { follows, oneOf } from "../rules.js";

const longestCredential = 64 * 1024;
const netBios = /^[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}$/;
const dnsLabel = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";
const dnsName = new RegExp(`^${dnsLabel}(?:\\.${dnsLabel})*$`);

/** Checks options that mean something on Windows. */
export function validateWindowsOptions(value: Json | undefined, path: string, faults: Faults): void {
  if (value === undefined) return;
  const { gmsaCredentialSpecName: name, gmsaCredentialSpec: credential, runAsUserName: user } = asObject(value);
  if (name !== undefined) follows(subdomainFaults, asString(name), `${path}.gmsaCredentialSpecName`, faults);
  const place = `${path}.gmsaCredentialSpec`;
  if (credential === "") faults.invalid(place, credential, "gmsaCredentialSpec cannot be an empty string");
  else if (asString(credential).length > longestCredential)
    faults.invalid(place, credential, "gmsaCredentialSpec size must be under 64 KiB");
  if (user !== undefined)
    for (const fault of userFaults(asString(user)))
      faults.invalid(`${path}.runAsUserName`, user, `runAsUserName${fault}`);
}

function userFaults(name: string): string[] {
  if (name === "") return [" cannot be an empty string"];
  if (/\p{Cc}/u.test(name)) return [" cannot contain control characters"];
  const parts = name.split("\\");
  if (parts.length > 2) return [" cannot contain more than one backslash"];
  const user = parts.at(-1) ?? "";
  const [domain] = parts.length === 2 ? parts : [undefined];
  const faults: string[] = [];
  if (domain !== undefined && domain.length >= 256) faults.push("'s Domain length must be under 256 characters");
  if (domain !== undefined && !netBios.test(domain) && !dnsName.test(domain))
    faults.push("'s Domain doesn't match the NetBios nor the DNS format");
  if (user === "") faults.push("'s User cannot be empty");
  else if (user.length > 104) faults.push("'s User length must not be longer than 104 characters");
  if (/^[. ]+$/.test(user)) faults.push("'s User cannot contain only periods or spaces");
  if (/["/\\:;|=,+*?<>@[\]]/.test(user))
    faults.push(`'s User cannot contain the following characters: "/\\:;|=,+*?<>@[]`);
  return faults;
}

type Containers = readonly (readonly [JsonObject, string])[];

/** Checks that containers with the machine's rights are not mixed with others. */
export function validateHostProcess(spec: JsonObject, path: string, faults: Faults, containers: Containers): void {
  const ofPod = at(spec, "securityContext", "windowsOptions", "hostProcess");
  let count = 0;
  for (const [container, place] of containers) {
    const own = at(container, "securityContext", "windowsOptions", "hostProcess");
    if (ofPod !== undefined && own !== undefined && ofPod !== own)
      faults.invalid(
        `${place}.securityContext.windowsOptions.hostProcess`,
        own,
        `pod hostProcess value must be identical if both are specified, was ${String(ofPod === true)}`,
      );
    if ((own ?? ofPod) === true) count += 1;
  }
  if (count === 0) return;
  if (count !== containers.length)
    faults.invalid(
      path,
      "",
      "If pod contains any hostProcess containers then all containers must be HostProcess containers",
    );
  if (spec["hostNetwork"] !== true)
    faults.invalid(`${path}.hostNetwork`, false, "hostNetwork must be true if pod contains any hostProcess containers");
}

const ofPodOnLinux =
  "appArmorProfile seLinuxOptions seccompProfile fsGroup fsGroupChangePolicy sysctls runAsUser runAsGroup supplementalGroups supplementalGroupsPolicy seLinuxChangePolicy".split(
    " ",
  );
const ofContainerOnLinux =
  "appArmorProfile seLinuxOptions seccompProfile capabilities readOnlyRootFilesystem privileged allowPrivilegeEscalation procMount runAsUser runAsGroup".split(
    " ",
  );

/** Checks that a pod's fields are such as its operating system knows. */
export function validateOs(spec: JsonObject, path: string, faults: Faults, containers: Containers): void {
  if (spec["os"] === undefined) return;
  const name = asString(at(spec, "os", "name"));
  if (name === "") faults.required(`${path}.os.name`);
  else if (name !== "linux" && name !== "windows") oneOf(name, ["linux", "windows"], `${path}.os`, faults);
  else if (name === "linux") {
    const words = "windows options cannot be set for a linux pod";
    for (const [holder, place] of [[spec, path] as const, ...containers])
      if (at(holder, "securityContext", "windowsOptions") !== undefined)
        faults.forbidden(`${place}.securityContext.windowsOptions`, words);
  } else forbidLinux(spec, path, faults, containers);
}

function forbidLinux(spec: JsonObject, path: string, faults: Faults, containers: Containers): void {
  const words = "cannot be set for a windows pod";
  const context = asObject(spec["securityContext"]);
  for (const field of ofPodOnLinux)
    if (context[field] !== undefined && !(field === "sysctls" && isEmpty(context[field])))
      faults.forbidden(`${path}.securityContext.${field}`, words);
  for (const field of ["hostUsers", "shareProcessNamespace"])
    if (spec[field] !== undefined) faults.forbidden(`${path}.${field}`, words);
  for (const field of ["hostPID", "hostIPC"]) if (spec[field] === true) faults.forbidden(`${path}.${field}`, words);
  for (const [container, place] of containers)
    for (const field of ofContainerOnLinux)
      if (at(container, "securityContext", field) !== undefined)
        faults.forbidden(`${place}.securityContext.${field}`, words);
}
