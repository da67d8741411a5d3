import {
  type ControllerSpec,
  type Key,
  type ReconcileContext,
  type ReconcileResult,
  syncStatus,
} from "../../../kernel/control/index.js";
import { isAlreadyExists, messageOf } from "../../../kernel/errors/index.js";
import {
  controllerOf,
  type Deployment,
  DeploymentKind,
  findCondition,
  isDeleting,
  type KubeObject,
  ownerReferenceTo,
  type Pod,
  PodKind,
  type ReplicaSet,
  ReplicaSetKind,
  refersTo,
  selectorFrom,
} from "../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";
import { claimObjects } from "../shared/claim.js";
import { hashOf } from "../shared/hash.js";
import { isTerminal, ownedBy } from "../shared/pods.js";
import { orphanWatch } from "../shared/wake.js";
import {
  annotationsAt,
  beyondHistory,
  byAge,
  desiredAnnotation,
  inheritedAnnotations,
  maxAnnotation,
  notedSize,
  revisionAnnotation,
  revisionOf,
  sizeOf,
  withReplicas,
} from "./annotations.js";
import { countStatus, deadlineMs, isComplete, rolloutStatus, type Said, withSaid } from "./conditions.js";
import {
  allSets,
  isRolling,
  maxPods,
  nextCurrentSize,
  type Resize,
  type Rollout,
  scaleProportionally,
  shrinkOld,
  wanted,
} from "./rollout.js";

const fieldManager = "deployment-controller";
const hashLabel = "pod-template-hash";
const defaultHistory = 10;

type Context = ReconcileContext<Deployment>;

/** Rolls a Deployment's template out over ReplicaSets. */
export function deploymentController(): ControllerSpec<Deployment> {
  return {
    name: fieldManager,
    kind: DeploymentKind,
    owns: [ReplicaSetKind],
    watches: [
      orphanWatch(ReplicaSetKind, DeploymentKind, (deployment) => deployment.spec.selector),
      {
        kind: PodKind,
        keys: (pod, informers) => ownersOfEndedPod(pod, (key) => informers.informer(ReplicaSetKind).get(key)),
      },
    ],
    concurrency: 5,
    async reconcile(_key, deployment, context) {
      return deployment === undefined ? undefined : reconcileDeployment(deployment, context);
    },
  };
}

/** A Recreate roll-out goes on when the last old pod is gone; no ReplicaSet changes then. */
function ownersOfEndedPod(pod: KubeObject, setAt: (key: Key) => ReplicaSet | undefined): readonly Key[] {
  if (!isDeleting(pod)) return [];
  const reference = controllerOf(pod);
  if (reference === undefined || !refersTo(reference, ReplicaSetKind)) return [];
  const namespace = pod.metadata.namespace ?? "";
  const set = setAt({ namespace, name: reference.name });
  const owner = set === undefined ? undefined : controllerOf(set);
  return owner === undefined || !refersTo(owner, DeploymentKind) ? [] : [{ namespace, name: owner.name }];
}

async function reconcileDeployment(deployment: Deployment, context: Context): Promise<ReconcileResult | undefined> {
  const selector = selectorFrom(deployment.spec.selector);
  if (selector.requirements.length === 0) {
    context.events.record(
      deployment,
      "Warning",
      "SelectingAll",
      "This deployment is selecting all pods. A non-empty selector is required.",
    );
    return undefined;
  }
  const sets = await claimObjects({
    owner: deployment,
    owners: context.cluster.client.resource(DeploymentKind),
    selector,
    informer: context.cluster.informers.informer(ReplicaSetKind),
    resource: context.cluster.client.resource(ReplicaSetKind),
    fieldManager,
  });
  const rollout = splitSets(deployment, sets);
  if (isDeleting(deployment)) return writeStatus(rollout, context);
  if (deployment.spec.paused === true || isScaling(rollout)) return syncSizes(rollout, context);
  return isRolling(deployment) ? roll(rollout, context) : recreate(rollout, context);
}

