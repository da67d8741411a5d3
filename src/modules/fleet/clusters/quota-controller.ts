import { type ControllerSpec, type Key, type ReconcileContext, syncStatus } from "../../../kernel/control/index.js";
import { isNotFound } from "../../../kernel/errors/index.js";
import {
  addQuantities,
  formatQuantity,
  isDeleting,
  type JsonObject,
  type KubeObject,
  tryParseQuantity,
} from "../../../kernel/kinds/index.js";
import { asObject, equalJson, isObject } from "../../../kernel/schema/index.js";
import { asManifest, WORK_ID } from "../interpreters/index.js";
import { ClusterKind, type Work, WorkKind } from "../kinds.js";
import { clusterOfSpace, EXECUTION_FINALIZER, executionSpaceOf, KARMADA } from "../names.js";
import { workNameOf } from "../policies/marks.js";
import {
  type FederatedResourceQuota,
  FederatedResourceQuotaKind,
  type FederatedResourceQuotaStatus,
} from "./quota-kind.js";

const NAME = "federated-resource-quota-controller";
const FINALIZER = "karmada.io/federated-resource-quota-controller";
/** Labels of a Work: the quota that it is a share of. */
const QUOTA = {
  name: "federatedresourcequota.karmada.io/name",
  namespace: "federatedresourcequota.karmada.io/namespace",
};
const QUOTA_INDEX = "federated-quota";

type Context = ReconcileContext<FederatedResourceQuota>;
type Amounts = Record<string, string | number>;

/** Gives each cluster that a federated quota names a ResourceQuota with its share, and sums up what they say is used. */
export function quotaController(): ControllerSpec<FederatedResourceQuota> {
  return {
    name: NAME,
    kind: FederatedResourceQuotaKind,
    finalizer: FINALIZER,
    watches: [
      { kind: WorkKind, keys: quotaOf },
      {
        kind: ClusterKind,
        keys: (cluster, informers) =>
          informers
            .informer(FederatedResourceQuotaKind)
            .list()
            .filter(({ spec }) =>
              spec.staticAssignments?.some(({ clusterName }) => clusterName === cluster.metadata.name),
            )
            .map(({ metadata: { name, namespace = "" } }) => ({ namespace, name })),
      },
    ],
    async reconcile(_key, quota, context) {
      if (quota === undefined) return;
      const works = await worksOf(quota, context);
      await writeShares(quota, works, context);
      const present = (await worksOf(quota, context)).filter((work) => !isDeleting(work));
      await syncStatus(
        context.cluster.client.resource(FederatedResourceQuotaKind),
        quota,
        statusOf(quota, present),
        NAME,
      );
    },
    async finalize(quota, context) {
      for (const work of await worksOf(quota, context)) await remove(work, context);
      return "done";
    },
  };
}

function quotaOf({ metadata: { labels = {} } }: KubeObject): Key[] {
  const [name, namespace] = [labels[QUOTA.name], labels[QUOTA.namespace]];
  return name === undefined || namespace === undefined ? [] : [{ namespace, name }];
}

async function worksOf({ metadata }: FederatedResourceQuota, context: Context): Promise<readonly Work[]> {
  const works = context.cluster.informers.informer(WorkKind);
  works.addIndex(QUOTA_INDEX, (work) => quotaOf(work).map(({ namespace, name }) => `${namespace}/${name}`));
  await works.synced(context.signal);
  return works.byIndex(QUOTA_INDEX, `${metadata.namespace ?? ""}/${metadata.name}`);
}

