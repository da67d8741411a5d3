import { InputError } from "../errors/index.js";
import type { Field, Presence, Schema } from "../schema/index.js";
import type { KindDefinition, PrinterColumn } from "./define.js";
import type { Resource } from "./object.js";

/** What a new kind is made of; everything else follows from it. */
export interface KindOptions<Spec, Status> {
  readonly group: string;
  readonly version: string;
  /** `HeadIngress` */
  readonly kind: string;
  /** Default: the kind in lower case with an English plural ending. */
  readonly plural?: string;
  /** Default: the kind in lower case. */
  readonly singular?: string;
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  /** Default `Namespaced`. */
  readonly scope?: "Namespaced" | "Cluster";
  readonly description: string;
  readonly spec: Field<Spec, Presence>;
  /** Absent: the kind has no status and no status subresource. */
  readonly status?: Field<Status, Presence>;
  readonly scale?: KindDefinition["scale"];
  readonly printerColumns?: readonly PrinterColumn[];
}

/** Defines a kind once: the value is its `Kind` for clients and controllers and the source of its CRD. Throws `InputError` for names that no API server takes. */
export function defineKind<Spec, Status = never>(
  options: KindOptions<Spec, Status>,
): KindDefinition<Resource<Spec, Status>> {
  const singular = options.singular ?? options.kind.toLowerCase();
  const plural = options.plural ?? pluralOf(singular);
  if (!/^[A-Z][A-Za-z0-9]*$/.test(options.kind))
    throw new InputError(`kind ${JSON.stringify(options.kind)} is not CamelCase`);
  if (!/^v[1-9]\d*((alpha|beta)[1-9]\d*)?$/.test(options.version))
    throw new InputError(`version ${JSON.stringify(options.version)} does not look like v1, v1beta1 or v1alpha1`);
  if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(options.group))
    throw new InputError(`group ${JSON.stringify(options.group)} is no DNS name`);
  return {
    group: options.group,
    version: options.version,
    kind: options.kind,
    plural,
    singular,
    namespaced: options.scope !== "Cluster",
    shortNames: options.shortNames ?? [],
    categories: options.categories ?? [],
    description: options.description,
    schema: rootSchema(options),
    statusSubresource: options.status !== undefined,
    ...(options.scale === undefined ? {} : { scale: options.scale }),
    printerColumns: options.printerColumns ?? [],
  };
}

function rootSchema<Spec, Status>(options: KindOptions<Spec, Status>): Schema {
  return {
    type: "object",
    description: options.description,
    properties: {
      spec: { description: "What is asked for.", ...options.spec.schema },
      ...(options.status === undefined
        ? {}
        : { status: { description: "What was seen of it; written by controllers.", ...options.status.schema } }),
    },
    ...(options.spec.presence === "required" ? { required: ["spec"] } : {}),
  };
}

function pluralOf(singular: string): string {
  if (/(s|x|z|ch|sh)$/.test(singular)) return `${singular}es`;
  if (/[^aeiou]y$/.test(singular)) return `${singular.slice(0, -1)}ies`;
  return `${singular}s`;
}
