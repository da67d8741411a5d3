import type { ApiClient } from "../../../kernel/client/index.js";
import { ApiError, messageOf } from "../../../kernel/errors/index.js";
import type { KindDefinition, KubeObject } from "../../../kernel/kinds/index.js";
import { silentLogger } from "../../../kernel/log/index.js";
import { ClusterResourceBindingKind, type ResourceBinding, ResourceBindingKind } from "../bindings/kinds.js";
import { InterpreterRegistry, type Interpreters, ResourceInterpreterCustomizationKind } from "../interpreters/index.js";
import {
  type Cluster,
  ClusterKind,
  type HeadIngress,
  HeadIngressKind,
  type HyperMLService,
  HyperMLServiceKind,
  type Work,
  WorkKind,
} from "../kinds.js";
import {
  ClusterPropagationPolicyKind,
  type ClusterTaintPolicy,
  ClusterTaintPolicyKind,
  type PropagationPolicy,
  PropagationPolicyKind,
} from "../policies/kinds.js";
import { type HyperRollout, HyperRolloutKind } from "../rollout/kind.js";

/** All of a hub that decides where objects go, read at one time; changing it changes nothing but the copy. */
export interface FleetCopy {
  readonly clusters: readonly Cluster[];
  readonly taintPolicies: readonly ClusterTaintPolicy[];
  /** Of both scopes. */
  readonly policies: readonly PropagationPolicy[];
  /** Of both scopes. */
  readonly bindings: readonly ResourceBinding[];
  readonly services: readonly HyperMLService[];
  readonly rollouts: readonly HyperRollout[];
  readonly heads: readonly HeadIngress[];
  readonly works: readonly Work[];
  /** What of this could not be read, and why. */
  readonly unread: readonly string[];
  /** Objects whose own content changed, or whose policy may have: their bindings are made anew from them. */
  readonly templates: readonly KubeObject[];
  readonly interpreters: Interpreters;
  readonly nowMs: number;
}

/** Reads a hub. Throws what its API answers, also where the caller may not read one of the kinds. */
export async function readFleet(client: ApiClient, nowMs: number): Promise<FleetCopy> {
  const listOf = async <T extends KubeObject>(kind: Parameters<typeof client.resource<T>>[0]): Promise<readonly T[]> =>
    (await client.resource(kind).list()).items;
  const unread: string[] = [];
  // Who may place objects need not be who may see services.
  const listOrNone = async <T extends KubeObject>(kind: KindDefinition<T>): Promise<readonly T[]> => {
    try {
      return (await client.resource(kind).list()).items;
    } catch (error) {
      if (!(error instanceof ApiError) || (error.httpCode !== 403 && error.httpCode !== 404)) throw error;
      unread.push(`objects of kind ${kind.kind} are left out: ${messageOf(error)}`);
      return [];
    }
  };
  const interpreters = new InterpreterRegistry();
  const [clusters, taintPolicies, scoped, wide, bindings, wideBindings, customizations] = await Promise.all([
    listOf(ClusterKind),
    listOf(ClusterTaintPolicyKind),
    listOf(PropagationPolicyKind),
    listOf(ClusterPropagationPolicyKind),
    listOf(ResourceBindingKind),
    listOf(ClusterResourceBindingKind),
    listOf(ResourceInterpreterCustomizationKind),
  ]);
  const [services, rollouts, heads, works] = await Promise.all([
    listOrNone(HyperMLServiceKind),
    listOrNone(HyperRolloutKind),
    listOrNone(HeadIngressKind),
    listOrNone(WorkKind),
  ]);
  interpreters.learn(customizations, { nowMs: () => nowMs, log: silentLogger });
  return {
    clusters,
    taintPolicies,
    policies: [...scoped, ...wide],
    bindings: [...bindings, ...wideBindings],
    services,
    rollouts,
    heads,
    works,
    unread,
    templates: [],
    interpreters,
    nowMs,
  };
}
