import type { Faults } from "../../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { asString } from "../../registry/read.js";
import { qualifiedName, quantityOf, shownQuantity } from "../rules.js";

const labels = new Set(
  (
    "metadata.annotations metadata.labels metadata.name metadata.namespace metadata.uid spec.nodeName spec.restartPolicy " +
    "spec.serviceAccountName spec.schedulerName status.phase status.hostIP status.hostIPs status.podIP status.podIPs"
  ).split(" "),
);

/** What environment variables may show of their pod. */
export const environmentFields =
  "metadata.name metadata.namespace metadata.uid spec.nodeName spec.serviceAccountName status.hostIP status.hostIPs status.podIP status.podIPs".split(
    " ",
  );
/** What files may show of their pod. */
export const fileFields = "metadata.annotations metadata.labels metadata.name metadata.namespace metadata.uid".split(
  " ",
);

/** Checks a `fieldRef`; `allowed` is what may be shown, besides single labels and annotations. */
export function checkFieldReference(
  reference: JsonObject,
  path: string,
  allowed: readonly string[],
  faults: Faults,
): void {
  const [version, field] = [asString(reference["apiVersion"]), asString(reference["fieldPath"])];
  const place = `${path}.fieldPath`;
  if (version === "") faults.required(`${path}.apiVersion`);
  else if (field === "") faults.required(place);
  else {
    const [, holder = "", key = ""] = /^(.+?)\['(.*)'\]$/s.exec(field) ?? [];
    const wrong = conversionFault(version, field, holder);
    if (wrong !== undefined) faults.invalid(place, field, `error converting fieldPath: ${wrong}`);
    else if (holder !== "") qualifiedName(holder === "metadata.annotations" ? key.toLowerCase() : key, path, faults);
    else {
      const name = field === "spec.host" ? "spec.nodeName" : field;
      if (!allowed.includes(name)) faults.unsupported(place, name, allowed);
    }
  }
}

function conversionFault(version: string, field: string, holder: string): string | undefined {
  if (version !== "v1") return `unsupported pod version: ${version}`;
  if (holder !== "")
    return holder === "metadata.annotations" || holder === "metadata.labels"
      ? undefined
      : `field label does not support subscript: ${field}`;
  return labels.has(field) || field === "spec.host" ? undefined : `field label not supported: ${field}`;
}

const amounts =
  "limits.cpu limits.ephemeral-storage limits.memory requests.cpu requests.ephemeral-storage requests.memory".split(
    " ",
  );
const byteDivisors = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
const isHugePages = (name: string): boolean => /^(requests|limits)\.hugepages-/.test(name);

/** Checks a `resourceFieldRef`; files must say of which container. */
export function checkResourceReference(reference: JsonObject, path: string, faults: Faults, isFile: boolean): void {
  const resource = asString(reference["resource"]);
  if (isFile && asString(reference["containerName"]) === "") faults.required(`${path}.containerName`);
  else if (resource === "") faults.required(`${path}.resource`);
  else if (!amounts.includes(resource) && !isHugePages(resource))
    faults.unsupported(`${path}.resource`, resource, amounts);
  const divisor = quantityOf(reference["divisor"]);
  if (divisor === undefined || divisor.nanos === 0n) return;
  const [allowed, words] = divisorsOf(resource);
  if (allowed !== "" && !allowed.split(", ").includes(shownQuantity(divisor)))
    faults.invalid(
      `${path}.divisor`,
      resource,
      `only divisor's values ${allowed.replace(/, 1$/, " and 1")} are supported with the ${words} resource`,
    );
}

function divisorsOf(resource: string): readonly [string, string] {
  if (resource.endsWith(".cpu")) return ["1m, 1", "cpu"];
  if (resource.endsWith(".memory")) return [byteDivisors, "memory"];
  if (resource.endsWith(".ephemeral-storage")) return [byteDivisors, "local ephemeral storage"];
  return isHugePages(resource) ? [byteDivisors, "hugepages"] : ["", ""];
}
