import type { InformerSet, Key } from "../../../kernel/control/index.js";
import { findCondition, type KubeObject } from "../../../kernel/kinds/index.js";
import { ClusterKind, type HeadIngress, HeadIngressKind, HyperMLServiceKind } from "../kinds.js";
import { marksOf } from "./compiler.js";
import { referencesOf } from "./in-effect.js";

/** The HeadIngresses that a HyperMLService concerns. */
export function headsOf(hyper: KubeObject, informers: InformerSet): readonly Key[] {
  const heads = informers.informer(HeadIngressKind).list(hyper.metadata.namespace);
  return heads.filter((head) => referencesOf(head).includes(hyper.metadata.name)).map(keyOf);
}

/** Where an object is found. */
export function keyOf(object: KubeObject): Key {
  return { namespace: object.metadata.namespace ?? "", name: object.metadata.name };
}

/** Heartbeats of clusters concern nobody: only what weights and messages are made of does. */
export function headsOfCluster(): (cluster: KubeObject, informers: InformerSet) => readonly Key[] {
  const told = new Map<string, string>();
  return (object, informers) => {
    const cluster = informers.informer(ClusterKind).get({ namespace: "", name: object.metadata.name });
    const ready = findCondition(cluster?.status?.conditions, "Ready");
    const { place, capacity } = cluster === undefined ? { place: "", capacity: "" } : marksOf(cluster);
    const facts = [place, ready?.status, capacity].join(" ");
    if (cluster !== undefined && told.get(object.metadata.name) === facts) return [];
    told.set(object.metadata.name, facts);
    const heads = informers.informer(HeadIngressKind).list();
    return heads.filter((head) => mayGoTo(head, object.metadata.name, informers)).map(keyOf);
  };
}

/** Whether requests to a HeadIngress may end in a cluster, or did. */
function mayGoTo({ metadata, spec, status }: HeadIngress, cluster: string, informers: InformerSet): boolean {
  const { hyperMLServiceRef, ingressCluster } = spec;
  if (hyperMLServiceRef === undefined) return ingressCluster === cluster;
  const key = { namespace: metadata.namespace ?? "", name: hyperMLServiceRef.name };
  const hyper = informers.informer(HyperMLServiceKind).get(key);
  return (
    hyper === undefined ||
    ingressCluster === cluster ||
    status?.backends?.some((backend) => backend.cluster === cluster) === true ||
    hyper.spec.workloads.some(({ clusters }) => clusters.includes(cluster)) ||
    hyper.status?.leaving?.some((leaving) => leaving.cluster === cluster) === true
  );
}
