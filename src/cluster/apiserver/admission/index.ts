/**
 * What happens to a write between authorization and validation: defaults that depend on other objects, allotted addresses,
 * refusals. In: admission requests, the store. Out: changed objects or `ApiError`s; the objects a cluster is born with.
 * May use: the API server's store, auth and types; kernel clock and kinds.
 */
import type { Clock, Random } from "../../../kernel/clock/index.js";
import type { Logger } from "../../../kernel/log/index.js";
import type { Connect } from "../../../kernel/netns/index.js";
import { objectKey } from "../store/keys.js";
import type { AdmissionPlugin, Authorizer, ResourceType, Store } from "../types.js";
import type { Submit } from "./bootstrap.js";
import { limitRanger } from "./limit-ranger.js";
import { namespaceLifecycle } from "./namespace-lifecycle.js";
import { nodeRestriction } from "./node-restriction.js";
import { taintNewNodes } from "./node-taints.js";
import { type ObjectCheck, objectChecks } from "./object-checks.js";
import { defaultTolerationSeconds, podPriority } from "./pod-defaults.js";
import { policyAdmission } from "./policies.js";
import { resourceQuota } from "./quota.js";
import { runtimeClassAdmission } from "./runtime-class.js";
import { serviceAccountAdmission } from "./service-account.js";
import { serviceAllocation } from "./services.js";
import { storageProtection } from "./storage-protection.js";
import { type Conversions, webhookAdmission } from "./webhooks/index.js";

export { ensureBootstrapObjects, publishApiAddress, type Submit } from "./bootstrap.js";
export { type CheckResult, checksOf, type ObjectCheck } from "./object-checks.js";

export interface AdmissionOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  /** From which Services get their addresses, `198.19.0.0/24` say; the first has them as long as there are any. */
  readonly serviceCidrs: readonly string[];
  readonly submit: Submit;
  /** Expressions may ask it. */
  readonly authorizer: Authorizer;
  /** All resources that are served: policies name the kind of their parameters. */
  readonly types: () => readonly ResourceType[];
  readonly checks: readonly ObjectCheck[];
  readonly log: Logger;
  /** How webhooks in pods are reached. */
  readonly connect: Connect;
}

export interface Admission {
  /** In the order in which they are asked: all `mutate`, then (after validation of the object) all `validate`. */
  readonly plugins: readonly AdmissionPlugin[];
  /** Asks conversion webhooks of definitions. */
  readonly convert: Conversions["convert"];
  close(): void;
}

/** The admission plugins of an API server. Throws `InputError` for a service range that cannot be used. */
export function createAdmission(options: AdmissionOptions): Admission {
  const { store, random, submit } = options;
  const allocation = serviceAllocation(options);
  const quota = resourceQuota(store, options.log);
  const ensureDefaultAccount = async (namespace: string): Promise<void> => {
    if (store.get(objectKey({ group: "", plural: "namespaces" }, "", namespace)) === undefined) return;
    const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace } };
    await submit("POST", `/api/v1/namespaces/${namespace}/serviceaccounts`, account);
  };
  const builtIn = [
    limitRanger(store),
    serviceAccountAdmission({ store, random, ensureDefaultAccount }),
    podPriority(store),
    defaultTolerationSeconds(),
    runtimeClassAdmission(store),
  ];
  const webhooks = webhookAdmission({ ...options, reinvoked: builtIn });
  return {
    plugins: [
      namespaceLifecycle(store),
      nodeRestriction(store),
      taintNewNodes(),
      storageProtection(),
      ...builtIn,
      policyAdmission(options),
      objectChecks(options.checks, options),
      webhooks,
      // After webhooks, which may not know which addresses are free.
      allocation,
      // Last: nothing is booked for what another plugin refuses.
      quota,
    ],
    convert: webhooks.convert,
    close() {
      webhooks.close();
      allocation.close();
      quota.close();
    },
  };
}
