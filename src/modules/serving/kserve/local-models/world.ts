/** What all controllers of local models look at. */
import type { ClusterAccess, InformerSet, Key } from "../../../../kernel/control/types.js";
import type { Job, JsonObject, Kind, KubeObject, Node, Pod } from "../../../../kernel/kinds/index.js";
import { JobKind, NodeKind, PodKind } from "../../../../kernel/kinds/index.js";
import { asObject, asObjects, equalJson, toJsonObject } from "../../../../kernel/schema/index.js";
import { fetchedBy } from "../credentials.js";
import type { InferenceService } from "../inference-service-kind.js";
import { InferenceServiceKind } from "../inference-service-kind.js";
import {
  type LocalModelCache,
  LocalModelCacheKind,
  LocalModelNamespaceCacheKind,
  type LocalModelNode,
  LocalModelNodeGroupKind,
  LocalModelNodeKind,
} from "../storage-kinds.js";
import { foldersOf, matchModel } from "./match.js";
import { JOBS_NAMESPACE, KEY_LABEL, NODE_LABEL, statusName, WORK_LABEL } from "./names.js";
import { type LocalPlan, planModels, type WantedModel } from "./plan.js";

/** All caches of a cluster. */
export const cachesIn = (informers: InformerSet): readonly LocalModelCache[] => [
  ...informers.informer(LocalModelCacheKind).list(),
  ...informers.informer(LocalModelNamespaceCacheKind).list(),
];

interface Planned {
  readonly from: readonly unknown[];
  readonly plan: LocalPlan;
}
const planned = new WeakMap<InformerSet, Planned>();

/** The plan for a cluster as it is; made once for all who ask between two changes. */
export function planIn(informers: InformerSet): LocalPlan {
  const caches = [LocalModelCacheKind, LocalModelNamespaceCacheKind].map((kind) => informers.informer(kind).list());
  const groups = informers.informer(LocalModelNodeGroupKind).list();
  const nodes = informers.informer(NodeKind).list();
  // Informers give the same list until something changes.
  const from = [...caches, groups, nodes];
  const known = planned.get(informers);
  if (known !== undefined && from.every((list, index) => list === known.from[index])) return known.plan;
  const plan = planModels(caches.flat(), groups, nodes);
  planned.set(informers, { from, plan });
  return plan;
}

/** Whether other models than before have places in a group. */
export function hasOtherPlaces(now: KubeObject, old: KubeObject): boolean {
  const placesOf = (object: KubeObject): JsonObject => asObject(asObject(toJsonObject(object)["status"])["places"]);
  return !equalJson(placesOf(now), placesOf(old));
}

/** Whether a node says that it is ready. */
export const isNodeReady = ({ status }: Node): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") === true;

/** What a node has of a model. */
export function stateOn(node: string, model: WantedModel, informers: InformerSet): string {
  const found: LocalModelNode | undefined = informers.informer(LocalModelNodeKind).get({ namespace: "", name: node });
  return found?.status?.modelStatus?.[statusName(model.name, model.namespace)] ?? "";
}

const JOBS = "local-model-jobs";
const PODS = "local-model-pods";

/** Where the jobs of a model are. */
export const homeOf = ({ namespace }: Pick<WantedModel, "namespace">): string => namespace ?? JOBS_NAMESPACE;

/** The jobs for a node, by its mark, of all namespaces: whoever may make jobs somewhere can make some that look alike. */
export function jobsOf(mark: string, informers: InformerSet): readonly Job[] {
  const jobs = informers.informer(JobKind);
  jobs.addIndex(JOBS, ({ metadata }) => {
    const label = metadata.labels?.[NODE_LABEL];
    return label === undefined ? [] : [label];
  });
  return jobs.byIndex(JOBS, mark).filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}

/** The pods of one of those jobs. */
export function podsOfJob(job: Job, informers: InformerSet): readonly Pod[] {
  const pods = informers.informer(PodKind);
  const idOf = ({ namespace = "", labels = {} }: Job["metadata"]): string =>
    [namespace, labels[NODE_LABEL], labels[KEY_LABEL], labels[WORK_LABEL]].join("/");
  pods.addIndex(PODS, ({ metadata }) => (metadata.labels?.[WORK_LABEL] === undefined ? [] : [idOf(metadata)]));
  return pods.byIndex(PODS, idOf(job.metadata));
}

const FOLDERS = "local-model-folders";
const URIS = "local-model-uris";

/** What an InferenceService's pods fetch. */
function urisOf(service: KubeObject): readonly string[] {
  const spec = asObject(toJsonObject(service)["spec"]);
  const components = [
    ...["predictor", "transformer", "explainer"].map((name) => asObject(spec[name])),
    ...asObjects(spec["canary"]).map((canary) => asObject(canary["predictor"])),
  ];
  return components.flatMap(fetchedBy);
}

/** The caches of a kind that may be what an InferenceService is served from. */
export function cachesFor(service: KubeObject, kind: Kind<LocalModelCache>, informers: InformerSet): Key[] {
  const caches = informers.informer(kind);
  caches.addIndex(URIS, ({ spec }) => [spec.sourceModelUri.replace(/\/+$/, "")]);
  const folders = new Set(urisOf(service).flatMap(foldersOf));
  return [...folders]
    .flatMap((uri) => caches.byIndex(URIS, uri))
    .map(({ metadata }) => ({ namespace: metadata.namespace ?? "", name: metadata.name }));
}

/** An InferenceService that is served from a model. */
export interface ModelUser {
  readonly name: string;
  readonly namespace: string;
}

/** The InferenceServices that are served from a model; with `group`, from its nodes. */
export function usersOf(
  model: WantedModel,
  plan: LocalPlan,
  { cluster, group }: { readonly cluster: Pick<ClusterAccess, "informers">; readonly group?: string },
): ModelUser[] {
  const isUser = (service: InferenceService): boolean =>
    urisOf(service).some((uri) => {
      const matched = matchModel(service, uri, plan);
      return matched?.model.key === model.key && (group === undefined || matched.group.name === group);
    });
  const services = cluster.informers.informer(InferenceServiceKind);
  services.addIndex(FOLDERS, (service) => [...new Set(urisOf(service).flatMap(foldersOf))]);
  return services
    .byIndex(FOLDERS, model.uri)
    .filter((service) => service.metadata.deletionTimestamp === undefined && isUser(service))
    .map(({ metadata }) => ({ name: metadata.name, namespace: metadata.namespace ?? "" }))
    .sort(byName);
}

const byName = (a: ModelUser, b: ModelUser): number =>
  `${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1;

/** The InferenceServices that are served from models on a group's nodes, each once. */
export function usersOfGroup(group: string, cluster: Pick<ClusterAccess, "informers">): ModelUser[] {
  const plan = planIn(cluster.informers);
  const users = plan.models
    .filter(({ groups }) => groups.includes(group))
    .flatMap((model) => usersOf(model, plan, { cluster, group }));
  return [...new Map(users.map((user) => [`${user.namespace}/${user.name}`, user])).values()].sort(byName);
}

/** The groups from which an InferenceService may be served. */
export function groupsFor(service: KubeObject, informers: InformerSet): Key[] {
  const { models } = planIn(informers);
  if (models.length === 0) return [];
  const folders = new Set(urisOf(service).flatMap(foldersOf));
  const groups = models.filter(({ uri }) => folders.has(uri)).flatMap((model) => model.groups);
  return [...new Set(groups)].map((name) => ({ namespace: "", name }));
}
