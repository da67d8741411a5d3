import type { Schema } from "../../../kernel/schema/index.js";
import { nativeAssets } from "./native-assets.js";
import type { Shape } from "./shape.js";
import { ShapeBuilder } from "./shape.js";

const definition = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
let shape: Shape | undefined;
let schema: Schema | undefined;

/** Shape of `metadata`, which every kind shares. */
export function objectMetaShape(): Shape {
  shape ??= new ShapeBuilder(nativeAssets().schemas, { native: true }).definition(definition);
  return shape;
}

/** Schema of `metadata` without references. */
export function metadataSchema(): Schema {
  schema ??= plainSchema(objectMetaShape());
  return schema;
}

function plainSchema(of: Shape): Schema {
  switch (of.type) {
    case "object": {
      const properties = Object.fromEntries([...of.fields].map(([name, field]) => [name, plainSchema(field.shape)]));
      return of.fields.size === 0
        ? { type: "object", "x-kubernetes-preserve-unknown-fields": true }
        : { type: "object", properties };
    }
    case "map":
      return { type: "object", ...(of.values === undefined ? {} : { additionalProperties: plainSchema(of.values) }) };
    case "list":
      return { type: "array", ...(of.items === undefined ? {} : { items: plainSchema(of.items) }) };
    case "string":
    case "integer":
    case "number":
    case "boolean":
      return { type: of.type };
    default:
      return { "x-kubernetes-preserve-unknown-fields": true };
  }
}
