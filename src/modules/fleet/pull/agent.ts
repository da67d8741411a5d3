import type { Followed } from "../../../kernel/client/index.js";
import type { ClusterAccess, ControllerSpec } from "../../../kernel/control/index.js";
import { apiVersionOf, ConfigMapKind, LeaseKind, timeOf } from "../../../kernel/kinds/index.js";
import { clusterReporter } from "../cluster-status.js";
import { executionController } from "../execution.js";
import { InterpreterRegistry } from "../interpreters/index.js";
import { type Cluster, ClusterKind, WorkKind } from "../kinds.js";
import { executionSpaceOf } from "../names.js";
import { FIGURES } from "../rollout/figures.js";
import { figuresController } from "./figures.js";
import { CLUSTER_SPACE, CREDENTIAL_ENDS } from "./names.js";

/** The hub calls a member whose lease was not renewed for so long not ready. */
const LEASE_SECONDS = 9;
/** Two may be lost. */
const RENEW_MS = 3000;

/** How an agent differs from the usual one. */
export interface PullOptions {
  /** A call to the member that takes longer has failed; default 5 s. */
  readonly callTimeoutMs?: number;
  /** When its credential in the hub ends, in milliseconds since the epoch; the hub is told. */
  readonly credentialEnds?: () => number | undefined;
}

/** What of the hub an agent in a member follows: its own Works, its own Cluster, and what it is asked. */
export function followedByAgent(cluster: string): Followed {
  const space = executionSpaceOf(cluster);
  const maps = `${apiVersionOf(ConfigMapKind)}/${ConfigMapKind.plural}`;
  return {
    namespaces: { [`${apiVersionOf(WorkKind)}/${WorkKind.plural}`]: space, [maps]: space },
    fieldSelectors: {
      [`${apiVersionOf(ClusterKind)}/${ClusterKind.plural}`]: `metadata.name=${cluster}`,
      [maps]: `metadata.name=${FIGURES}`,
    },
  };
}

/**
 * The controllers of a member's own agent (pull). They run against the hub, with rights to the member's Works, Cluster and Lease alone: Works are made true
 * in the member by what makes them true in push members, and the Cluster is filled in the same way.
 */
export function pullControllers(member: ClusterAccess, options: PullOptions = {}): ControllerSpec[] {
  const { credentialEnds = () => undefined, ...limits } = options;
  const members = (name: string): ClusterAccess | undefined => (name === member.name ? member : undefined);
  return [
    executionController({ members, interpreters: new InterpreterRegistry(), isAgent: true, ...limits }),
    clusterReporter(members),
    leaseController(member.name, credentialEnds),
    figuresController(member),
  ];
}

/** Renews the member's Lease, whatever the member's API says: it tells that the agent is there. */
function leaseController(name: string, credentialEnds: () => number | undefined): ControllerSpec<Cluster> {
  return {
    name: "cluster-lease-controller",
    kind: ClusterKind,
    async reconcile(key, cluster, context) {
      if (cluster === undefined || key.name !== name) return undefined;
      if (cluster.spec?.syncMode === "Pull") {
        const renewTime = `${new Date(context.clock.now()).toISOString().slice(0, 23)}000Z`;
        const spec = { holderIdentity: name, leaseDurationSeconds: LEASE_SECONDS, renewTime };
        const options = { namespace: CLUSTER_SPACE, fieldManager: "argosy-agent", signal: context.signal };
        const endsMs = credentialEnds();
        const annotations = endsMs === undefined ? {} : { [CREDENTIAL_ENDS]: timeOf(endsMs) };
        await context.cluster.client
          .resource(LeaseKind)
          .patch(name, "merge", { metadata: { annotations }, spec }, options);
      }
      return { requeueAfterMs: RENEW_MS };
    },
  };
}
