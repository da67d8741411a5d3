import { Faults } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { asList, asString } from "../registry/read.js";
import { checkAddress, isDualStack, readAddress } from "./addresses.js";
import { oneOf } from "./rules.js";

const families = ["IPv4", "IPv6"];
const policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];

/** Whether a Service has no address of its own. */
export function isHeadless(spec: JsonObject): boolean {
  const addresses = asList(spec["clusterIPs"]);
  return addresses.length === 1 && addresses[0] === "None";
}

/** Checks what a Service's spec says of its cluster addresses and their families. */
export function validateClusterAddresses(spec: JsonObject, old: JsonObject | undefined, faults: Faults): void {
  if (spec["type"] === "ExternalName") return;
  const path = "spec.clusterIPs";
  const addresses = asList(spec["clusterIPs"]);
  const first = asString(spec["clusterIP"]);
  if (first === "") {
    if (addresses.length > 0) faults.invalid(path, [...addresses], "must be empty when `clusterIP` is not specified");
  } else if (addresses.length === 0) faults.required(path);
  else if (addresses[0] !== first) faults.invalid(path, [...addresses], "first value must match `clusterIP`");
  checkFamilies(spec, faults);
  const isSound = checkList(addresses, asList(old?.["clusterIPs"]), path, faults);
  if (addresses.length > 2) faults.invalid(path, [...addresses], "may only hold up to 2 values");
  if (!isSound) return;
  if (addresses.length > 1 && !isDualStack(addresses))
    faults.invalid(path, [...addresses], "may specify no more than one IP for each IP family");
  if (isHeadless(spec)) return;
  for (const [index, family] of asList(spec["ipFamilies"]).entries()) {
    const address = addresses[index];
    if (address === undefined || !families.includes(asString(family))) continue;
    const isSix = readAddress(asString(address))?.family === 6;
    if ((family === "IPv6") !== isSix)
      faults.invalid(
        `${path}[${index}]`,
        address,
        `expected an ${asString(family)} value as indicated by \`ipFamilies[${index}]\``,
      );
  }
}

function checkFamilies(spec: JsonObject, faults: Faults): void {
  const seen = new Set<Json>();
  for (const [index, family] of asList(spec["ipFamilies"]).entries()) {
    oneOf(family, families, `spec.ipFamilies[${index}]`, faults);
    if (seen.has(family)) faults.duplicate(`spec.ipFamilies[${index}]`, family);
    seen.add(family);
  }
  if (spec["ipFamilyPolicy"] !== undefined) oneOf(spec["ipFamilyPolicy"], policies, "spec.ipFamilyPolicy", faults);
}

function checkList(addresses: readonly Json[], old: readonly Json[], path: string, faults: Faults): boolean {
  let isSound = true;
  for (const [index, address] of addresses.entries()) {
    if (index === 0 && address === "None") {
      if (addresses.length === 1) continue;
      isSound = false;
      faults.invalid(path, [...addresses], "'None' must be the first and only value");
    } else if (!checkAddress(asString(address), `${path}[${index}]`, faults, old)) isSound = false;
  }
  return isSound;
}

/** What is wrong with a Service's cluster addresses, before any are allotted. */
export function clusterAddressFaults(spec: JsonObject, old: JsonObject | undefined): Faults {
  const faults = new Faults();
  validateClusterAddresses(spec, old, faults);
  return faults;
}
