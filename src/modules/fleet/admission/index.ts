/**
 * What Karmada's webhooks and its cluster API fill in and refuse, in their words, for the kinds that Argosy's own engine serves. In: objects as
 * they are written. Out: completed objects, refusals.
 */
import type { ModuleAdmission } from "../../../kernel/module/types.js";
import { customizationAdmission } from "../interpreters/index.js";
import { federatedHpaAdmission } from "./autoscalers.js";
import { clusterAdmission } from "./clusters.js";
import { cronFederatedHpaAdmission } from "./cron.js";
import { deletionProtection, multiClusterServiceAdmission, taintPolicyAdmission } from "./others.js";
import { overrideAdmission } from "./overrides.js";
import { propagationAdmission } from "./propagation.js";
import { quotaAdmission } from "./quotas.js";
import { workAdmission } from "./works.js";

/** The looks of the engine at what is written into the hub. */
export function engineAdmission(): ModuleAdmission[] {
  return [
    ...propagationAdmission(),
    ...overrideAdmission(),
    taintPolicyAdmission(),
    clusterAdmission(),
    ...workAdmission(),
    quotaAdmission(),
    federatedHpaAdmission(),
    cronFederatedHpaAdmission(),
    multiClusterServiceAdmission(),
    customizationAdmission(),
    deletionProtection(),
  ];
}
