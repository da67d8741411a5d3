/**
 * What the kinds of Kubernetes do beyond their schemas: defaults, validation, immutable fields, status, columns. Tables
 * by kind, read by the registry. In: nothing. Out: `behaviours`. May use: the registry's vocabulary (faults, names, readers).
 */
import type { BehaviourTable } from "../registry/behaviour.js";
import { admissionPolicyBehaviours } from "./admission-policies.js";
import { autoscalerBehaviours } from "./autoscalers.js";
import { bodyBehaviours } from "./bodies.js";
import { clusterBehaviours } from "./cluster.js";
import { configBehaviours } from "./config.js";
import { definitionBehaviours } from "./definitions.js";
import { endpointBehaviours } from "./endpoints.js";
import { eventBehaviours } from "./events.js";
import { ingressBehaviours } from "./ingresses.js";
import { jobBehaviours } from "./jobs.js";
import { limitBehaviours } from "./limits.js";
import { networkPolicyBehaviours } from "./network-policies.js";
import { podBehaviours } from "./pod.js";
import { policyBehaviours } from "./policies.js";
import { serviceBehaviours } from "./services.js";
import { storageBehaviours } from "./storage.js";
import { webhookBehaviours } from "./webhooks.js";
import { workloadBehaviours } from "./workloads.js";

/** Behaviour of native kinds by `group/Kind`. */
export const behaviours: BehaviourTable = {
  ...podBehaviours,
  ...workloadBehaviours,
  ...jobBehaviours,
  ...serviceBehaviours,
  ...endpointBehaviours,
  ...configBehaviours,
  ...clusterBehaviours,
  ...limitBehaviours,
  ...eventBehaviours,
  ...policyBehaviours,
  ...storageBehaviours,
  ...autoscalerBehaviours,
  ...networkPolicyBehaviours,
  ...webhookBehaviours,
  ...admissionPolicyBehaviours,
  ...ingressBehaviours,
  ...definitionBehaviours,
  ...bodyBehaviours,
};
