import {
  type ControllerSpec,
  type ReconcileContext,
  type ReconcileResult,
  syncStatus,
} from "../../../kernel/control/index.js";
import { ApiError, InputError, isConflict, messageOf } from "../../../kernel/errors/index.js";
import {
  type HorizontalPodAutoscaler,
  HorizontalPodAutoscalerKind,
  isDeleting,
  PodKind,
  parseSelector,
  quantityToNumber,
  type Selector,
  timeOf,
  tryParseQuantity,
  withCondition,
} from "../../../kernel/kinds/index.js";
import { asObject, asString, toJson } from "../../../kernel/schema/index.js";
import type { Ledger } from "../../../stores/ledger/index.js";
import { type Judgement, judgeMetric, type MetricStatus } from "./metric.js";
import { noteChange, type Past, pace, type Told } from "./pace.js";
import { defaultTolerance } from "./proposal.js";
import { MetricsReader, NoProposalError } from "./readings.js";
import { readTarget, type ScaleTarget } from "./target.js";

const name = "horizontal-pod-autoscaler";
/** How often metrics are looked at, as upstream. */
const periodMs = 15_000;

type Context = ReconcileContext<HorizontalPodAutoscaler>;
type Status = NonNullable<HorizontalPodAutoscaler["status"]>;

/** What autoscalers need besides the API. */
export interface AutoscalerOptions {
  readonly ledger: Ledger;
  readonly clusterName: string;
}

/** What is remembered of one autoscaler. */
interface Memory {
  readonly past: Past;
  /** Of the target's pods; autoscalers must not share any. */
  selector?: Selector;
  spec: string;
  dueMs: number;
}

/** Sizes workloads by metrics, through the API alone: whoever serves the scale and the metrics. */
export function autoscalerController(options: AutoscalerOptions): ControllerSpec<HorizontalPodAutoscaler> {
  const memories = new Map<string, Memory>();
  return {
    name,
    kind: HorizontalPodAutoscalerKind,
    watches: [{ kind: PodKind, keys: () => [] }],
    concurrency: 5,
    async reconcile(key, scaler, context) {
      const id = `${key.namespace}/${key.name}`;
      if (scaler === undefined || isDeleting(scaler)) {
        memories.delete(id);
        return undefined;
      }
      const nowMs = context.clock.monotonicMs();
      const spec = JSON.stringify(scaler.spec);
      const memory = memories.get(id) ?? { past: { recommendations: [], ups: [], downs: [] }, spec, dueMs: nowMs };
      memories.set(id, memory);
      // Its own writes wake it too; only a new spec is worth a look before time.
      if (memory.spec === spec && memory.dueMs > nowMs) return { requeueAfterMs: memory.dueMs - nowMs };
      const result = await new Look({ scaler, memory, memories, context, options }).run();
      Object.assign(memory, { spec, dueMs: nowMs + periodMs });
      return result;
    },
  };
}

interface LookParts {
  readonly scaler: HorizontalPodAutoscaler;
  readonly memory: Memory;
  readonly memories: ReadonlyMap<string, Memory>;
  readonly context: Context;
  readonly options: AutoscalerOptions;
}

/** How far use may be from the target; the fields (KEP-4951) are younger than our types. */
function toleranceOf({ spec }: HorizontalPodAutoscaler): { readonly up: number; readonly down: number } {
  const read = (rules: object | undefined): number => {
    const quantity = tryParseQuantity(asString(asObject(rules)["tolerance"]));
    return quantity === undefined ? defaultTolerance : quantityToNumber(quantity);
  };
  return { up: read(spec.behavior?.scaleUp), down: read(spec.behavior?.scaleDown) };
}

/** The metrics' verdict. */
interface Verdict {
  readonly replicas: number;
  readonly metric: string;
}

/** One look at one autoscaler: conditions gather while it goes on. */
class Look {
  readonly #parts: LookParts;
  #conditions: NonNullable<Status["conditions"]>;
  #metrics: MetricStatus[] | undefined;

  constructor(parts: LookParts) {
    this.#parts = parts;
    this.#conditions = parts.scaler.status?.conditions ?? [];
  }