/** The template as a ReplicaSet has it, without the label that we add. */
function plainTemplate(template: ReplicaSet["spec"]["template"]): object {
  const { [hashLabel]: _hash, ...labels } = template?.metadata?.labels ?? {};
  return { ...template, metadata: { ...template?.metadata, labels } };
}

function splitSets(deployment: Deployment, sets: readonly ReplicaSet[]): Rollout {
  const template = toJson(plainTemplate(deployment.spec.template));
  const current = sets.toSorted(byAge).find((set) => equalJson(toJson(plainTemplate(set.spec.template)), template));
  return { deployment, current, old: sets.filter((set) => set !== current) };
}

function isScaling(rollout: Rollout): boolean {
  return withReplicas(allSets(rollout)).some((set) => {
    const noted = notedSize(set, desiredAnnotation);
    return noted !== undefined && noted !== wanted(rollout.deployment);
  });
}

async function roll(start: Rollout, context: Context): Promise<ReconcileResult | undefined> {
  let rollout = await ensureCurrent(start, context);
  if (rollout.current === undefined) return undefined;
  const size = nextCurrentSize(rollout);
  if (size !== sizeOf(rollout.current)) {
    rollout = await resize(rollout, [{ set: rollout.current, size }], context);
    return writeStatus(rollout, context);
  }
  const shrinking = shrinkOld(rollout);
  if (shrinking.length > 0) return writeStatus(await resize(rollout, shrinking, context), context);
  return finish(rollout, context);
}

async function recreate(start: Rollout, context: Context): Promise<ReconcileResult | undefined> {
  const shrinking = withReplicas(start.old).map((set) => ({ set, size: 0 }));
  if (shrinking.length > 0) return writeStatus(await resize(start, shrinking, context), context);
  const pods = context.cluster.informers.informer(PodKind);
  const isRunning = (pod: Pod): boolean => !isTerminal(pod);
  if (start.old.some((set) => ownedBy(pods, set.metadata.uid).some(isRunning))) return writeStatus(start, context);
  const rollout = await ensureCurrent(start, context);
  if (rollout.current === undefined) return undefined;
  if (sizeOf(rollout.current) !== wanted(rollout.deployment)) {
    return writeStatus(
      await resize(rollout, [{ set: rollout.current, size: wanted(rollout.deployment) }], context),
      context,
    );
  }
  return finish(rollout, context);
}

async function finish(rollout: Rollout, context: Context): Promise<ReconcileResult | undefined> {
  if (isComplete(rollout.deployment, countStatus(rollout, context.clock.now()))) await cleanUp(rollout, context);
  return writeStatus(rollout, context);
}

/** Sizes only: while paused no new template is rolled out. */
async function syncSizes(start: Rollout, context: Context): Promise<ReconcileResult | undefined> {
  const rollout = await noteRevision(start, context);
  const resized = await resize(rollout, scaleProportionally(rollout), context);
  if (rollout.deployment.spec.paused === true) await cleanUp(resized, context);
  return writeStatus(resized, context);
}

