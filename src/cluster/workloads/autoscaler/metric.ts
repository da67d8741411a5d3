import { messageOf } from "../../../kernel/errors/index.js";
import {
  formatQuantity,
  type HorizontalPodAutoscaler,
  type LabelSelector,
  parseQuantity,
  quantityToMillis,
  type Selector,
} from "../../../kernel/kinds/index.js";
import { goSelector } from "../shared/go-selector.js";
import {
  type Proposal,
  proposeByAmount,
  proposeByShare,
  proposeByUtilization,
  proposeByValue,
  type Scene,
} from "./proposal.js";
import { type MetricsReader, NoProposalError } from "./readings.js";

type MetricSpec = NonNullable<HorizontalPodAutoscaler["spec"]["metrics"]>[number];
/** What is said of a metric in the status. */
export type MetricStatus = NonNullable<NonNullable<HorizontalPodAutoscaler["status"]>["currentMetrics"]>[number];
type Target = NonNullable<MetricSpec["resource"]>["target"];

/** What a metric asks for, or why it cannot say. */
export type Judgement =
  | { readonly replicas: number; readonly name: string; readonly status: MetricStatus }
  | {
      readonly reason: string;
      /** What failed. */
      readonly message: string;
      /** The same, with what it was done for. */
      readonly whole: string;
    };

/** Where a metric is looked up, and for whom. */
export interface Look {
  readonly reader: MetricsReader;
  readonly namespace: string;
  /** Finds the target's pods. */
  readonly selector: Selector;
  readonly scene: Scene;
}

interface Found {
  readonly name: string;
  readonly status: MetricStatus;
  readonly replicas: number;
}

/** Something that can be measured: how failures of it are called, and how it is judged. */
interface Source {
  readonly reason: string;
  readonly about: string;
  /** Words between `about` and the failure. */
  readonly detail?: string;
  readonly judge: () => Promise<Found>;
}

const milliOf = (quantity: string): number => quantityToMillis(parseQuantity(quantity));
const decimal = (milli: number): string => formatQuantity({ nanos: BigInt(milli) * 1_000_000n, format: "DecimalSI" });
const ofResource = (resource: string, milli: number): string =>
  formatQuantity({ nanos: BigInt(milli) * 1_000_000n, format: resource === "memory" ? "BinarySI" : "DecimalSI" });

/** Judges one metric of an autoscaler. */
export async function judgeMetric(spec: MetricSpec, look: Look): Promise<Judgement> {
  const source = sourceOf(spec, look);
  try {
    return await source.judge();
  } catch (error) {
    if (!(error instanceof NoProposalError)) throw error;
    const message = messageOf(error);
    const detail = source.detail === undefined ? message : `${source.detail}: ${message}`;
    return { reason: source.reason, message, whole: `failed to get ${source.about}: ${detail}` };
  }
}

function sourceOf(spec: MetricSpec, look: Look): Source {
  if (spec.resource !== undefined) return resourceSource(spec.resource, look);
  if (spec.containerResource !== undefined) return containerSource(spec.containerResource, look);
  if (spec.pods !== undefined) return podsSource(spec.pods, look);
  if (spec.object !== undefined) return objectSource(spec.object, look);
  if (spec.external !== undefined) return externalSource(spec.external, look);
  return {
    reason: "InvalidMetricSourceType",
    about: "metric",
    judge: () => Promise.reject(new NoProposalError(`unknown metric source type "${spec.type}"`)),
  };
}

function resourceSource({ name, target }: NonNullable<MetricSpec["resource"]>, look: Look): Source {
  return {
    reason: "FailedGetResourceMetric",
    about: `${name} resource metric value`,
    async judge() {
      const { words, current, replicas } = await judgeResource({ resource: name, target }, look);
      return { replicas, name: words, status: { type: "Resource", resource: { name, current } } };
    },
  };
}

function containerSource(spec: NonNullable<MetricSpec["containerResource"]>, look: Look): Source {
  const { name, container, target } = spec;
  return {
    reason: "FailedGetContainerResourceMetric",
    about: `${container} container metric value`,
    async judge() {
      const { words, current, replicas } = await judgeResource({ resource: name, target, container }, look);
      const status = { type: "ContainerResource", containerResource: { name, container, current } };
      return { replicas, name: words, status };
    },
  };
}

