/*
 * The name grammars of Kubernetes. Each check returns what is wrong, in upstream's words, or nothing; several faults may
 * be reported of one value.
 */

const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const label1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const qualifiedName = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const labelValue = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;
const configKey = /^[-._a-zA-Z0-9]+$/;

const tooLong = (maximum: number): string => `must be no more than ${maximum} characters`;

const subdomainWords =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const labelWords =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const label1035Words =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const qualifiedWords =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const labelValueWords =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const configKeyWords =
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/** DNS subdomain of at most 253 characters: the name of most objects. */
export function subdomainFaults(value: string): string[] {
  if (value.length <= 253 && subdomain.test(value)) return [];
  return [...(value.length > 253 ? [tooLong(253)] : []), ...(subdomain.test(value) ? [] : [subdomainWords])];
}

/** DNS label of at most 63 characters: namespaces, containers. */
export function labelFaults(value: string): string[] {
  const grammar = label.test(value) ? [] : [subdomain.test(value) ? "must not contain dots" : labelWords];
  return [...(value.length > 63 ? [tooLong(63)] : []), ...grammar];
}

/** DNS label that starts with a letter: services. */
export function label1035Faults(value: string): string[] {
  return [...(value.length > 63 ? [tooLong(63)] : []), ...(label1035.test(value) ? [] : [label1035Words])];
}

/** A name that fits into one segment of a path: RBAC kinds. */
export function pathSegmentFaults(value: string): string[] {
  if (value === "." || value === "..") return [`may not be '${value}'`];
  return ["/", "%"]
    .filter((character) => value.includes(character))
    .map((character) => `may not contain '${character}'`);
}

/** Qualified names without fault: objects have the same few again and again. */
const wellFormed = new Set<string>();
const maxWellFormed = 4096;
const maxKeptLength = 128;

/** `example.com/name` or `name`: keys of labels, annotations, finalizers, resources. */
export function qualifiedNameFaults(value: string): string[] {
  if (wellFormed.has(value)) return [];
  const faults = faultsOfQualified(value);
  if (faults.length > 0 || value.length > maxKeptLength) return faults;
  if (wellFormed.size >= maxWellFormed) wellFormed.clear();
  wellFormed.add(value);
  return faults;
}

function faultsOfQualified(value: string): string[] {
  const parts = value.split("/");
  const [prefix = "", name = ""] = parts.length === 2 ? parts : ["", parts[0] ?? ""];
  if (parts.length > 2)
    return [
      `a qualified name ${qualifiedWords} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  const faults: string[] = [];
  if (parts.length === 2) {
    if (prefix === "") faults.push("prefix part must be non-empty");
    else faults.push(...subdomainFaults(prefix).map((fault) => `prefix part ${fault}`));
  }
  if (name === "") faults.push("name part must be non-empty");
  else if (name.length > 63) faults.push(`name part ${tooLong(63)}`);
  if (!qualifiedName.test(name)) faults.push(`name part ${qualifiedWords}`);
  return faults;
}

export function labelValueFaults(value: string): string[] {
  if (value.length <= 63 && labelValue.test(value)) return [];
  return [...(value.length > 63 ? [tooLong(63)] : []), ...(labelValue.test(value) ? [] : [labelValueWords])];
}

/** Keys of ConfigMaps and Secrets. */
export function configKeyFaults(value: string): string[] {
  const faults = [...(value.length > 253 ? [tooLong(253)] : []), ...(configKey.test(value) ? [] : [configKeyWords])];
  if (value === ".") faults.push("must not be '.'");
  else if (value === "..") faults.push("must not be '..'");
  else if (value.startsWith("..")) faults.push("must not start with '..'");
  return faults;
}

/** Names of ports: at most 15 characters, a letter, no double dashes. */
export function portNameFaults(value: string): string[] {
  const faults: string[] = [];
  if (value.length > 15) faults.push("must be no more than 15 characters");
  if (!/^[-a-z0-9]+$/.test(value))
    faults.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (!/[a-z]/.test(value)) faults.push("must contain at least one letter (a-z)");
  if (value.includes("--")) faults.push("must not contain consecutive hyphens");
  if (value.startsWith("-") || value.endsWith("-")) faults.push("must not begin or end with a hyphen");
  return faults;
}
