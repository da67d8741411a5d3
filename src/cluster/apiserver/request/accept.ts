/** One wish of an Accept header. */
export interface Clause {
  readonly type: string;
  readonly subtype: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly quality: number;
}

/** The kind that an answer shall be converted to; what the header does not name is empty. */
export interface Conversion {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

/** A format in which answers can be written. */
export interface Format {
  readonly name: "json" | "yaml";
  readonly type: string;
  readonly subtype: string;
  /** Watches can be sent in it. */
  readonly streams: boolean;
}

const formats: readonly Format[] = [
  { name: "json", type: "application", subtype: "json", streams: true },
  { name: "yaml", type: "application", subtype: "yaml", streams: false },
];

/** What resources and documents about them can be answered in, as upstream lists it. Protobuf is said but not spoken: its clients take JSON too. */
export const mediaTypes = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/** Reads an Accept header as upstream's parser does: what it cannot read is left out; what is wanted most comes first. */
export function parseAccept(header: string): Clause[] {
  const clauses: Clause[] = [];
  for (const text of header.split(",")) {
    const clause = parseClause(text);
    if (clause !== undefined) clauses.push(clause);
  }
  return inOrder(clauses);
}

function parseClause(text: string): Clause | undefined {
  const [range = "", ...rest] = text.split(";");
  const [type = "", subtype = "", ...more] = range.split("/").map(trimmed);
  if (more.length > 0 || (subtype === "" && type !== "*")) return undefined;
  const parameters = new Map<string, string>();
  let quality = 1;
  for (const part of rest) {
    const [name = "", value = "", ...others] = part.split("=");
    if (value === "" || others.length > 0) continue;
    if (trimmed(name) === "q") quality = Number.isNaN(Number(value)) ? 0 : Number(value);
    else parameters.set(trimmed(name), trimmed(value));
  }
  return { type, subtype: subtype === "" ? "*" : subtype, parameters, quality };
}

/** Spaces alone. */
function trimmed(text: string): string {
  return text.replaceAll(/^ +| +$/g, "");
}

/** Upstream's comparison is no order, so what comes first depends on how it sorts: by insertion, as long as the list is short. */
function inOrder(clauses: Clause[]): Clause[] {
  for (let end = 1; end < clauses.length; end += 1)
    for (let at = end; at > 0; at -= 1) {
      const [before, after] = [clauses[at - 1], clauses[at]];
      if (before === undefined || after === undefined || !isBefore(after, before)) break;
      clauses[at - 1] = after;
      clauses[at] = before;
    }
  return clauses;
}

function isBefore(a: Clause, b: Clause): boolean {
  if (a.quality > b.quality) return true;
  return (a.type !== "*" && b.type === "*") || (a.subtype !== "*" && b.subtype === "*");
}

/** Whether a clause names a media type, perhaps by asterisks. */
export function covers(clause: Clause, type: string, subtype: string): boolean {
  if (clause.type === "*" && clause.subtype === "*") return true;
  return clause.type === type && (clause.subtype === subtype || clause.subtype === "*");
}

/** The format that an Accept header prefers among those that `allows` takes; absent header: JSON. */
export function pickFormat(
  header: string | undefined,
  allows: (conversion: Conversion | undefined, format: Format) => boolean,
): { readonly format: Format["name"]; readonly conversion?: Conversion } | undefined {
  if (header === undefined || header === "") return { format: "json" };
  for (const clause of parseAccept(header))
    for (const format of formats) {
      if (!covers(clause, format.type, format.subtype) || !hasStream(clause, format)) continue;
      const conversion = conversionOf(clause);
      if (allows(conversion, format))
        return { format: format.name, ...(conversion === undefined ? {} : { conversion }) };
    }
  return undefined;
}

function hasStream({ parameters }: Clause, format: Format): boolean {
  const stream = parameters.get("stream");
  return stream === undefined || (format.streams && stream === "watch");
}

function conversionOf({ parameters }: Clause): Conversion | undefined {
  const [kind, group, version] = [parameters.get("as"), parameters.get("g"), parameters.get("v")];
  if (kind === undefined && group === undefined && version === undefined) return undefined;
  return { kind: kind ?? "", group: group ?? "", version: version ?? "" };
}

/** Whether upstream's router sends a request to a route that answers in these types: it knows no `application/*`. */
export function isRouted(header: string | undefined, produced: readonly string[]): boolean {
  if (header === undefined || header === "") return true;
  return header.split(",").some((text) => {
    const type = trimmed(text.split(";")[0] ?? "");
    return type === "*/*" || produced.includes(type);
  });
}
