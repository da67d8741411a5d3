import type { ControllerSpec, Key, ReconcileContext } from "../../../kernel/control/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { isDeleting, type JsonObject, type Namespace, NamespaceKind } from "../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";
import { asManifest, WORK_ID } from "../interpreters/index.js";
import { jsonOf } from "../json.unsafe.js";
import { type Cluster, ClusterKind, type Work, WorkKind } from "../kinds.js";
import { EXECUTION_FINALIZER, executionSpaceOf, KARMADA } from "../names.js";
import { applyOverrides, OverrideError, type OverridePolicyFacts } from "../overrides/index.js";
import { factsOf } from "../placement/facts.js";
import { ClusterOverridePolicyKind } from "../policies/kinds.js";
import { isReservedSpace, workNameOf } from "../policies/marks.js";

const NAME = "namespace-sync-controller";
const HELD_BACK = "namespace.karmada.io/skip-auto-propagation";
/** Namespaces that every cluster has of its own. */
const OWN = new Set(["default", "argosy-system"]);

type Context = ReconcileContext<Namespace>;

/** Sends the hub's namespaces to all members, by Works that go with them. */
export function namespaceController(): ControllerSpec<Namespace> {
  const all = (informers: Parameters<NonNullable<ControllerSpec["watches"]>[number]["keys"]>[1]): Key[] =>
    informers
      .informer(NamespaceKind)
      .list()
      .filter(({ metadata: { name } }) => isSent(name))
      .map(({ metadata: { name } }) => ({ namespace: "", name }));
  const known = new Set<string>();
  const settled: Settled = new Map();
  return {
    name: NAME,
    kind: NamespaceKind,
    concurrency: 8,
    watches: [
      {
        kind: ClusterKind,
        keys: (cluster, informers) => {
          // Only that there is one more matters.
          const isNew = !known.has(cluster.metadata.uid);
          known.add(cluster.metadata.uid);
          return isNew ? all(informers) : [];
        },
      },
      { kind: ClusterOverridePolicyKind, keys: (_policy, informers) => all(informers) },
      {
        kind: WorkKind,
        keys: (work) => {
          const owner = work.metadata.ownerReferences?.find(({ kind }) => kind === "Namespace");
          return owner === undefined ? [] : [{ namespace: "", name: owner.name }];
        },
      },
    ],
    async reconcile(_key, namespace, context) {
      if (namespace === undefined || isDeleting(namespace) || !isSent(namespace.metadata.name)) return;
      if (namespace.metadata.labels?.[HELD_BACK]?.toLowerCase() === "true") return;
      const { informers } = context.cluster;
      const [clusters, policies, works] = [
        informers.informer(ClusterKind),
        informers.informer(ClusterOverridePolicyKind),
        informers.informer(WorkKind),
      ];
      await Promise.all([clusters, policies, works].map((informer) => informer.synced(context.signal)));
      const overrides = policies.list().map(({ metadata: { name }, spec }) => ({ name, namespace: "", spec }));
      await Promise.all(
        clusters
          .list()
          .filter((cluster) => !isDeleting(cluster))
          .map((cluster) => send(namespace, cluster, { overrides, settled }, context)),
      );
    },
  };
}

function isSent(name: string): boolean {
  return !OWN.has(name) && !isReservedSpace(name);
}

/** Of what each Work was found to be as it should: nothing is computed again that cannot have changed. */
type Settled = Map<string, string>;

async function send(
  namespace: Namespace,
  cluster: Cluster,
  { overrides, settled }: { readonly overrides: readonly OverridePolicyFacts[]; readonly settled: Settled },
  context: Context,
): Promise<void> {
  const space = executionSpaceOf(cluster.metadata.name);
  const { informers, client } = context.cluster;
  // Made by whoever looks at the cluster; that wakes this controller too.
  if (informers.informer(NamespaceKind).get({ namespace: "", name: space }) === undefined) {
    context.enqueue({ namespace: "", name: namespace.metadata.name }, 200);
    return;
  }
  const name = workNameOf("Namespace", "", namespace.metadata.name);
  const old = informers.informer(WorkKind).get({ namespace: space, name });
  if (old !== undefined && isDeleting(old)) return;
  const place = `${space}/${name}`;
  const state = `${versionOf(namespace)} ${old?.metadata.uid}/${old?.metadata.generation}`;
  if (overrides.length === 0 && settled.get(place) === state) return;
  settled.delete(place);
  let manifest: JsonObject;
  try {
    manifest = applyOverrides(manifestFor(namespace, { namespace: space, name }), factsOf(cluster), overrides).manifest;
  } catch (error) {
    if (!(error instanceof OverrideError)) throw error;
    context.events.record(namespace, "Warning", "ApplyOverridePolicyFailed", messageOf(error));
    return;
  }
  const works = client.resource(WorkKind);
  if (old === undefined)
    await works.create(draftOf(namespace, { namespace: space, name }, manifest), { namespace: space });
  else if (!equalJson(toJson(old.spec.workload?.manifests ?? []), [asManifest(manifest, idOf(old))]))
    await works.patch(name, "merge", { spec: { workload: { manifests: [manifest] } } }, { namespace: space });
  else if (overrides.length === 0) settled.set(place, state);
}

function versionOf({ metadata }: Namespace): string {
  return `${metadata.uid}/${metadata.resourceVersion}`;
}

function idOf(work: Work): string {
  return work.metadata.labels?.[WORK_ID] ?? "";
}

/** The namespace without what is its server's own. */
function manifestFor(namespace: Namespace, work: Key): JsonObject {
  const { metadata } = namespace;
  const { spec: _spec, ...rest } = jsonOf(namespace);
  return asManifest(
    {
      ...rest,
      apiVersion: "v1",
      kind: "Namespace",
      metadata: {
        name: metadata.name,
        labels: { ...metadata.labels, [KARMADA.managed]: "true" },
        annotations: {
          ...metadata.annotations,
          [KARMADA.workName]: work.name,
          [KARMADA.workNamespace]: work.namespace,
        },
      },
    },
    "",
  );
}

function draftOf(namespace: Namespace, work: Key, manifest: JsonObject) {
  const { name, uid } = namespace.metadata;
  return {
    apiVersion: `${WorkKind.group}/${WorkKind.version}`,
    kind: WorkKind.kind,
    metadata: {
      ...work,
      finalizers: [EXECUTION_FINALIZER],
      ownerReferences: [{ apiVersion: "v1", kind: "Namespace", name, uid, controller: true, blockOwnerDeletion: true }],
    },
    spec: { workload: { manifests: [{ ...manifest, apiVersion: "v1", kind: "Namespace" }] } },
  };
}