async function writeShares(quota: FederatedResourceQuota, works: readonly Work[], context: Context): Promise<void> {
  const { name, namespace = "" } = quota.metadata;
  const clusters = context.cluster.informers.informer(ClusterKind);
  await clusters.synced(context.signal);
  const client = context.cluster.client.resource(WorkKind);
  const wanted = new Set<string>();
  for (const { clusterName, hard } of quota.spec.staticAssignments ?? []) {
    const cluster = clusters.get({ namespace: "", name: clusterName });
    if (cluster === undefined || isDeleting(cluster)) continue;
    const space = executionSpaceOf(clusterName);
    wanted.add(space);
    const work = { namespace: space, name: workNameOf("ResourceQuota", namespace, name) };
    const manifest = manifestFor({ namespace, name }, work, hard);
    const old = works.find(({ metadata }) => metadata.namespace === space);
    if (old === undefined) await client.create(draftOf({ namespace, name }, work, manifest), { namespace: space });
    else if (!isDeleting(old) && !isSame(old, manifest))
      await client.patch(work.name, "merge", { spec: { workload: { manifests: [manifest] } } }, { namespace: space });
  }
  for (const work of works) if (!wanted.has(work.metadata.namespace ?? "")) await remove(work, context);
}

function isSame(old: Work, manifest: JsonObject): boolean {
  const kept = asManifest(manifest, old.metadata.labels?.[WORK_ID] ?? "");
  return equalJson(old.spec.workload?.manifests ?? [], [kept]);
}

async function remove(work: Work, context: Context): Promise<void> {
  if (isDeleting(work)) return;
  const { name, namespace = "", uid } = work.metadata;
  try {
    await context.cluster.client.resource(WorkKind).delete(name, { namespace, preconditions: { uid } });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

function manifestFor({ namespace, name }: Key, work: Key, hard: Amounts) {
  return {
    apiVersion: "v1",
    kind: "ResourceQuota",
    metadata: {
      name,
      namespace,
      labels: { [KARMADA.managed]: "true" },
      annotations: { [KARMADA.workName]: work.name, [KARMADA.workNamespace]: work.namespace },
    },
    spec: { hard },
  };
}

function draftOf(quota: Key, work: Key, manifest: ReturnType<typeof manifestFor>) {
  return {
    apiVersion: `${WorkKind.group}/${WorkKind.version}`,
    kind: WorkKind.kind,
    metadata: {
      ...work,
      labels: { [QUOTA.name]: quota.name, [QUOTA.namespace]: quota.namespace },
      finalizers: [EXECUTION_FINALIZER],
    },
    spec: { workload: { manifests: [manifest] } },
  };
}

/** What the members' quotas say, in the order of the assignments. */
function statusOf(quota: FederatedResourceQuota, works: readonly Work[]): FederatedResourceQuotaStatus {
  const order = (quota.spec.staticAssignments ?? []).map(({ clusterName }) => clusterName);
  const rows = works
    .flatMap((work) => {
      const status = work.status?.manifestStatuses?.[0]?.status;
      const clusterName = clusterOfSpace(work.metadata.namespace ?? "") ?? "";
      return isObject(status) && Object.keys(status).length > 0
        ? [{ clusterName, hard: amountsIn(status, "hard"), used: amountsIn(status, "used") }]
        : [];
    })
    .sort((a, b) => order.indexOf(a.clusterName) - order.indexOf(b.clusterName));
  const used = sumOf(rows.map((row) => row.used));
  const isUsed = Object.values(used).some((amount) => (tryParseQuantity(amount)?.nanos ?? 0n) !== 0n);
  return {
    overall: quota.spec.overall,
    ...(isUsed ? { overallUsed: used } : {}),
    ...(rows.length === 0 ? {} : { aggregatedStatus: rows }),
  };
}

function amountsIn(status: JsonObject, field: string): Amounts {
  const found: Amounts = {};
  for (const [name, value] of Object.entries(asObject(status[field] ?? {})))
    if (typeof value === "string" || typeof value === "number") found[name] = value;
  return found;
}

function sumOf(lists: readonly Amounts[]): Amounts {
  const sum = new Map<string, NonNullable<ReturnType<typeof tryParseQuantity>>>();
  for (const [name, value] of lists.flatMap((list) => Object.entries(list))) {
    const amount = tryParseQuantity(value);
    const before = sum.get(name);
    if (amount !== undefined) sum.set(name, before === undefined ? amount : addQuantities(before, amount));
  }
  return Object.fromEntries([...sum].map(([name, amount]) => [name, formatQuantity(amount)]));
}