/** Makes the ReplicaSet of the present template, and notes the revision on both. `current` stays undefined when its name was taken: the next look uses another. */
async function ensureCurrent(rollout: Rollout, context: Context): Promise<Rollout> {
  const { deployment, current, old } = rollout;
  if (current !== undefined) return noteRevision(rollout, context);
  const revision = Math.max(0, ...old.map(revisionOf)) + 1;
  const hash = hashOf(deployment.spec.template, deployment.status?.collisionCount ?? 0);
  const size = nextCurrentSize(rollout);
  const { template, selector, minReadySeconds } = deployment.spec;
  const labels = { ...template.metadata?.labels, [hashLabel]: hash };
  const sets = context.cluster.client.resource(ReplicaSetKind);
  const draft = {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: deployment.metadata.namespace ?? "",
      labels,
      annotations: {
        ...inheritedAnnotations(deployment),
        [revisionAnnotation]: String(revision),
        [desiredAnnotation]: String(wanted(deployment)),
        [maxAnnotation]: String(maxPods(deployment)),
      },
      ownerReferences: [ownerReferenceTo(deployment)],
    },
    spec: {
      replicas: size,
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [hashLabel]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels } },
      ...(minReadySeconds === undefined ? {} : { minReadySeconds }),
    },
  };
  try {
    const made = await sets.create(draft, { fieldManager });
    if (size > 0)
      context.events.record(
        deployment,
        "Normal",
        "ScalingReplicaSet",
        `Scaled up replica set ${made.metadata.name} from 0 to ${size}`,
      );
    return await noteRevision({ ...rollout, current: made, isNew: true }, context);
  } catch (error) {
    if (!isAlreadyExists(error)) {
      await noteFailedCreate(rollout, error, context);
      throw error;
    }
    await countCollision(rollout, draft.metadata.name, context);
    return rollout;
  }
}

async function noteFailedCreate({ deployment }: Rollout, error: unknown, context: Context): Promise<void> {
  const message = `Failed to create new replica set: ${messageOf(error)}`;
  context.events.record(deployment, "Warning", "ReplicaSetCreateError", message);
  const said: Said = { type: "Progressing", status: "False", reason: "ReplicaSetCreateError", message };
  const conditions = withSaid(deployment.status?.conditions ?? [], said, context.clock.now());
  await syncStatus(
    context.cluster.client.resource(DeploymentKind),
    deployment,
    { ...deployment.status, conditions },
    fieldManager,
  );
}

/** The name of the hash belongs to someone else (or to our own set that the informer has not shown yet, which comes of itself). */
async function countCollision({ deployment }: Rollout, name: string, context: Context): Promise<void> {
  const namespace = deployment.metadata.namespace ?? "";
  const taken = await context.cluster.client.resource(ReplicaSetKind).find(name, { namespace });
  if (taken === undefined || controllerOf(taken)?.uid === deployment.metadata.uid) {
    context.enqueue({ namespace, name: deployment.metadata.name }, 200);
    return;
  }
  const status = { ...deployment.status, collisionCount: (deployment.status?.collisionCount ?? 0) + 1 };
  await syncStatus(context.cluster.client.resource(DeploymentKind), deployment, status, fieldManager);
}

async function noteRevision(rollout: Rollout, context: Context): Promise<Rollout> {
  const { current, old } = rollout;
  if (current === undefined) return rollout;
  let { deployment } = rollout;
  const revision = Math.max(0, ...old.map(revisionOf)) + 1;
  const annotations = annotationsAt(current, deployment, revision);
  const minReadySeconds = deployment.spec.minReadySeconds ?? 0;
  let noted = current;
  if (
    !equalJson(annotations, current.metadata.annotations ?? {}) ||
    (current.spec.minReadySeconds ?? 0) !== minReadySeconds
  ) {
    noted = await patchSet(current, { metadata: { annotations }, spec: { minReadySeconds } }, context);
  }
  const text = String(revisionOf(noted));
  if (deployment.metadata.annotations?.[revisionAnnotation] !== text) {
    deployment = await context.cluster.client
      .resource(DeploymentKind)
      .patch(
        deployment.metadata.name,
        "merge",
        { metadata: { annotations: { [revisionAnnotation]: text } } },
        { namespace: deployment.metadata.namespace ?? "", fieldManager },
      );
  }
  return { ...rollout, deployment, current: noted };
}

function patchSet(
  set: ReplicaSet,
  patch: { metadata: { annotations: Record<string, string> }; spec: { replicas?: number; minReadySeconds?: number } },
  context: Context,
): Promise<ReplicaSet> {
  const { name, namespace = "", resourceVersion } = set.metadata;
  const body = { ...patch, metadata: { ...patch.metadata, resourceVersion } };
  return context.cluster.client.resource(ReplicaSetKind).patch(name, "merge", body, { namespace, fieldManager });
}

