import { addQuantities, formatQuantity, parseQuantity, zeroQuantity } from "../../../kernel/kinds/index.js";
import type { Json, JsonObject } from "../../../kernel/kinds/object.js";
import { CustomType, customVersions } from "../registry/index.js";
import { asObject, asObjects, asString } from "../registry/read.js";
import type { TableColumn, Verb } from "../types.js";

export const metricsGroup = "metrics.k8s.io";
export const metricsVersion = "v1beta1";

const usage = { type: "object", additionalProperties: { "x-kubernetes-int-or-string": true } };
const times = { timestamp: { type: "string", format: "date-time" }, window: { type: "string" } };
const container = { type: "object", required: ["name", "usage"], properties: { name: { type: "string" }, usage } };

function definitionOf(kind: string, plural: string, scope: string, properties: JsonObject): JsonObject {
  const schema = { type: "object", properties: { ...times, ...properties } };
  return {
    spec: {
      group: metricsGroup,
      scope,
      names: { kind, listKind: `${kind}List`, plural, singular: "", shortNames: [], categories: [] },
      versions: [{ name: metricsVersion, served: true, storage: true, schema: { openAPIV3Schema: schema } }],
    },
  };
}

/** A kind that is measured when it is asked for, and never stored. */
class MeasuredType extends CustomType {
  override readonly verbs: readonly Verb[] = ["get", "list"];
  override readonly columns: readonly TableColumn[] = [
    column("Name", "name"),
    column("cpu", "quantity"),
    column("memory", "quantity"),
    column("Window", "duration"),
  ];

  override cells(object: JsonObject): (string | number | boolean | null)[] {
    const name = asString(asObject(object["metadata"])["name"]);
    const parts = object["containers"] === undefined ? [object] : asObjects(object["containers"]);
    const sum = (resource: string): string =>
      formatQuantity(
        parts
          .map((part) => parseQuantity(asString(asObject(part["usage"])[resource]) || "0"))
          .reduce(addQuantities, zeroQuantity),
      );
    return [name, sum("cpu"), sum("memory"), asString(object["window"])];
  }
}

function column(name: string, format: string): TableColumn {
  return { name, type: "string", format, description: "", priority: 0 };
}

function measured(kind: string, plural: string, scope: string, properties: { [field: string]: Json }): MeasuredType {
  const [version] = customVersions(definitionOf(kind, plural, scope, properties));
  if (version === undefined) throw new TypeError(`${kind} has no version`);
  return new MeasuredType(version);
}

/** `NodeMetrics` and `PodMetrics` as metrics-server serves them. */
export const nodeMetricsType = measured("NodeMetrics", "nodes", "Cluster", { usage });
export const podMetricsType = measured("PodMetrics", "pods", "Namespaced", {
  containers: { type: "array", items: container },
});
