import {
  label1035Faults,
  labelFaults,
  labelValueFaults,
  qualifiedNameFaults,
  subdomainFaults,
} from "../../../../kernel/kinds/index.js";
import { type Engine, Opaque, Optional } from "../language/index.js";
import { uriFault } from "./urls.js";

type Check = (text: string) => readonly string[];

class Format extends Opaque {
  readonly typeName = "kubernetes.NamedFormat";
  readonly name: string;
  readonly check: Check;

  constructor(name: string, check: Check) {
    super();
    this.name = name;
    this.check = check;
  }

  isEqual(other: Opaque): boolean {
    return other instanceof Format && other.name === this.name;
  }
}

/** A name that something is still added to may end with a dash. */
const asPrefix =
  (check: Check): Check =>
  (text) =>
    check(text.replace(/-$/, "a"));

const isLike =
  (pattern: RegExp, message: string): Check =>
  (text) =>
    pattern.test(text) ? [] : [message];

const isDate: Check = (text) => {
  const isThere = /^\d{4}-\d\d-\d\d$/.test(text) && new Date(`${text}T00:00:00Z`).toJSON()?.startsWith(text) === true;
  return isThere ? [] : ["invalid date"];
};

const checks: Readonly<Record<string, Check>> = {
  dns1123Label: labelFaults,
  dns1123Subdomain: subdomainFaults,
  dns1035Label: label1035Faults,
  qualifiedName: qualifiedNameFaults,
  dns1123LabelPrefix: asPrefix(labelFaults),
  dns1123SubdomainPrefix: asPrefix(subdomainFaults),
  dns1035LabelPrefix: asPrefix(label1035Faults),
  labelValue: labelValueFaults,
  uri: (text) => {
    const fault = uriFault(text);
    return fault === undefined ? [] : [fault];
  },
  uuid: isLike(/^[\da-f]{8}-?[\da-f]{4}-?[\da-f]{4}-?[\da-f]{4}-?[\da-f]{12}$/i, "does not match the UUID format"),
  byte: isLike(/^(?:[A-Za-z\d+/]{4})*(?:[A-Za-z\d+/]{2}==|[A-Za-z\d+/]{3}=)?$/, "invalid base64"),
  date: isDate,
  datetime: isLike(/^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:?\d\d)$/, "invalid datetime"),
};

/** Kubernetes' named formats. */
export function defineFormats(engine: Engine): void {
  const type = "kubernetes.NamedFormat";
  engine.declareType(type);
  const made = new Map(Object.entries(checks).map(([name, check]) => [name, new Format(name, check)]));
  for (const [name, format] of made) engine.define(`format.${name}(): ${type}`, () => format);
  engine.define(`format.named(string): optional<${type}>`, (name: string) => new Optional(made.get(name)));
  engine.define(`${type}.validate(string): optional<list<string>>`, ({ check }: Format, text: string) => {
    const faults = check(text);
    return new Optional(faults.length === 0 ? undefined : faults);
  });
}
