import type { Faults } from "../../../kernel/kinds/index.js";
import { subdomainFaults } from "../../../kernel/kinds/index.js";
import type { JsonObject } from "../../../kernel/kinds/object.js";
import { asNumber, asString } from "../registry/read.js";

const form = "; desired format: https://host[/path]";

/** Where a webhook is: a URL. `path` is that of the field. */
export function validateWebhookUrl(text: string, path: string, faults: Faults): void {
  const match = /^(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?$/s.exec(text);
  const [, scheme = "", authority = "", , query = "", fragment = ""] = match ?? [];
  const at = authority.lastIndexOf("@");
  const host = authority.slice(at + 1);
  if (scheme.toLowerCase() !== "https")
    faults.invalid(path, scheme.toLowerCase(), `'https' is the only allowed URL scheme${form}`);
  if (host === "") faults.invalid(path, "", `host must be specified${form}`);
  if (at >= 0) faults.invalid(path, authority.slice(0, at), "user information is not permitted in the URL");
  if (fragment !== "") faults.invalid(path, fragment, "fragments are not permitted in the URL");
  if (query !== "") faults.invalid(path, query, "query parameters are not permitted in the URL");
}

/** Where a webhook is: a Service. */
export function validateWebhookService(service: JsonObject, path: string, faults: Faults): void {
  if (asString(service["name"]) === "") faults.required(`${path}.name`);
  if (asString(service["namespace"]) === "") faults.required(`${path}.namespace`);
  const port = asNumber(service["port"]) ?? 443;
  if (port < 1 || port > 65_535)
    faults.invalid(`${path}.port`, port, "port is not valid: must be between 1 and 65535, inclusive");
  const urlPath = asString(service["path"]);
  if (urlPath !== "" && urlPath !== "/") validatePath(urlPath, `${path}.path`, faults);
}

function validatePath(urlPath: string, path: string, faults: Faults): void {
  if (urlPath === "//") {
    faults.invalid(path, urlPath, "segment[0] may not be empty");
    return;
  }
  if (!urlPath.startsWith("/")) faults.invalid(path, urlPath, "must start with a '/'");
  for (const [index, step] of urlPath.slice(1).replace(/\/$/, "").split("/").entries())
    if (step === "") faults.invalid(path, urlPath, `segment[${index}] may not be empty`);
    else for (const fault of subdomainFaults(step)) faults.invalid(path, urlPath, `segment[${index}]: ${fault}`);
}
