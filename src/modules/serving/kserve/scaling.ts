/** How many pods a component has, and who decides it. Pure. */
import type { JsonObject, KubeObject } from "../../../kernel/kinds/index.js";
import { asNumber, asObject, asObjects, asString, isObject, toJsonObject } from "../../../kernel/schema/index.js";
import { readSettings, SCALING } from "../autoscaling/index.js";
import { annotationOf, KSERVE } from "./annotations.js";

const KNATIVE = "autoscaling.knative.dev/";
/** Settings of the autoscaler that an InferenceService may have; `docs/scaling.md`. */
const OWN_SETTINGS = ["metric", "query", "queue-timeout", "queue-length", "cold-start-budget", "prewarm"].map(
  (name) => `serving.argosy.dev/${name}`,
);

/** Who scales what. */
export interface Scaling {
  readonly by: "nobody" | "hpa" | "kpa" | "external";
  /** Pods where nobody else decides, and to begin with. */
  readonly replicas: number;
  readonly min: number;
  /** 0: no limit. */
  readonly max: number;
  /** Metrics and bounds of a HorizontalPodAutoscaler. */
  readonly hpa?: JsonObject;
  /** Of the Deployment, for the autoscaler. */
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** What was asked for and has no effect, with what happens instead. */
  readonly ignored: readonly string[];
}

/** What a component asks for; `hasKpa` says whether somebody here scales by requests. */
export function scalingOf(service: KubeObject, written: JsonObject, mode: string, hasKpa: boolean): Scaling {
  const component = withHpaClass(service, written);
  const asked = classOf(service, component, mode);
  const wished = asNumber(component["minReplicas"]) ?? 1;
  const max = asNumber(component["maxReplicas"]) ?? 0;
  const min = max > 0 ? Math.min(wished, max) : wished;
  const replicas = Math.max(1, min);
  const unheard = [...withoutRequests(component, min), ...withoutEffect(service)];
  const none = { replicas, min, max, labels: {}, annotations: {}, ignored: unheard };
  if (asked === "kpa") {
    if (!hasKpa) return { ...none, by: "nobody" };
    const annotations = kpaAnnotations(service, component, { min, max });
    const faults = readSettings(annotations, asNumber(component["containerConcurrency"]) ?? 0).faults;
    const ignored = [
      ...addressIgnored(component),
      ...faults.map(({ annotation, message }) => `annotation ${annotation} (${message}; its default counts)`),
    ];
    return { ...none, by: "kpa", labels: { [SCALING.autoscaler]: "kpa" }, annotations, ignored };
  }
  if (asked === "none") return { ...none, by: "nobody" };
  if (asked === "external") return { ...none, by: "external" };
  const keda =
    asked === "keda" ? ["autoscalerClass keda (no ScaledObject is written, a HorizontalPodAutoscaler is)"] : [];
  if (max <= replicas) {
    const idle = `annotation ${KNATIVE}class (there is no maxReplicas above minReplicas)`;
    return { ...none, by: "nobody", ignored: isHpaClass(service) ? [...unheard, idle] : unheard };
  }
  const { metrics, ignored } = hpaMetrics(service, component);
  const all = [...none.ignored, ...(metrics.length === 0 ? [] : keda), ...ignored];
  if (metrics.length === 0) return { ...none, by: "nobody", ignored: all };
  const behavior = asObject(component["autoScaling"])["behavior"];
  const hpa = { minReplicas: replicas, maxReplicas: max, metrics, ...(isObject(behavior) ? { behavior } : {}) };
  return { ...none, by: "hpa", hpa, ignored: all };
}

/** What has no effect where nobody counts requests. */
function withoutRequests(component: JsonObject, min: number): string[] {
  const metric = asString(component["scaleMetric"]);
  return [
    ...(min === 0 ? ["minReplicas 0 (one pod runs: it is not scaled by requests)"] : []),
    ...(metric === "concurrency" || metric === "rps" ? [`scaleMetric ${metric} (it is not scaled by requests)`] : []),
  ];
}

