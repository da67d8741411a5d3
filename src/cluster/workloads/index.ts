/**
 * What kube-controller-manager and kube-scheduler do in a real cluster. In: workload objects, pods, nodes. Out: pods, their
 * bindings, statuses, decisions in the ledger. May use: kernel, stores/ledger.
 */
import type { ControllerSpec } from "../../kernel/control/index.js";
import type { Ledger } from "../../stores/ledger/index.js";
import { autoscalerController } from "./autoscaler/index.js";
import { cronJobController } from "./cronjob/cronjob.controller.js";
import { daemonSetController } from "./daemonset/daemonset.controller.js";
import { deploymentController } from "./deployment/deployment.controller.js";
import { disruptionController } from "./disruption/index.js";
import { garbageCollector, podGarbageCollector } from "./garbage/index.js";
import { jobController } from "./job/job.controller.js";
import { namespaceController } from "./namespace/index.js";
import { nodeLifecycleController } from "./node/node-lifecycle.controller.js";
import { claimProtection, volumeProtection } from "./protection/index.js";
import { replicaSetController, replicationControllerController } from "./replicaset/replicaset.controller.js";
import { schedulerController } from "./scheduler/scheduler.controller.js";
import { endpointSliceController, endpointsController, endpointsMirror } from "./service/index.js";
import {
  clusterRoleAggregation,
  eventCleaner,
  rootCaPublisher,
  serviceAccountController,
  tokenSecrets,
} from "./serviceaccount/index.js";
import { statefulSetController } from "./statefulset/statefulset.controller.js";
import { claimBinder, ephemeralVolumes, volumePhases } from "./volume/index.js";

export { serviceAccountController };

/** What the controllers of one cluster need. */
export interface WorkloadOptions {
  /** Where placement decisions are written down. */
  readonly ledger: Ledger;
  /** The cluster's name, for the ledger. */
  readonly clusterName: string;
  /** The cluster's CA, published to every namespace as ConfigMap `kube-root-ca.crt`; absent: nothing is published. */
  readonly caPem?: string;
  /** Absent: yes. Without it pods wait for a scheduler of somebody else's. */
  readonly scheduler?: boolean;
  /** The controllers that make pods and what belongs to them (Deployment to HorizontalPodAutoscaler, EndpointSlices, budgets, node life cycle). Absent: yes. */
  readonly workloads?: boolean;
}

/** The controllers that make workloads run in an embedded cluster. */
export function workloadControllers(options: WorkloadOptions): readonly ControllerSpec[] {
  return [
    namespaceController(),
    serviceAccountController(),
    ...(options.caPem === undefined
      ? []
      : [rootCaPublisher({ caPem: options.caPem }), tokenSecrets({ caPem: options.caPem })]),
    clusterRoleAggregation(),
    eventCleaner(),
    garbageCollector(),
    podGarbageCollector(),
    claimProtection(),
    volumeProtection(),
    ...(options.scheduler === false ? [] : [schedulerController(options)]),
    ...(options.workloads === false
      ? []
      : [
          endpointSliceController(),
          endpointsController(),
          endpointsMirror(),
          disruptionController(),
          claimBinder(),
          volumePhases(),
          ephemeralVolumes(),
          nodeLifecycleController(),
          deploymentController(),
          replicaSetController(),
          replicationControllerController(),
          statefulSetController(),
          daemonSetController(),
          jobController(),
          cronJobController(),
          autoscalerController(options),
        ]),
  ];
}
