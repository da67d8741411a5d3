import type { ShadowInput, ShadowReport } from "../../dataplane/gateway/index.js";
import { asObjects, asString } from "../../kernel/schema/index.js";
import { parseUrl } from "./head-url.js";
import type { AggregatedRow, Cluster, HeadIngress, HeadShadowStatus, HyperMLService } from "./kinds.js";
import { ARGOSY } from "./names.js";
import { frontsOf, isServed, urlIn } from "./served-kinds.js";

type ShadowSpec = NonNullable<HeadIngress["spec"]["shadows"]>[number];
type Url = NonNullable<ReturnType<typeof parseUrl>>;

/** One shadow of a HeadIngress before it is handed to whoever carries it. */
export interface PlannedShadow {
  readonly name: string;
  readonly url: string;
  /** Host header. */
  readonly host: string;
  /** host:port; undefined while there is none: nothing is copied. */
  readonly address: string | undefined;
  readonly isSecure: boolean;
  readonly percent: number;
  /** Of which backends; empty: of all. */
  readonly of: readonly string[];
  readonly limits: Pick<ShadowSpec, "maxConcurrent" | "maxBodyBytes" | "timeoutMs">;
  /** Why nothing is copied; empty otherwise. */
  readonly reason: string;
  readonly message: string;
}

interface Around {
  readonly head: HeadIngress;
  readonly hyper: HyperMLService | undefined;
  readonly clusters: ReadonlyMap<string, Cluster>;
}

/** Who gets copies: those that the HeadIngress names, and the releases that a rollout tries in shadow. Pure. */
export function planShadows(around: Around): PlannedShadow[] {
  const names = new Set<string>();
  const wanted = around.head.spec.hyperMLServiceRef?.service;
  const tried = (around.hyper?.status?.revisions ?? []).flatMap(({ cluster, shadows = [] }): ShadowSpec[] => {
    const own = shadows.find(({ service }) => wanted === undefined || service === wanted);
    if (own === undefined) return [];
    const { release, percent } = own;
    return [{ name: shadowNameOf(cluster, release), cluster, release, percent, of: [cluster] }];
  });
  return [...(around.head.spec.shadows ?? []), ...tried].map((spec) => {
    const planned = planOne(spec, around);
    if (!names.has(spec.name)) names.add(spec.name);
    else return failed(planned, "Invalid", `"${spec.name}" is used twice`);
    return planned;
  });
}

/** Name of the shadow by which a rollout tries a release in a cluster. */
export function shadowNameOf(cluster: string, release: string): string {
  return `${cluster}/${release}`;
}

