import type { Schema } from "../schema/types.js";
import type { Kind, KubeObject } from "./object.js";

/** A column of `kubectl get`. */
export interface PrinterColumn {
  readonly name: string;
  readonly type: "string" | "integer" | "number" | "boolean" | "date";
  readonly jsonPath: string;
  readonly description?: string;
  /** Above 0: only with `-o wide`. */
  readonly priority?: number;
}

/** A kind of ours, written once: static type, validation, defaults, CRD, OpenAPI and docs come from it. */
export interface KindDefinition<T extends KubeObject = KubeObject> extends Kind<T> {
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly description: string;
  /** OpenAPI v3 structural schema of the whole object (apiVersion, kind and metadata left out). */
  readonly schema: Schema;
  readonly statusSubresource: boolean;
  readonly scale?: {
    readonly specReplicasPath: string;
    readonly statusReplicasPath: string;
    readonly labelSelectorPath?: string;
  };
  readonly printerColumns: readonly PrinterColumn[];
  /** Further served versions. Objects are stored in `version`; versions differ in `apiVersion` and in what they accept. */
  readonly otherVersions?: readonly { readonly version: string; readonly schema: Schema }[];
}