const isHpaClass = ({ metadata }: KubeObject): boolean =>
  (metadata.annotations?.[`${KNATIVE}class`] ?? "").startsWith("hpa");

/** Knative's annotations that its HPA class goes by. */
const HPA_SETTINGS = ["min-scale", "max-scale", "metric", "target"].map((name) => `${KNATIVE}${name}`);

/** With Knative's HPA class its annotations go before a component's fields, as they do where requests are counted. */
function withHpaClass(service: KubeObject, component: JsonObject): JsonObject {
  if (!isHpaClass(service)) return component;
  const annotations = { ...service.metadata.annotations, [`${KNATIVE}class`]: "hpa.autoscaling.knative.dev" };
  const { settings, faults } = readSettings(annotations, 0);
  const { metric, bounds, hpaTarget } = settings;
  const values = [
    { minReplicas: bounds.minScale },
    { maxReplicas: bounds.maxScale },
    { scaleMetric: metric, ...(metric === "memory" ? { scaleMetricType: "AverageValue" } : {}) },
    { scaleTarget: Math.ceil(hpaTarget) },
  ];
  const said = HPA_SETTINGS.map(
    (name) => Object.hasOwn(annotations, name) && !faults.some(({ annotation }) => annotation === name),
  );
  return Object.assign({ ...component }, ...values.filter((_value, index) => said[index] === true));
}

/** Annotations of an autoscaler that has no part in it. */
function withoutEffect(service: KubeObject): string[] {
  const { annotations = {} } = service.metadata;
  const slips = new Map(readSettings(annotations, 0).faults.map(({ annotation, message }) => [annotation, message]));
  const heard = isHpaClass(service) ? HPA_SETTINGS : [];
  return Object.keys(annotations)
    .filter((name) => (name.startsWith(KNATIVE) && name !== `${KNATIVE}class`) || OWN_SETTINGS.includes(name))
    .filter((name) => !heard.includes(name) || slips.has(name))
    .map((name) => {
      const slip = slips.get(name);
      const instead = heard.includes(name) ? "its default counts" : "it is not scaled by requests";
      return `annotation ${name} (${slip === undefined ? "" : `${slip}; `}${instead})`;
    });
}

/** The one metric that a Prometheus is asked for; `undefined` where there is none, or more. */
function prometheusMetric(component: JsonObject): { readonly query: string; readonly target: string } | undefined {
  const metrics = asObjects(asObject(component["autoScaling"])["metrics"]);
  const [only] = metrics;
  if (metrics.length !== 1 || only?.["type"] !== "External") return undefined;
  const { metric, target } = asObject(only["external"]);
  const query = asString(asObject(metric)["query"]);
  const value = asObject(target)["averageValue"] ?? asObject(target)["value"];
  const isNumber = (typeof value === "string" || typeof value === "number") && Number(value) > 0;
  return asObject(metric)["backend"] === "prometheus" && query !== "" && isNumber
    ? { query, target: String(value) }
    : undefined;
}

/** Addresses are not the writer's to choose. */
function addressIgnored(component: JsonObject): string[] {
  const [only] = asObjects(asObject(component["autoScaling"])["metrics"]);
  if (prometheusMetric(component) === undefined) return [];
  const external = asObject(only?.["external"]);
  return asObject(external["metric"])["serverAddress"] === undefined && external["authenticationRef"] === undefined
    ? []
    : ["autoScaling serverAddress and authenticationRef (the agent asks the Prometheus that it was started with)"];
}

function classOf(service: KubeObject, component: JsonObject, mode: string): string {
  // One head speaks for the pods of all its nodes.
  if (isObject(component["workerSpec"])) return "none";
  const knative = service.metadata.annotations?.[`${KNATIVE}class`] ?? "";
  if (knative.startsWith("hpa")) return "hpa";
  const named = annotationOf(service, KSERVE.autoscalerClass);
  const isExternal = prometheusMetric(component) !== undefined;
  if (isExternal && (named === undefined || named === "keda")) return "kpa";
  if (named !== undefined) return named;
  if (service.metadata.annotations?.["serving.argosy.dev/metric"] !== undefined) return "kpa";
  const metric = asString(component["scaleMetric"]);
  if (metric === "concurrency" || metric === "rps") return "kpa";
  if (metric === "cpu" || metric === "memory" || isObject(component["autoScaling"])) return "hpa";
  // Who says so little as "from zero on" means requests: nothing else wakes it.
  if (mode === "Knative" || component["minReplicas"] === 0 || knative.startsWith("kpa")) return "kpa";
  return "hpa";
}

