import type { ApiClient } from "../../../kernel/client/index.js";
import { ApiError, ArgosyError, messageOf } from "../../../kernel/errors/index.js";
import {
  type HorizontalPodAutoscaler,
  type LabelSelector,
  parseApiVersion,
  quantityToMillis,
  type Selector,
  selectorFrom,
  tryParseQuantity,
} from "../../../kernel/kinds/index.js";
import { asNumber, asObject, asObjects, asString } from "../../../kernel/schema/index.js";

/** What was measured of one pod, in thousandths. */
export interface Reading {
  readonly milli: number;
  readonly atMs: number;
  /** Over which time before `atMs`. */
  readonly windowMs: number;
}

/** Readings by name of the pod. */
export type PodReadings = ReadonlyMap<string, Reading>;

/** What a metric is asked for. */
export interface MetricQuery {
  readonly namespace: string;
  readonly metric: string;
  readonly metricSelector?: LabelSelector | undefined;
}

type ObjectReference = HorizontalPodAutoscaler["spec"]["scaleTargetRef"];

/** A scaling decision cannot be made; the message says why, as upstream words it. */
export class NoProposalError extends ArgosyError {
  constructor(message: string) {
    super("NoProposal", message);
  }
}

const defaultWindowMs = 60_000;
const unservedMessages: ReadonlyMap<number, string> = new Map([
  [404, "the server could not find the requested resource"],
  [503, "the server is currently unable to handle the request"],
]);

/** What client-go says of an answer; of one that is no Status it names what was asked for. */
function wordsFor(error: unknown, asked: string): string {
  const generic = error instanceof ApiError ? unservedMessages.get(error.httpCode) : undefined;
  const isStatus = error instanceof ApiError && error.status.details?.kind !== undefined;
  return generic === undefined || isStatus ? messageOf(error) : `${generic} (get ${asked})`;
}

function milliOf(value: unknown): number | undefined {
  const quantity = typeof value === "string" || typeof value === "number" ? tryParseQuantity(value) : undefined;
  return quantity === undefined ? undefined : quantityToMillis(quantity);
}