async function judgeResource(
  { resource, target, container }: { resource: string; target: Target; container?: string },
  { reader, namespace, selector, scene }: Look,
) {
  const { averageValue, averageUtilization } = target;
  const wanted = averageValue === undefined ? "utilization" : "usage";
  if (averageValue === undefined && averageUtilization === undefined)
    throw new NoProposalError(
      "invalid resource metric source: neither an average utilization target nor an average value (usage) target was set",
    );
  const readings = await explain(
    `failed to get ${resource} ${wanted}: unable to get metrics for resource ${resource}`,
    () => reader.podResource({ namespace, selector, resource, container }),
  );
  return explain(`failed to get ${resource} ${wanted}`, () => {
    if (averageValue !== undefined) {
      const target = { milli: milliOf(averageValue), isCpu: resource === "cpu" };
      const { replicas, usage } = proposeByAmount(scene, readings, target);
      return { replicas, words: `${resource} resource`, current: { averageValue: ofResource(resource, usage) } };
    }
    const goal = { percent: averageUtilization ?? 0, resource, container };
    const { replicas, usage, utilization = 0 } = proposeByUtilization(scene, readings, goal);
    const of = container === undefined ? "resource" : "container resource";
    return {
      replicas,
      words: `${resource} ${of} utilization (percentage of request)`,
      current: { averageUtilization: utilization, averageValue: ofResource(resource, usage) },
    };
  });
}

function podsSource({ metric, target }: NonNullable<MetricSpec["pods"]>, look: Look): Source {
  const { reader, namespace, selector, scene } = look;
  return {
    reason: "FailedGetPodsMetric",
    about: "pods metric value",
    async judge() {
      const query = { namespace, metric: metric.name, metricSelector: metric.selector, selector };
      const readings = await explain(`unable to get metric ${metric.name}`, () => reader.podMetric(query));
      const { replicas, usage } = proposeByAmount(scene, readings, {
        milli: milliOf(target.averageValue ?? "0"),
        isCpu: false,
      });
      const status = { type: "Pods", pods: { metric, current: { averageValue: decimal(usage) } } };
      return { replicas, name: `pods metric ${metric.name}`, status };
    },
  };
}

function objectSource(spec: NonNullable<MetricSpec["object"]>, look: Look): Source {
  const { describedObject, metric, target } = spec;
  const { reader, namespace, scene } = look;
  const read = async (): Promise<number> => {
    const query = { namespace, metric: metric.name, metricSelector: metric.selector, about: describedObject };
    try {
      return await reader.objectMetric(query);
    } catch (error) {
      if (!(error instanceof NoProposalError)) throw error;
      const { kind, name } = describedObject;
      // In this odd order upstream puts it, and people search for it.
      throw new NoProposalError(
        `unable to get metric ${metric.name}: ${kind} on ${namespace} ${name}/${messageOf(error)}`,
      );
    }
  };
  const isShare = target.type === "AverageValue" && target.averageValue !== undefined;
  return {
    reason: "FailedGetObjectMetric",
    about: "object metric value",
    ...(isShare ? { detail: `failed to get ${metric.name} object metric` } : {}),
    async judge() {
      const words = { whole: `${describedObject.kind} metric ${metric.name}`, source: "object" };
      const { current, ...found } = await judgeValue({ target, metric, words, read }, scene);
      return { ...found, status: { type: "Object", object: { describedObject, metric, current } } };
    },
  };
}

function externalSource({ metric, target }: NonNullable<MetricSpec["external"]>, look: Look): Source {
  const { reader, namespace, scene } = look;
  const read = async (): Promise<number> => {
    const query = { namespace, metric: metric.name, metricSelector: metric.selector };
    const about = `unable to get external metric ${namespace}/${metric.name}/${goSelector(metric.selector)}`;
    const values = await explain(about, () => reader.externalMetric(query));
    return values.reduce((sum, value) => sum + value, 0);
  };
  return {
    reason: "FailedGetExternalMetric",
    about: `${metric.name} external metric value`,
    detail:
      target.averageValue === undefined
        ? `failed to get external metric ${metric.name}`
        : `failed to get ${metric.name} external metric`,
    async judge() {
      const words = { whole: describeExternal(metric), source: "external" };
      const { current, ...found } = await judgeValue({ target, metric, words, read }, scene);
      return { ...found, status: { type: "External", external: { metric, current } } };
    },
  };
}

interface ValueMetric {
  readonly target: Target;
  readonly metric: { readonly name: string; readonly selector?: LabelSelector };
  readonly words: { readonly whole: string; readonly source: string };
  readonly read: () => Promise<number>;
}

/** One value that is no pod's: as a whole, or shared out over the replicas. */
async function judgeValue({ target, metric, words, read }: ValueMetric, scene: Scene) {
  if (target.averageValue !== undefined) {
    const { replicas, usage }: Proposal = proposeByShare(scene, await read(), milliOf(target.averageValue));
    return { replicas, name: describeExternal(metric), current: { averageValue: decimal(usage) } };
  }
  if (target.value === undefined)
    throw new NoProposalError(
      `invalid ${words.source} metric source: neither a value target nor an average value target was set`,
    );
  const { replicas, usage } = proposeByValue(scene, await read(), milliOf(target.value));
  return { replicas, name: words.whole, current: { value: decimal(usage) } };
}

function describeExternal({ name, selector }: ValueMetric["metric"]): string {
  return `external metric ${name}(${goSelector(selector)})`;
}

/** Says before a failure what it was that failed. */
async function explain<T>(about: string, run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof NoProposalError)) throw error;
    throw new NoProposalError(`${about}: ${messageOf(error)}`);
  }
}