function planOne(spec: ShadowSpec, around: Around): PlannedShadow {
  const { name, percent = 100, of = [], maxConcurrent, maxBodyBytes, timeoutMs, cluster, url } = spec;
  const empty: PlannedShadow = {
    name,
    url: "",
    host: "",
    address: undefined,
    isSecure: false,
    percent,
    of,
    limits: {
      ...(maxConcurrent === undefined ? {} : { maxConcurrent }),
      ...(maxBodyBytes === undefined ? {} : { maxBodyBytes }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    },
    reason: "",
    message: "",
  };
  if ((cluster === undefined) === (url === undefined)) return failed(empty, "Invalid", "give either url or cluster");
  if (cluster !== undefined) return inCluster({ ...spec, cluster }, empty, around);
  if (spec.release !== undefined) return failed(empty, "Invalid", "release goes with cluster");
  const parsed = parseUrl(url ?? "");
  if (parsed === undefined)
    return failed(empty, "BadAddress", `"${url ?? ""}" is not http://HOST[:PORT] or https://HOST[:PORT]`);
  return leadingTo(empty, url ?? "", { ...parsed, host: spec.host ?? parsed.host }, spec.address);
}

function inCluster(
  { cluster, release, host, address }: ShadowSpec & { readonly cluster: string },
  empty: PlannedShadow,
  { head, hyper, clusters }: Around,
): PlannedShadow {
  if (host !== undefined || address !== undefined)
    return failed(empty, "Invalid", "host and address go with url; the cluster says its own");
  const wanted = head.spec.hyperMLServiceRef?.service;
  const rows = (hyper?.status?.aggregatedStatus ?? []).filter(
    ({ cluster: other, resource }) =>
      other === cluster && isServed(resource.kind) && (wanted === undefined || resource.name === wanted),
  );
  const [row] = frontsOf(rows, ({ resource }) => resource.kind);
  if (hyper === undefined) return failed(empty, "Invalid", "cluster goes with hyperMLServiceRef");
  const place = placeIn(row, release);
  if ("reason" in place) return failed(empty, place.reason, `cluster ${cluster}: ${place.message}`);
  const parsed = parseUrl(place.url);
  if (parsed === undefined) return failed(empty, "BadAddress", `cluster ${cluster}: it reports "${place.url}"`);
  return leadingTo(empty, place.url, parsed, clusters.get(cluster)?.metadata.annotations?.[ARGOSY.ingressAddress]);
}

/** Where an MLService, or one release of it, answers. */
function placeIn(
  row: AggregatedRow | undefined,
  release: string | undefined,
): { readonly url: string } | { readonly reason: string; readonly message: string } {
  if (row === undefined) return { reason: "NotDelivered", message: "the MLService has not been delivered" };
  const { status = {} } = row;
  if (release === undefined) {
    const url = urlIn(status);
    return url === undefined
      ? { reason: "NoAddress", message: "the MLService has not reported an address yet" }
      : { url };
  }
  const found = asObjects(status["releases"]).find(({ name }) => name === release);
  if (found === undefined) return { reason: "NoRelease", message: `the MLService has no release ${release}` };
  const url = asString(found["url"]);
  if (found["ready"] === false)
    return { reason: "NotReady", message: `release ${release} is not ready: ${asString(found["message"])}` };
  return url === "" ? { reason: "NoAddress", message: `release ${release} has not reported an address yet` } : { url };
}

function failed(shadow: PlannedShadow, reason: string, message: string): PlannedShadow {
  return { ...shadow, address: undefined, reason, message };
}

function leadingTo(shadow: PlannedShadow, url: string, parsed: Url, address: string | undefined): PlannedShadow {
  return { ...shadow, url, host: parsed.host, address: address ?? parsed.address, isSecure: parsed.isSecure };
}

/** A shadow as the gateway's table has it; `tls` is for those that are secure. */
export function shadowInputOf(shadow: PlannedShadow, tls: NonNullable<ShadowInput["tls"]>): ShadowInput {
  const { name, host, address, percent, of, limits, isSecure } = shadow;
  return {
    name,
    percent,
    addresses: address === undefined ? [] : [address],
    ...(host === "" ? {} : { host }),
    ...(of.length === 0 ? {} : { of }),
    ...limits,
    ...(isSecure ? { tls } : {}),
  };
}

/** What one shadow gets. `report` is the gateway's; `obstacle` why whoever carries the HeadIngress copies nothing for it. */
export function shadowStatusOf(
  shadow: PlannedShadow,
  report: ShadowReport | undefined,
  obstacle: { readonly reason: string; readonly message: string } | undefined,
): HeadShadowStatus {
  const why = shadow.reason === "" ? obstacle : { reason: shadow.reason, message: shadow.message };
  const note = why ?? noteOf(report);
  return {
    name: shadow.name,
    url: shadow.url,
    percent: shadow.percent,
    percentEffective: why === undefined ? shadow.percent : 0,
    ...note,
    ...(report === undefined ? {} : countsOf(report)),
  };
}

function noteOf(report: ShadowReport | undefined): { readonly message?: string } {
  if (report === undefined || report.lastFailure === "") return {};
  return { message: `the last copy without an answer: ${report.lastFailure}` };
}

function countsOf(report: ShadowReport): Partial<HeadShadowStatus> {
  const { copied, failures, compared, differing, skipped, comparedSumMs, originalSumMs } = report;
  const mean = (sum: number): number => Math.round((sum * 100) / compared) / 100;
  return {
    copied,
    failures,
    compared,
    differing,
    skipped: skipped.busy + skipped.tooLarge + skipped.unfinished,
    ...(compared === 0 ? {} : { latencyMs: mean(comparedSumMs), originalLatencyMs: mean(originalSumMs) }),
  };
}