/** Go's durations, as far as metrics servers write them: `15s`, `1m0.5s`. */
function durationMs(text: string): number {
  const [, hours = "0", minutes = "0", seconds = "0", millis = "0"] =
    /^(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?$/.exec(text) ?? [];
  return Number(hours) * 3_600_000 + Number(minutes) * 60_000 + Number(seconds) * 1000 + Number(millis);
}

/** Reads the three metrics APIs, whoever serves them. Throws `NoProposalError`. */
export class MetricsReader {
  readonly #client: ApiClient;

  constructor(client: ApiClient) {
    this.#client = client;
  }

  /** Use of a resource by each pod, or by one container of each. */
  async podResource(query: {
    readonly namespace: string;
    readonly selector: Selector;
    readonly resource: string;
    readonly container?: string | undefined;
  }): Promise<PodReadings> {
    const { namespace, selector, resource, container } = query;
    const params = new URLSearchParams({ labelSelector: selector.toString() });
    const path = `/apis/metrics.k8s.io/v1beta1/namespaces/${encodeURIComponent(namespace)}/pods?${params.toString()}`;
    const items = await this.#items(path, "pods.metrics.k8s.io", "resource");
    const readings = new Map<string, Reading>();
    for (const item of items) {
      const all = asObjects(item["containers"]);
      const meant = container === undefined ? all : all.filter((one) => one["name"] === container).slice(0, 1);
      const used = meant.map((one) => milliOf(asObject(one["usage"])[resource]));
      if (used.length === 0 || used.includes(undefined)) continue;
      readings.set(asString(asObject(item["metadata"])["name"]), {
        milli: used.reduce((sum: number, milli) => sum + (milli ?? 0), 0),
        atMs: Date.parse(asString(item["timestamp"])),
        windowMs: durationMs(asString(item["window"])),
      });
    }
    return readings;
  }

  /** A custom metric of each pod. */
  async podMetric(query: MetricQuery & { readonly selector: Selector }): Promise<PodReadings> {
    const readings = new Map<string, Reading>();
    for (const item of await this.#custom(`pods/*/${query.metric}`, query, query.selector)) {
      const seconds = asNumber(item["windowSeconds"]) ?? asNumber(item["window"]);
      readings.set(asString(asObject(item["describedObject"])["name"]), {
        milli: milliOf(item["value"]) ?? 0,
        atMs: Date.parse(asString(item["timestamp"])),
        windowMs: seconds === undefined ? defaultWindowMs : seconds * 1000,
      });
    }
    return readings;
  }

  /** A custom metric of one object, in thousandths. */
  async objectMetric(query: MetricQuery & { readonly about: ObjectReference }): Promise<number> {
    const { about, metric } = query;
    const { group } = parseApiVersion(about.apiVersion ?? "v1");
    const isNamespace = about.kind === "Namespace" && group === "";
    const kind = isNamespace ? undefined : await this.#client.findKind(about.apiVersion ?? "v1", about.kind);
    if (!isNamespace && kind === undefined)
      throw new NoProposalError(
        `unable to fetch metrics from custom metrics API: no matches for kind "${about.kind}" in group "${group}"`,
      );
    const plural = kind?.group === "" ? kind.plural : `${kind?.plural ?? ""}.${kind?.group ?? ""}`;
    const path = isNamespace ? `metrics/${metric}` : `${plural}/${encodeURIComponent(about.name)}/${metric}`;
    const [item] = await this.#custom(path, query);
    return milliOf(item?.["value"]) ?? 0;
  }

  /** Every value of an external metric, in thousandths. */
  async externalMetric(query: MetricQuery): Promise<readonly number[]> {
    const { namespace, metric, metricSelector } = query;
    const params = metricSelector === undefined ? "" : `?${selectorParam("labelSelector", metricSelector)}`;
    const path = `/apis/external.metrics.k8s.io/v1beta1/namespaces/${encodeURIComponent(namespace)}/${metric}${params}`;
    const items = await this.#items(path, `${metric}.external.metrics.k8s.io`, "external");
    return items.map((item) => milliOf(item["value"]) ?? 0);
  }

  async #custom(path: string, { namespace, metricSelector }: MetricQuery, pods?: Selector) {
    const version = await this.#customVersion();
    const params = new URLSearchParams();
    if (pods !== undefined) params.set("labelSelector", pods.toString());
    if (metricSelector !== undefined) params.set("metricLabelSelector", selectorFrom(metricSelector).toString());
    const query = params.size === 0 ? "" : `?${params.toString()}`;
    const root = `/apis/custom.metrics.k8s.io/${version}/namespaces/${encodeURIComponent(namespace)}`;
    return this.#items(`${root}/${path}${query}`, `${path.split("/")[0] ?? ""}.custom.metrics.k8s.io`, "custom");
  }

  /** The version to ask for; the group may come and go while the cluster runs. */
  async #customVersion(): Promise<string> {
    try {
      const group = asObject(await this.#client.json("GET", "/apis/custom.metrics.k8s.io"));
      const served = asObjects(group["versions"]).map(({ version }) => version);
      const known = ["v1beta2", "v1beta1"].find((version) => served.includes(version));
      if (known !== undefined) return known;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const words =
        error.httpCode === 404
          ? "no custom metrics API (custom.metrics.k8s.io) registered"
          : wordsFor(error, "custom.metrics.k8s.io");
      throw new NoProposalError(`unable to fetch metrics from custom metrics API: ${words}`);
    }
    throw new NoProposalError(
      "unable to fetch metrics from custom metrics API: no known available metric versions found",
    );
  }

  async #items(path: string, asked: string, api: "resource" | "custom" | "external") {
    let answer: unknown;
    try {
      answer = await this.#client.json("GET", path);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      throw new NoProposalError(`unable to fetch metrics from ${api} metrics API: ${wordsFor(error, asked)}`);
    }
    const items = asObjects(asObject(answer)["items"]);
    if (items.length === 0) throw new NoProposalError(`no metrics returned from ${api} metrics API`);
    return items;
  }
}

function selectorParam(name: string, selector: LabelSelector): string {
  return new URLSearchParams({ [name]: selectorFrom(selector).toString() }).toString();
}
