import { checkRoute } from "../../dataplane/gateway/index.js";
import type { JsonObject } from "../../kernel/kinds/index.js";
import type { AdmissionReview, ModuleAdmission } from "../../kernel/module/types.js";
import { equalJson } from "../../kernel/schema/index.js";
import { planHead, routeOf } from "./head-weights.js";
import { headOf } from "./json.unsafe.js";
import { HeadIngressKind } from "./kinds.js";

/**
 * Says at once, as a warning, what the condition `Programmed` of a HeadIngress by hand is going to say: the object is stored, for what is wrong may lie elsewhere
 * (a listener, a Secret), and its elder version goes on.
 */
export function headIngressAdmission(): ModuleAdmission {
  return {
    kind: HeadIngressKind,
    level: "continuum",
    review: async (object, old): Promise<AdmissionReview> => {
      const fault = equalJson(old?.["spec"], object["spec"]) ? "" : faultOfHead(object);
      const warnings = fault === "" ? [] : [`spec: ${fault}; it carries no requests until this is corrected`];
      return { faults: [], warnings };
    },
  };
}

/** Why no gateway would take its route; empty where nothing is known against it, or its backends are another object's affair. Pure. */
function faultOfHead(object: JsonObject): string {
  const head = headOf(object);
  if (head.spec.hyperMLServiceRef !== undefined) return "";
  return checkRoute(routeOf(head, planHead(head, undefined, new Map(), { latencyMs: new Map() }), "head"));
}
