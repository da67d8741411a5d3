import type { ControllerSpec, InformerSet, Key, ReconcileContext } from "../../../kernel/control/index.js";
import {
  type ClusterRoleBinding,
  ClusterRoleBindingKind,
  ClusterRoleKind,
  isDeleting,
  type JsonObject,
  NamespaceKind,
} from "../../../kernel/kinds/index.js";
import { equalJson, toJson } from "../../../kernel/schema/index.js";
import { asManifest, WORK_ID } from "../interpreters/index.js";
import { type Cluster, ClusterKind, WorkKind } from "../kinds.js";
import { EXECUTION_FINALIZER, executionSpaceOf, KARMADA } from "../names.js";
import { workNameOf } from "../policies/marks.js";

const NAME = "unified-auth-controller";
/** In members: the role of the account by which the hub speaks for others (Karmada's name). */
const IMPERSONATOR = "karmada-impersonator";
const GROUP = "rbac.authorization.k8s.io";
const VERSION = `${GROUP}/v1`;
/** Annotation of a Cluster whose impersonator was given its rights in the member by whoever joined it. */
export const OWN_IMPERSONATOR = "argosy.dev/own-impersonator";

type Subject = NonNullable<ClusterRoleBinding["subjects"]>[number];

/**
 * Lets the hub speak in members for those, and only those, whom the hub's roles let through `clusters/NAME/proxy`: keeps a ClusterRole there with
 * their names, as Karmada has it.
 */
export function proxyRightsController(): ControllerSpec<Cluster> {
  const all = (informers: InformerSet): Key[] =>
    informers
      .informer(ClusterKind)
      .list()
      .map(({ metadata: { name } }) => ({ namespace: "", name }));
  return {
    name: NAME,
    kind: ClusterKind,
    watches: [
      { kind: ClusterRoleKind, keys: (_role, informers) => all(informers) },
      { kind: ClusterRoleBindingKind, keys: (_binding, informers) => all(informers) },
    ],
    async reconcile(key, cluster, context) {
      const secret = cluster?.spec?.impersonatorSecretRef;
      if (cluster === undefined || isDeleting(cluster) || secret?.namespace === undefined) return undefined;
      if (cluster.metadata.annotations?.[OWN_IMPERSONATOR] !== undefined) return undefined;
      const space = { namespace: "", name: executionSpaceOf(key.name) };
      // Made by whoever looks at the cluster.
      if (context.cluster.informers.informer(NamespaceKind).get(space) === undefined) return { requeueAfterMs: 200 };
      await context.cluster.informers.informer(WorkKind).synced(context.signal);
      const subjects = subjectsFor(key.name, context.cluster.informers);
      await send(cluster, { kind: "ClusterRole", rules: rulesFor(subjects) }, context);
      const bound = {
        kind: "ClusterRoleBinding",
        roleRef: { apiGroup: GROUP, kind: "ClusterRole", name: IMPERSONATOR },
        subjects: [{ kind: "ServiceAccount", namespace: secret.namespace, name: IMPERSONATOR }],
      };
      await send(cluster, bound, context);
      return undefined;
    },
  };
}

/** Whom the hub's roles let through to a member. */
function subjectsFor(cluster: string, informers: InformerSet): Subject[] {
  const roles = new Set(
    informers
      .informer(ClusterRoleKind)
      .list()
      .filter(({ rules }) =>
        (rules ?? []).some(
          ({ apiGroups = [], resources = [], resourceNames = [] }) =>
            has(apiGroups, ClusterKind.group) &&
            (has(resources, "clusters/proxy") || resources.includes("*/proxy")) &&
            (resourceNames.length === 0 || resourceNames.includes(cluster)),
        ),
      )
      .map(({ metadata }) => metadata.name),
  );
  return informers
    .informer(ClusterRoleBindingKind)
    .list()
    .filter(({ roleRef }) => roleRef.kind === "ClusterRole" && roles.has(roleRef.name))
    .flatMap(({ subjects }) => subjects ?? []);
}

function has(list: readonly string[], wanted: string): boolean {
  return list.includes("*") || list.includes(wanted);
}

function rulesFor(subjects: readonly Subject[]): JsonObject[] {
  const named = { users: "User", serviceaccounts: "ServiceAccount", groups: "Group" };
  return Object.entries(named).flatMap(([resource, kind]) => {
    const names = new Set(subjects.filter((subject) => subject.kind === kind).map(({ name }) => name));
    const rule = { verbs: ["impersonate"], apiGroups: [""], resources: [resource], resourceNames: [...names].sort() };
    return names.size === 0 ? [] : [rule];
  });
}

async function send(
  cluster: Cluster,
  { kind, ...content }: JsonObject & { readonly kind: string },
  context: ReconcileContext<Cluster>,
): Promise<void> {
  const namespace = executionSpaceOf(cluster.metadata.name);
  const name = workNameOf(kind, "", IMPERSONATOR);
  const works = context.cluster.client.resource(WorkKind);
  const old = context.cluster.informers.informer(WorkKind).get({ namespace, name });
  if (old !== undefined && isDeleting(old)) return;
  const metadata = {
    name: IMPERSONATOR,
    labels: { "karmada.io/system": "true", [KARMADA.managed]: "true" },
    annotations: { [KARMADA.workName]: name, [KARMADA.workNamespace]: namespace },
  };
  const manifest = { apiVersion: VERSION, kind, metadata, ...content };
  const present = asManifest(manifest, old?.metadata.labels?.[WORK_ID] ?? "");
  if (old !== undefined) {
    if (equalJson(toJson(old.spec.workload?.manifests ?? []), [present])) return;
    await works.patch(name, "merge", { spec: { workload: { manifests: [manifest] } } }, { namespace });
    return;
  }
  const { apiVersion, kind: ownerKind, metadata: owner } = cluster;
  const ownerReferences = [
    { apiVersion, kind: ownerKind, name: owner.name, uid: owner.uid, controller: true, blockOwnerDeletion: true },
  ];
  await works.create(
    {
      apiVersion: `${WorkKind.group}/${WorkKind.version}`,
      kind: WorkKind.kind,
      metadata: { name, namespace, finalizers: [EXECUTION_FINALIZER], ownerReferences },
      spec: { workload: { manifests: [manifest] } },
    },
    { namespace },
  );
}
