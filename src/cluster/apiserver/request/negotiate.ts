import { dump } from "js-yaml";
import { notAcceptable } from "../failures.js";
import { type Conversion, covers, isRouted, mediaTypes, parseAccept, pickFormat } from "./accept.js";

/** The form in which an answer is wanted. */
export interface Accepted {
  readonly format: "json" | "yaml";
  /** `application/json;as=Table;g=meta.k8s.io;v=v1` and the like; absent: the object itself. */
  readonly as?: {
    readonly kind: "Table" | "PartialObjectMetadata" | "PartialObjectMetadataList";
    readonly version: string;
  };
}

const streams = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
const metaForms = { Table: true, PartialObjectMetadata: true, PartialObjectMetadataList: true } as const;
const plainJson: Accepted = { format: "json" };
const cache = new Map<string, Accepted | undefined>();

/** Picks the first form that the client takes and that is served. Throws 406; protobuf alone is refused so that clients fall back to JSON. */
export function negotiate(
  accept: string | undefined,
  route: { readonly isCollection?: boolean; readonly isCustom?: boolean; readonly hasTable?: boolean } = {},
): Accepted {
  if (accept === undefined || accept === "" || accept === "application/json") return plainJson;
  if (route.isCustom !== true && !isRouted(accept, mediaTypes))
    throw notAcceptable(route.isCollection === true ? [...mediaTypes, ...streams] : mediaTypes, false);
  const key = `${route.hasTable === false ? "-" : ""}${accept}`;
  if (!cache.has(key)) {
    if (cache.size > 200) cache.clear();
    cache.set(key, pick(accept, route.hasTable !== false));
  }
  const picked = cache.get(key);
  if (picked === undefined) throw notAcceptable(mediaTypes, true);
  return picked;
}

function pick(accept: string, hasTable: boolean): Accepted | undefined {
  const picked = pickFormat(
    accept,
    (conversion) =>
      conversion === undefined || (metaForm(conversion) !== undefined && (hasTable || conversion.kind !== "Table")),
  );
  if (picked === undefined) return undefined;
  const { format, conversion } = picked;
  const as = conversion === undefined ? undefined : metaForm(conversion);
  return as === undefined ? { format } : { format, as };
}

function metaForm({ group, version, kind }: Conversion): Accepted["as"] {
  if (group !== "meta.k8s.io" || (version !== "v1" && version !== "v1beta1") || !isMetaForm(kind)) return undefined;
  return { kind, version };
}

function isMetaForm(kind: string): kind is keyof typeof metaForms {
  return kind in metaForms;
}

/** The format of what cannot be converted to anything else: a failure, a document about the API. `undefined`: the client takes none. */
export function plainFormat(accept: string | undefined): Accepted["format"] | undefined {
  return pickFormat(accept, (conversion) => conversion === undefined)?.format;
}

/** The format for a failure: what the client takes, else JSON. */
export function failureFormat(accept: string | undefined): Accepted["format"] {
  return plainFormat(accept) ?? "json";
}

/** The first of these media types that the client takes, in the order of its wishes; `undefined` where it takes none. */
export function preferredType(accept: string | undefined, types: readonly string[]): string | undefined {
  for (const clause of parseAccept(accept || "*/*")) {
    const found = types.find((each) => {
      const [type = "", subtype = ""] = each.split("/");
      return covers(clause, type, subtype);
    });
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Rewrites an encoded JSON answer as YAML. */
export function toYaml(json: Uint8Array): Uint8Array {
  const value: unknown = JSON.parse(Buffer.from(json).toString("utf8"));
  return Buffer.from(dump(value, { noRefs: true, lineWidth: -1, sortKeys: true }), "utf8");
}
