/** What all controllers of local models look at. */
import type { ClusterAccess, InformerSet } from "../../../../kernel/control/types.js";
import type { Job, Node, Pod } from "../../../../kernel/kinds/index.js";
import { JobKind, NodeKind, PodKind } from "../../../../kernel/kinds/index.js";
import { asObject, asObjects, toJsonObject } from "../../../../kernel/schema/index.js";
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
import { matchModel } from "./match.js";
import { JOBS_NAMESPACE, KEY_LABEL, NODE_LABEL, statusName, WORK_LABEL } from "./names.js";
import { type LocalPlan, planModels, type WantedModel } from "./plan.js";

/** All caches of a cluster. */
export const cachesIn = (informers: InformerSet): readonly LocalModelCache[] => [
  ...informers.informer(LocalModelCacheKind).list(),
  ...informers.informer(LocalModelNamespaceCacheKind).list(),
];

/** The plan for a cluster as it is. */
export const planIn = (informers: InformerSet): LocalPlan =>
  planModels(
    cachesIn(informers),
    informers.informer(LocalModelNodeGroupKind).list(),
    informers.informer(NodeKind).list(),
  );

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

/** The InferenceServices that are served from a model. */
export function usersOf(
  model: WantedModel,
  plan: LocalPlan,
  { informers }: Pick<ClusterAccess, "informers">,
): { readonly name: string; readonly namespace: string }[] {
  const isUser = (service: InferenceService): boolean => {
    const spec = toJsonObject(service.spec);
    const components = [
      ...["predictor", "transformer", "explainer"].map((name) => asObject(spec[name])),
      ...asObjects(spec["canary"]).map((canary) => asObject(canary["predictor"])),
    ];
    return components.flatMap(fetchedBy).some((uri) => matchModel(service, uri, plan)?.model.key === model.key);
  };
  return informers
    .informer(InferenceServiceKind)
    .list(model.namespace)
    .filter((service) => service.metadata.deletionTimestamp === undefined && isUser(service))
    .map(({ metadata }) => ({ name: metadata.name, namespace: metadata.namespace ?? "" }))
    .sort((a, b) => (`${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1));
}