  async run(): Promise<ReconcileResult> {
    const { scaler, context } = this.#parts;
    let target: ScaleTarget;
    try {
      target = await readTarget(context.cluster.client, scaler);
    } catch (error) {
      if (!(error instanceof ApiError || error instanceof NoProposalError)) throw error;
      const words = messageOf(error);
      this.#warn("FailedGetScale", words);
      this.#say("AbleToScale", false, {
        reason: "FailedGetScale",
        message: `the HPA controller was unable to get the target's current scale: ${words}`,
      });
      return this.#end({ ...scaler.status, desiredReplicas: scaler.status?.desiredReplicas ?? 0 });
    }
    this.#say("AbleToScale", true, {
      reason: "SucceededGetScale",
      message: "the HPA controller was able to get the target's current scale",
    });
    return this.#work(target);
  }

  async #work(target: ScaleTarget): Promise<ReconcileResult> {
    const { scaler, memory, context } = this.#parts;
    const current = target.specReplicas;
    const { minReplicas: min = 1, maxReplicas: max } = scaler.spec;
    const { past } = memory;
    if (past.recommendations.length === 0) past.recommendations = [{ replicas: current, atMs: context.clock.now() }];
    if (current === 0 && min !== 0) {
      this.#say("ScalingActive", false, {
        reason: "ScalingDisabled",
        message: "scaling is disabled since the replica count of the target is zero",
      });
      return this.#report(current, 0);
    }
    if (current > max) return this.#resize(target, max, "Current number of replicas above Spec.MaxReplicas");
    if (current < min) return this.#resize(target, min, "Current number of replicas below Spec.MinReplicas");
    const verdict = await this.#judge(target);
    if (verdict === undefined) return this.#report(current, scaler.status?.desiredReplicas ?? 0);
    const desired = verdict.replicas;
    const reason =
      desired > current ? `${verdict.metric} above target` : desired < current ? "All metrics below target" : "";
    const wish = { current, desired, min, max, nowMs: context.clock.now() };
    const paced = pace(wish, scaler.spec.behavior, past);
    this.#say("AbleToScale", true, paced.able);
    this.#say("ScalingLimited", paced.limited.isLimited, paced.limited);
    if (paced.replicas === current) return this.#report(current, current);
    return this.#resize(target, paced.replicas, reason, verdict);
  }

  /** Asks every metric; the largest answer counts. `undefined` when too many could not answer to act on the rest. */
  async #judge(target: ScaleTarget): Promise<Verdict | undefined> {
    const { scaler, context } = this.#parts;
    const selector = this.#selectorOf(target);
    if (selector === undefined) return undefined;
    const namespace = scaler.metadata.namespace ?? "";
    const pods = context.cluster.informers
      .informer(PodKind)
      .list(namespace)
      .filter((pod) => selector.matches(pod.metadata.labels));
    const scene = { ...target, pods, nowMs: context.clock.now(), tolerance: toleranceOf(scaler) };
    const look = { reader: new MetricsReader(context.cluster.client), namespace, selector, scene };
    const judgements: Judgement[] = [];
    for (const spec of scaler.spec.metrics ?? []) judgements.push(await judgeMetric(spec, look));
    return this.#weigh(judgements, target.specReplicas);
  }

  #weigh(judgements: readonly Judgement[], current: number): Verdict | undefined {
    // As upstream: a metric that failed leaves an entry without a type.
    this.#metrics = judgements.map((one) => ("status" in one ? one.status : { type: "" }));
    const failed = judgements.flatMap((one) => ("whole" in one ? [one] : []));
    for (const { reason, message } of failed) this.#warn(reason, message);
    const told = judgements.flatMap((one) => ("status" in one ? [one] : []));
    const largest = told.reduce<Verdict>(
      (best, { replicas, name: metric }) =>
        best.replicas === 0 || replicas > best.replicas ? { replicas, metric } : best,
      { replicas: 0, metric: "" },
    );
    const [first] = failed;
    if (first !== undefined && (told.length === 0 || largest.replicas < current)) {
      const message = `the HPA was unable to compute the replica count: ${first.message}`;
      this.#say("ScalingActive", false, { reason: first.reason, message });
      this.#warn(
        "FailedComputeMetricsReplicas",
        `invalid metrics (${failed.length} invalid out of ${judgements.length}), first error is: ${first.whole}`,
      );
      return undefined;
    }
    this.#say("ScalingActive", true, {
      reason: "ValidMetricFound",
      message: `the HPA was able to successfully calculate a replica count from ${largest.metric}`,
    });
    return largest;
  }

  #selectorOf(target: ScaleTarget): Selector | undefined {
    const refuse = (
      event: string,
      reason: string,
      [message, told = message]: readonly [string, string?],
    ): undefined => {
      this.#warn(event, message);
      this.#warn("FailedComputeMetricsReplicas", message);
      this.#say("ScalingActive", false, { reason, message: told });
    };
    if (target.selector === "") {
      const told = "the HPA target's scale is missing a selector";
      return refuse("SelectorRequired", "InvalidSelector", ["selector is required", told]);
    }
    let selector: Selector;
    try {
      selector = parseSelector(target.selector);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      const words = `couldn't convert selector into a corresponding internal selector object: ${messageOf(error)}`;
      return refuse("InvalidSelector", "InvalidSelector", [words]);
    }
    this.#parts.memory.selector = selector;
    const rivals = this.#rivalsFor(selector);
    if (rivals.length < 2) return selector;
    const words = `pods by selector ${target.selector} are controlled by multiple HPAs: [${rivals.join(" ")}]`;
    return refuse("AmbiguousSelector", "AmbiguousSelector", [words]);
  }

  /** Autoscalers, this one included, whose targets have pods that this one's target has. */
  #rivalsFor(selector: Selector): readonly string[] {
    const { scaler, memories, context } = this.#parts;
    const namespace = scaler.metadata.namespace ?? "";
    const pods = context.cluster.informers
      .informer(PodKind)
      .list(namespace)
      .filter((pod) => selector.matches(pod.metadata.labels));
    const isRival = ([id, other]: [string, Memory]): boolean =>
      id.startsWith(`${namespace}/`) && pods.some((pod) => other.selector?.matches(pod.metadata.labels) === true);
    return [...memories]
      .filter(isRival)
      .map(([id]) => id)
      .toSorted((a, b) => (a < b ? -1 : 1));
  }

  async #resize(target: ScaleTarget, to: number, reason: string, verdict?: Verdict): Promise<ReconcileResult> {
    const { scaler, memory, context } = this.#parts;
    const from = target.specReplicas;
    try {
      await target.resize(to);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const words = messageOf(error);
      this.#warn("FailedRescale", `New size: ${to}; reason: ${reason}; error: ${words}`);
      this.#say("AbleToScale", false, {
        reason: "FailedUpdateScale",
        message: `the HPA controller was unable to update the target scale: ${words}`,
      });
      return this.#report(from, scaler.status?.desiredReplicas ?? 0);
    }
    this.#say("AbleToScale", true, {
      reason: "SucceededRescale",
      message: `the HPA controller was able to update the target scale to ${to}`,
    });
    context.events.record(scaler, "Normal", "SuccessfulRescale", `New size: ${to}; reason: ${reason}`);
    noteChange(scaler.spec.behavior, memory.past, { from, to, nowMs: context.clock.now() });
    this.#note({ from, to, reason }, verdict);
    return this.#report(from, to, true);
  }

  #note({ from, to, reason }: { from: number; to: number; reason: string }, verdict: Verdict | undefined): void {
    const { scaler, options } = this.#parts;
    const { namespace = "", name: scalerName } = scaler.metadata;
    const { minReplicas, maxReplicas, behavior, scaleTargetRef } = scaler.spec;
    options.ledger.record({
      cluster: options.clusterName,
      about: { apiVersion: scaler.apiVersion, kind: scaler.kind, namespace, name: scalerName },
      topic: "scaling",
      rule: "the largest number that a metric asks for, within the bounds, windows and rates of the autoscaler",
      inputs: {
        target: toJson({ ...scaleTargetRef }),
        bounds: toJson({ minReplicas, maxReplicas, behavior }),
        metrics: toJson(this.#metrics ?? []),
      },
      outcome: `scaled from ${from} to ${to} replicas`,
      winners: [{ name: `${to} replicas`, reason, score: to }],
      losers:
        verdict === undefined || verdict.replicas === to
          ? []
          : [
              {
                name: `${verdict.replicas} replicas`,
                reason: this.#reasonOf("ScalingLimited"),
                score: verdict.replicas,
              },
            ],
    });
  }

  #reasonOf(type: string): string {
    return this.#conditions.find((condition) => condition.type === type)?.message ?? "";
  }

  #warn(reason: string, message: string): void {
    this.#parts.context.events.record(this.#parts.scaler, "Warning", reason, message);
  }

  #say(type: string, isTrue: boolean, { reason, message }: Told): void {
    const said = { type, status: isTrue ? "True" : "False", reason, message };
    this.#conditions = withCondition(this.#conditions, said, this.#parts.context.clock.now());
  }

  #report(currentReplicas: number, desiredReplicas: number, isRescaled = false): Promise<ReconcileResult> {
    const { scaler, context } = this.#parts;
    const lastScaleTime = isRescaled ? timeOf(context.clock.now()) : scaler.status?.lastScaleTime;
    return this.#end({
      ...(currentReplicas === 0 ? {} : { currentReplicas }),
      desiredReplicas,
      ...(lastScaleTime === undefined ? {} : { lastScaleTime }),
      ...(this.#metrics === undefined ? {} : { currentMetrics: this.#metrics }),
    });
  }

  async #end(status: Status): Promise<ReconcileResult> {
    const { scaler, context } = this.#parts;
    const resource = context.cluster.client.resource(HorizontalPodAutoscalerKind);
    try {
      await syncStatus(resource, scaler, { ...status, conditions: this.#conditions }, name);
    } catch (error) {
      // Somebody changed it meanwhile: what was decided is done, and is said at the next look.
      if (!isConflict(error)) throw error;
    }
    return { requeueAfterMs: periodMs };
  }
}
