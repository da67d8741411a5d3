import type { InformerSet, Key } from "../../kernel/control/index.js";
import { isDeleting, type JsonObject, type KubeObject } from "../../kernel/kinds/index.js";
import { asObjects } from "../../kernel/schema/index.js";
import { type HeadIngress, HeadIngressKind, type HyperMLServiceStatus } from "./kinds.js";

/** One entry of a HyperMLService's `status.traffic`. */
export type TrafficRow = NonNullable<HyperMLServiceStatus["traffic"]>[number];

/**
 * Where requests to a public address end: the share that its HeadIngress sends to a cluster times the share that the MLService there gives
 * to a release. A HeadIngress that leads elsewhere by hand as well has rows for its own backends too, without release. Pure.
 *
 * `serviceIn` is the raw status that a cluster reports of the MLService of that name (undefined: of its only one).
 */
export function trafficOf(
  heads: readonly HeadIngress[],
  serviceIn: (cluster: string, service: string | undefined) => JsonObject | undefined,
): TrafficRow[] {
  const rows = heads
    .filter((head) => !isDeleting(head))
    .flatMap((head) =>
      (head.status?.backends ?? []).flatMap((backend) => {
        if (backend.percent === 0) return [];
        const status =
          backend.cluster === undefined ? undefined : serviceIn(backend.cluster, head.spec.hyperMLServiceRef?.service);
        return releaseSharesOf(status).map(
          ({ release, share }): TrafficRow => ({
            ingress: head.metadata.name,
            cluster: backend.cluster ?? backend.name,
            release,
            percent: rounded((backend.percent * share) / 100),
            clusterPercent: backend.percent,
            releasePercent: share,
          }),
        );
      }),
    );
  return rows.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

function keyOf({ ingress, cluster, release }: TrafficRow): string {
  return `${ingress} ${cluster} ${release}`;
}

/** Releases with their part of the service's own address; one without a name where nothing is reported. */
function releaseSharesOf(status: JsonObject | undefined): { readonly release: string; readonly share: number }[] {
  const releases = asObjects(status?.["releases"]).flatMap(({ name, trafficPercent }) =>
    typeof name === "string" && typeof trafficPercent === "number" && trafficPercent > 0
      ? [{ release: name, share: trafficPercent }]
      : [],
  );
  return releases.length > 0 ? releases : [{ release: "", share: 100 }];
}

function rounded(percent: number): number {
  return Math.round(percent * 100) / 100;
}

/** Tells when a HeadIngress says something new about its traffic; counters alone are nothing new. */
export class HeadChanges {
  readonly #said = new Map<string, string>();

  /** The HyperMLService to look at. */
  keys(head: KubeObject, informers: InformerSet): readonly Key[] {
    const { namespace = "", name } = head.metadata;
    const now = informers.informer(HeadIngressKind).get({ namespace, name });
    const key = `${namespace}/${name}`;
    const before = this.#said.get(key);
    const said = now === undefined ? undefined : saidBy(now);
    if (said === undefined) this.#said.delete(key);
    else this.#said.set(key, said);
    const reference = now?.spec.hyperMLServiceRef?.name ?? (before === undefined ? undefined : JSON.parse(before)[0]);
    return before === said || typeof reference !== "string" ? [] : [{ namespace, name: reference }];
  }
}

function saidBy({ spec, status, metadata }: HeadIngress): string {
  return JSON.stringify([
    spec.hyperMLServiceRef?.name ?? "",
    metadata.deletionTimestamp ?? "",
    metadata.generation ?? 0,
    (status?.conditions ?? []).map(({ type, status: value, reason, message }) => [type, value, reason, message]),
    (status?.backends ?? []).map((backend) => [backend.name, backend.percent, backend.reason ?? ""]),
  ]);
}
