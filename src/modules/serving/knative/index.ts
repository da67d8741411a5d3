/**
 * Knative's Service, Configuration, Revision and Route, made true with ordinary Deployments, Services and Ingresses. In: those
 * objects, what the autoscaler says of Deployments. Out: children, statuses. May use: the kernel, the ledger, the autoscaler's door.
 */
import type { ControllerSpec } from "../../../kernel/control/types.js";
import { configurationController } from "./configuration.js";
import type { KnativeOptions } from "./parts.js";
import { revisionController } from "./revision.js";
import { routeController } from "./route.js";
import { knativeServiceController } from "./service.js";

export { knativeAdmission } from "./admission.js";
export { KNATIVE_KINDS } from "./kinds.js";

/** The four controllers of a cluster. */
export function knativeControllers(options: KnativeOptions): readonly ControllerSpec[] {
  return [knativeServiceController(), configurationController(), revisionController(), routeController(options)];
}
