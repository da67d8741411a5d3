import {
  type ControllerSpec,
  type ReconcileContext,
  type ReconcileResult,
  syncStatus,
} from "../../../kernel/control/index.js";
import {
  ControllerRevisionKind,
  type DaemonSet,
  DaemonSetKind,
  type DaemonSetStatus,
  isDeleting,
  NodeKind,
  type Pod,
  PodKind,
  selectorFrom,
} from "../../../kernel/kinds/index.js";
import { claimObjects } from "../shared/claim.js";
import { createOwnedPod } from "../shared/create.js";
import { resolveIntOrPercent } from "../shared/intstr.js";
import { isAvailable, isReady, isTerminal, nextAvailabilityMs, podFromTemplate } from "../shared/pods.js";
import { ensureRevision, revisionLabel, trimRevisions } from "../shared/revisions.js";
import { orphanWatch } from "../shared/wake.js";
import { nodeOfPod, placementOn, podSpecFor } from "./placement.js";

const fieldManager = "daemon-set-controller";
const defaultHistory = 10;

type Context = ReconcileContext<DaemonSet>;

/** Keeps one pod of a DaemonSet on each node that is meant. */
export function daemonSetController(): ControllerSpec<DaemonSet> {
  return {
    name: fieldManager,
    kind: DaemonSetKind,
    owns: [PodKind, ControllerRevisionKind],
    watches: [
      orphanWatch(PodKind, DaemonSetKind, (set) => set.spec.selector),
      {
        kind: NodeKind,
        keys: (_node, informers) =>
          informers
            .informer(DaemonSetKind)
            .list()
            .map(({ metadata }) => ({ namespace: metadata.namespace ?? "", name: metadata.name })),
      },
    ],
    async reconcile(_key, set, context) {
      return set === undefined ? undefined : reconcileSet(set, context);
    },
  };
}

interface NodeState {
  readonly name: string;
  readonly shouldRun: boolean;
  readonly mayStay: boolean;
  readonly pods: readonly Pod[];
}

function podsOf(set: DaemonSet, context: Context): Promise<readonly Pod[]> {
  return claimObjects({
    owner: set,
    owners: context.cluster.client.resource(DaemonSetKind),
    selector: selectorFrom(set.spec.selector),
    informer: context.cluster.informers.informer(PodKind),
    resource: context.cluster.client.resource(PodKind),
    fieldManager,
  });
}

async function survey(set: DaemonSet, context: Context): Promise<readonly NodeState[]> {
  const byNode = new Map<string, Pod[]>();
  for (const pod of await podsOf(set, context)) {
    const node = nodeOfPod(pod) ?? "";
    byNode.set(node, [...(byNode.get(node) ?? []), pod]);
  }
  const nodes = context.cluster.informers.informer(NodeKind).list();
  const known = new Set(nodes.map((node) => node.metadata.name));
  const states = nodes.map(
    (node): NodeState => ({
      name: node.metadata.name,
      ...placementOn(set, node),
      pods: (byNode.get(node.metadata.name) ?? []).toSorted((a, b) =>
        a.metadata.creationTimestamp < b.metadata.creationTimestamp ? -1 : 1,
      ),
    }),
  );
  const stray = [...byNode].filter(([node]) => !known.has(node)).flatMap(([, pods]) => pods);
  return [...states, { name: "", shouldRun: false, mayStay: false, pods: stray }];
}

async function reconcileSet(set: DaemonSet, context: Context): Promise<ReconcileResult | undefined> {
  const { cluster, clock } = context;
  const history = {
    owner: set,
    template: set.spec.template,
    labels: set.spec.selector.matchLabels ?? {},
    cluster,
    fieldManager,
  };
  const revision = await ensureRevision(history);
  const hash = revision.metadata.labels?.[revisionLabel] ?? revision.metadata.name;
  let failure: { readonly error: unknown } | undefined;
  if (!isDeleting(set)) {
    try {
      await settle(set, await survey(set, context), hash, context);
      await rollOn(set, await survey(set, context), hash, context);
    } catch (error) {
      failure = { error };
    }
  }
  const states = await survey(set, context);
  await syncStatus(cluster.client.resource(DaemonSetKind), set, statusOf(set, states, hash, clock.now()), fieldManager);
  const pods = states.flatMap((state) => state.pods);
  const inUse = new Set([
    revision.metadata.name,
    ...pods.map((pod) => `${set.metadata.name}-${pod.metadata.labels?.[revisionLabel] ?? ""}`),
  ]);
  await trimRevisions({ ...history, limit: set.spec.revisionHistoryLimit ?? defaultHistory, inUse });
  if (failure !== undefined) throw failure.error;
  const waitMs = nextAvailabilityMs(pods, set.spec.minReadySeconds ?? 0, clock.now());
  return waitMs === undefined ? undefined : { requeueAfterMs: waitMs };
}