/** Gives sets their sizes, and notes on all what they are shares of. */
async function resize(rollout: Rollout, changes: readonly Resize[], context: Context): Promise<Rollout> {
  const { deployment } = rollout;
  const sizes = { [desiredAnnotation]: String(wanted(deployment)), [maxAnnotation]: String(maxPods(deployment)) };
  const changed = new Map<ReplicaSet, ReplicaSet>();
  for (const { set, size } of changes) {
    const isNoted = Object.entries(sizes).every(([name, value]) => set.metadata.annotations?.[name] === value);
    if (size === sizeOf(set) && isNoted) continue;
    changed.set(set, await patchSet(set, { metadata: { annotations: sizes }, spec: { replicas: size } }, context));
    if (size === sizeOf(set)) continue;
    const direction = size > sizeOf(set) ? "up" : "down";
    context.events.record(
      deployment,
      "Normal",
      "ScalingReplicaSet",
      `Scaled ${direction} replica set ${set.metadata.name} from ${sizeOf(set)} to ${size}`,
    );
  }
  const latest = (set: ReplicaSet): ReplicaSet => changed.get(set) ?? set;
  return {
    ...rollout,
    current: rollout.current === undefined ? undefined : latest(rollout.current),
    old: rollout.old.map(latest),
  };
}

async function cleanUp(rollout: Rollout, context: Context): Promise<void> {
  const limit = rollout.deployment.spec.revisionHistoryLimit ?? defaultHistory;
  const sets = context.cluster.client.resource(ReplicaSetKind);
  for (const set of beyondHistory(rollout.old, limit)) {
    const { name, namespace = "", uid } = set.metadata;
    await sets.delete(name, { namespace, preconditions: { uid } });
  }
}

/** Pausing and resuming stop and restart the deadline; a new template starts it. */
function noteTurns(rollout: Rollout, nowMs: number): Rollout {
  const { deployment, current, isNew = false } = rollout;
  const conditions = deployment.status?.conditions ?? [];
  const progressing = findCondition(conditions, "Progressing");
  const say = (status: "True" | "Unknown", reason: string, message: string): Rollout => {
    const said: Said = { type: "Progressing", status, reason, message };
    return {
      ...rollout,
      deployment: { ...deployment, status: { ...deployment.status, conditions: withSaid(conditions, said, nowMs) } },
    };
  };
  if (deployment.spec.progressDeadlineSeconds === undefined || progressing?.reason === "ProgressDeadlineExceeded")
    return rollout;
  if (deployment.spec.paused === true)
    return progressing?.reason === "DeploymentPaused"
      ? rollout
      : say("Unknown", "DeploymentPaused", "Deployment is paused");
  if (progressing?.reason === "DeploymentPaused") return say("Unknown", "DeploymentResumed", "Deployment is resumed");
  if (current !== undefined && (isNew || progressing === undefined))
    return say("True", "NewReplicaSetCreated", `Created new replica set "${current.metadata.name}"`);
  return rollout;
}

async function writeStatus(rollout: Rollout, context: Context): Promise<ReconcileResult | undefined> {
  const nowMs = context.clock.now();
  const { deployment } = rollout;
  const turned = noteTurns(rollout, nowMs);
  const status = deployment.spec.paused === true ? countStatus(turned, nowMs) : rolloutStatus(turned, nowMs);
  const isStarting = status.conditions?.some(
    (condition) => condition.reason === "ReplicaSetUpdated" || condition.reason === "NewReplicaSetCreated",
  );
  await syncStatus(context.cluster.client.resource(DeploymentKind), deployment, status, fieldManager);
  const limitMs = isStarting === true ? deadlineMs(deployment, status.conditions ?? []) : undefined;
  return limitMs === undefined ? undefined : { requeueAfterMs: Math.max(limitMs - nowMs, 0) + 1000 };
}
