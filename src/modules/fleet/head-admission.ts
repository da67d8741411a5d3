import { checkRoute } from "../../dataplane/gateway/index.js";
import type { JsonObject } from "../../kernel/kinds/index.js";
import type { AdmissionReview, ModuleAdmission } from "../../kernel/module/types.js";
import { equalJson } from "../../kernel/schema/index.js";
import { type HeadPlan, planHead, routeOf } from "./head-weights.js";
import { classOf } from "./heads/applier.js";
import { builtinLimits, effectless } from "./heads/conditions.js";
import { headOf } from "./json.unsafe.js";
import { type HeadIngress, HeadIngressKind } from "./kinds.js";

/**
 * Says at once, as warnings, what the conditions `Programmed` and `FieldsHonoured` of a HeadIngress by hand are going to say: the object is stored, for what
 * is wrong may lie elsewhere (a listener, a Secret).
 */
export function headIngressAdmission(): ModuleAdmission {
  return {
    kind: HeadIngressKind,
    level: "continuum",
    review: async (object, old): Promise<AdmissionReview> => ({
      faults: [],
      warnings: equalJson(old?.["spec"], object["spec"]) ? [] : warningsOf(object, old),
    }),
  };
}

/** What is known against it; nothing where its backends are another object's affair. Pure. */
function warningsOf(object: JsonObject, old: JsonObject | undefined): string[] {
  const head = headOf(object);
  if (head.spec.hyperMLServiceRef !== undefined) return [];
  const plan = planHead(head, undefined, new Map(), { latencyMs: new Map() });
  const fault = checkRoute(routeOf(head, plan, "head"));
  const before = old === undefined ? undefined : headOf(old).status?.inEffect?.generation;
  const meanwhile =
    before === undefined ? "it carries no requests" : `generation ${before} of the spec stays in effect`;
  if (fault !== "") return [`spec: ${fault}; ${meanwhile} until this is corrected`];
  return [...plan.faults, ...backendWarnings(plan), ...fieldWarnings(head, plan)];
}

function backendWarnings({ backends }: HeadPlan): string[] {
  return backends.flatMap(({ name, reason, message }) =>
    reason === "BadAddress" ? [`spec.backends: ${name}: ${message}: it gets no requests`] : [],
  );
}

function fieldWarnings(head: HeadIngress, plan: HeadPlan): string[] {
  const own = classOf(head) === "builtin" ? builtinLimits(head) : [];
  return [...effectless(head, plan), ...own].map(({ field, message }) => `${field} has no effect: ${message}`);
}
