import type { BehaviourTable } from "../registry/behaviour.js";
import { ageColumn, column, nameColumn } from "../registry/columns.js";
import { asObject, ensureObject } from "../registry/read.js";

/** How long a token is good for whose request does not say. */
const defaultLifetimeSeconds = 3600;

function numberIn(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

const counts = [
  column("Desired", ({ spec }) => numberIn(asObject(spec)["replicas"]), { type: "integer" }),
  column("Available", ({ status }) => numberIn(asObject(status)["replicas"]), { type: "integer" }),
];

/** What kinds do that are only sent to subresources. */
export const bodyBehaviours: BehaviourTable = {
  "authentication.k8s.io/TokenRequest": {
    defaults(object) {
      ensureObject(object, "spec")["expirationSeconds"] ??= defaultLifetimeSeconds;
    },
  },
  "autoscaling/Scale": {
    allColumns: true,
    columns: [{ ...nameColumn, format: "" }, ...counts, ageColumn],
  },
  "custom autoscaling/Scale": {
    allColumns: true,
    columns: [nameColumn, ...counts, { ...ageColumn, type: "date" }],
  },
};
