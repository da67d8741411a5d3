import { isObject, objectAt } from "../fields.js";
import type { AdmissionPlugin } from "../types.js";

const notReady = { key: "node.kubernetes.io/not-ready", effect: "NoSchedule" };

/** A new node gets no pods before its life cycle was looked at: the taint goes when it is found ready. */
export function taintNewNodes(): AdmissionPlugin {
  return {
    name: "TaintNodesByCondition",
    mutate({ operation, type, subresource, object }) {
      if (operation !== "CREATE" || type.group !== "" || type.plural !== "nodes" || subresource !== "") return;
      if (object === undefined) return;
      const spec = objectAt(object, "spec");
      const { taints } = spec;
      const present = Array.isArray(taints) ? taints : [];
      if (present.some((one) => isObject(one) && one["key"] === notReady.key && one["effect"] === notReady.effect))
        return;
      object["spec"] = { ...spec, taints: [...present, { ...notReady }] };
    },
  };
}