/** One pod where it should run, none where it must not, ended ones replaced. */
async function settle(set: DaemonSet, states: readonly NodeState[], hash: string, context: Context): Promise<void> {
  for (const state of states) {
    const live = state.pods.filter((pod) => !isDeleting(pod));
    const ended = live.filter(isTerminal);
    const running = live.filter((pod) => !isTerminal(pod));
    const unwanted = state.mayStay ? [...ended, ...running.slice(1)] : live;
    for (const pod of unwanted) await deletePod(set, pod, context);
    // Where one is still ending, the next waits: two at once might fight over ports and paths.
    if (state.shouldRun && running.length === 0 && ended.length === 0 && state.pods.every((pod) => !isDeleting(pod)))
      await createPod(set, state.name, hash, context);
  }
}

/** RollingUpdate: old pods go as far as `maxUnavailable` allows, those that do not work anyway first. */
async function rollOn(set: DaemonSet, states: readonly NodeState[], hash: string, context: Context): Promise<void> {
  const { updateStrategy } = set.spec;
  if (updateStrategy?.type === "OnDelete") return;
  const { maxUnavailable = 1, maxSurge = 0 } = updateStrategy?.rollingUpdate ?? {};
  const wanted = states.filter((state) => state.shouldRun);
  if (resolveIntOrPercent(maxSurge, wanted.length, "up") > 0) {
    context.events.record(
      set,
      "Warning",
      "UnsupportedField",
      "spec.updateStrategy.rollingUpdate.maxSurge cannot be carried out here; pods are replaced one at a time",
    );
  }
  const limit = Math.max(1, resolveIntOrPercent(maxUnavailable, wanted.length, "up"));
  const works = (pod: Pod): boolean =>
    !isDeleting(pod) && isAvailable(pod, set.spec.minReadySeconds ?? 0, context.clock.now());
  const isOld = (pod: Pod): boolean => !isDeleting(pod) && pod.metadata.labels?.[revisionLabel] !== hash;
  let budget = limit - wanted.filter((state) => !state.pods.some(works)).length;
  const old = wanted.flatMap((state) => state.pods.filter(isOld));
  for (const pod of old.filter((candidate) => !works(candidate))) await deletePod(set, pod, context);
  for (const pod of old.filter(works)) {
    if (budget <= 0) return;
    budget -= 1;
    await deletePod(set, pod, context);
  }
}

async function createPod(set: DaemonSet, node: string, hash: string, context: Context): Promise<void> {
  const draft = podFromTemplate(set.spec.template, set, {
    labels: { [revisionLabel]: hash },
    spec: podSpecFor(set, node),
  });
  await createOwnedPod(set, draft, context, fieldManager);
}

async function deletePod(set: DaemonSet, pod: Pod, context: Context): Promise<void> {
  const { name, namespace = "", uid } = pod.metadata;
  await context.cluster.client.resource(PodKind).delete(name, { namespace, preconditions: { uid } });
  context.events.record(set, "Normal", "SuccessfulDelete", `Deleted pod: ${name}`);
}

function statusOf(set: DaemonSet, states: readonly NodeState[], hash: string, nowMs: number): DaemonSetStatus {
  const wanted = states.filter((state) => state.shouldRun);
  const count = (holds: (pod: Pod) => boolean): number =>
    wanted.filter((state) => state.pods.some((pod) => !isDeleting(pod) && holds(pod))).length;
  const available = count((pod) => isAvailable(pod, set.spec.minReadySeconds ?? 0, nowMs));
  const updated = count((pod) => pod.metadata.labels?.[revisionLabel] === hash);
  const unavailable = wanted.length - available;
  return {
    desiredNumberScheduled: wanted.length,
    currentNumberScheduled: count(() => true),
    numberMisscheduled: states.filter((state) => !state.shouldRun && state.pods.some((pod) => !isDeleting(pod))).length,
    numberReady: count(isReady),
    // Zeros are left out, as Go leaves them out.
    ...(updated > 0 ? { updatedNumberScheduled: updated } : {}),
    ...(available > 0 ? { numberAvailable: available } : {}),
    ...(unavailable > 0 ? { numberUnavailable: unavailable } : {}),
    ...(set.metadata.generation === undefined ? {} : { observedGeneration: set.metadata.generation }),
  };
}