function kpaAnnotations(
  service: KubeObject,
  component: JsonObject,
  { min, max }: { min: number; max: number },
): Record<string, string> {
  const own = { ...service.metadata.annotations, ...toJsonObject(asObject(component["annotations"])) };
  const written = Object.entries(own).filter(
    (entry): entry is [string, string] =>
      (entry[0].startsWith(KNATIVE) || OWN_SETTINGS.includes(entry[0])) && typeof entry[1] === "string",
  );
  const metric = asString(component["scaleMetric"]);
  const target = asNumber(component["scaleTarget"]);
  const concurrency = asNumber(component["containerConcurrency"]);
  const external = prometheusMetric(component);
  return {
    [`${KNATIVE}min-scale`]: String(min),
    ...(max > 0 ? { [`${KNATIVE}max-scale`]: String(max) } : {}),
    ...(metric === "" ? {} : { [`${KNATIVE}metric`]: metric }),
    ...(target === undefined ? {} : { [`${KNATIVE}target`]: String(target) }),
    ...(external === undefined
      ? {}
      : {
          "serving.argosy.dev/metric": "promql",
          "serving.argosy.dev/query": external.query,
          [`${KNATIVE}target`]: external.target,
        }),
    ...Object.fromEntries(written),
    [SCALING.containerConcurrency]: String(concurrency ?? 0),
  };
}

/** The metrics of a HorizontalPodAutoscaler: those of autoScaling, else scaleMetric's, else CPU at 80 %. */
function hpaMetrics(
  service: KubeObject,
  component: JsonObject,
): { readonly metrics: JsonObject[]; readonly ignored: string[] } {
  const several = asObjects(asObject(component["autoScaling"])["metrics"]);
  if (several.length > 0) {
    const resources = several.filter(({ type }) => type === "Resource");
    const others = several.filter(({ type }) => type !== "Resource").map(({ type }) => asString(type));
    return {
      metrics: resources.map(({ resource }) => ({ type: "Resource", resource: resourceMetric(asObject(resource)) })),
      ignored: others.map((type) => `autoScaling metric of type ${type} (no such source is connected)`),
    };
  }
  const asked = asString(component["scaleMetric"]) || annotationOf(service, KSERVE.metrics) || "cpu";
  const isResource = asked === "cpu" || asked === "memory";
  const name = isResource ? asked : "cpu";
  const wished = isResource ? asNumber(component["scaleTarget"]) : undefined;
  const target = wished ?? (Number(annotationOf(service, KSERVE.targetUtilization)) || 80);
  const amount = component["scaleMetricType"] === "AverageValue" || (name === "memory" && target > 100);
  const aim = amount
    ? { type: "AverageValue", averageValue: name === "memory" ? `${target}Mi` : String(target) }
    : { type: "Utilization", averageUtilization: target };
  return { metrics: [{ type: "Resource", resource: { name, target: aim } }], ignored: [] };
}

function resourceMetric(resource: JsonObject): JsonObject {
  const target = asObject(resource["target"]);
  const type = asString(target["type"]) || (target["averageValue"] === undefined ? "Utilization" : "AverageValue");
  const figure =
    type === "Utilization"
      ? { averageUtilization: asNumber(target["averageUtilization"]) ?? 80 }
      : { averageValue: target["averageValue"] ?? target["value"] ?? "1" };
  return {
    name: asString(resource["name"]) || "cpu",
    target: { type: type === "Value" ? "AverageValue" : type, ...figure },
  };
}
