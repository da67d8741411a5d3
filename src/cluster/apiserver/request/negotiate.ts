import { dump } from "js-yaml";
import { notAcceptable } from "../failures.js";

/** The form in which an answer is wanted. */
export interface Accepted {
  readonly format: "json" | "yaml";
  /** `application/json;as=Table;g=meta.k8s.io;v=v1` and the like; absent: the object itself. */
  readonly as?: {
    readonly kind: "Table" | "PartialObjectMetadata" | "PartialObjectMetadataList";
    readonly version: string;
  };
}

interface Clause {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly quality: number;
}

const offered = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const streams = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
const metaForms = { Table: true, PartialObjectMetadata: true, PartialObjectMetadataList: true } as const;
const plainJson: Accepted = { format: "json" };
const cache = new Map<string, Accepted | undefined>();

/** Picks the first form that the client takes and that is served. Throws 406; protobuf alone is refused so that clients fall back to JSON. */
export function negotiate(
  accept: string | undefined,
  route: { readonly isCollection?: boolean; readonly isCustom?: boolean } = {},
): Accepted {
  if (accept === undefined || accept === "" || accept === "application/json") return plainJson;
  if (!cache.has(accept)) {
    if (cache.size > 200) cache.clear();
    cache.set(accept, pick(accept));
  }
  const picked = cache.get(accept);
  if (picked === undefined)
    throw notAcceptable(
      route.isCollection === true ? [...offered, ...streams] : offered,
      route.isCustom === true || namesServedType(accept),
    );
  return picked;
}

/** The format for a failure: that of the answer, where there would have been one. */
export function failureFormat(accept: string | undefined): Accepted["format"] {
  if (accept === undefined || accept === "") return "json";
  return pick(accept)?.format ?? "json";
}

/** The first of these media types that the client takes, in the order of its wishes; `undefined` where it takes none. */
export function preferredType(accept: string | undefined, types: readonly string[]): string | undefined {
  const clauses = (accept || "*/*").split(",").map(parseClause);
  for (const { type } of clauses.toSorted((a, b) => b.quality - a.quality)) {
    const found = types.find(
      (each) => type === each || type === "*/*" || (type.endsWith("/*") && each.startsWith(type.slice(0, -1))),
    );
    if (found !== undefined) return found;
  }
  return undefined;
}

function namesServedType(accept: string): boolean {
  return accept.split(",").some((text) => formatOf(parseClause(text).type) !== undefined);
}

function pick(accept: string): Accepted | undefined {
  const clauses = accept.split(",").map(parseClause);
  const ordered = clauses.toSorted((a, b) => b.quality - a.quality);
  for (const clause of ordered) {
    const accepted = acceptClause(clause);
    if (accepted !== undefined) return accepted;
  }
  return undefined;
}

function parseClause(text: string): Clause {
  const [type = "", ...rest] = text.split(";").map((part) => part.trim());
  const parameters = new Map<string, string>();
  for (const part of rest) {
    const equals = part.indexOf("=");
    if (equals > 0) parameters.set(part.slice(0, equals).trim(), part.slice(equals + 1).trim());
  }
  const quality = Number(parameters.get("q") ?? "1");
  return { type: type.toLowerCase(), parameters, quality: Number.isFinite(quality) ? quality : 0 };
}

function acceptClause({ type, parameters, quality }: Clause): Accepted | undefined {
  if (quality <= 0) return undefined;
  const format = formatOf(type);
  if (format === undefined) return undefined;
  const kind = parameters.get("as");
  if (kind === undefined) return { format };
  const version = parameters.get("v") ?? "v1";
  const isMeta = parameters.get("g") === "meta.k8s.io" && (version === "v1" || version === "v1beta1");
  if (!isMeta || !isMetaForm(kind)) return undefined;
  return { format, as: { kind, version } };
}

function isMetaForm(kind: string): kind is keyof typeof metaForms {
  return kind in metaForms;
}

function formatOf(type: string): Accepted["format"] | undefined {
  if (type === "application/json" || type === "*/*" || type === "application/*") return "json";
  return type === "application/yaml" ? "yaml" : undefined;
}

/** Rewrites an encoded JSON answer as YAML. */
export function toYaml(json: Uint8Array): Uint8Array {
  const value: unknown = JSON.parse(Buffer.from(json).toString("utf8"));
  return Buffer.from(dump(value, { noRefs: true, lineWidth: -1, sortKeys: true }), "utf8");
}
