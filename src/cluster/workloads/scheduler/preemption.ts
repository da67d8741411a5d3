import {
  findCondition,
  isDeleting,
  labelSelectorMatches,
  type Pod,
  type PodDisruptionBudget,
} from "../../../kernel/kinds/index.js";
import type { Fit } from "./fit.js";
import { priorityOf } from "./priority.js";
import { refusalText } from "./refusal.js";
import type { NodeView, Obstacle } from "./snapshot.js";

/** What making room takes: a node, and who must go there. */
export interface Preemption {
  readonly node: string;
  /** Empty: those who go already are enough, waiting will do. */
  readonly victims: readonly Pod[];
}

/** A node as the filters left it. */
export interface Assessment {
  readonly view: NodeView;
  /** `undefined`: it can take the pod. */
  readonly obstacle: Obstacle | undefined;
}

/** What preemption is to be found for. */
export interface PreemptionQuery {
  readonly pod: Pod;
  readonly fit: Fit;
  readonly assessed: readonly Assessment[];
  /** Of all namespaces. */
  readonly budgets: readonly PodDisruptionBudget[];
}

/** Where room can be made, or why nowhere, in upstream's words. */
export type PreemptionOutcome =
  | { readonly preemption: Preemption }
  | {
      readonly message: string;
      /** Nothing was looked at: a promise that was made stands. */
      readonly isPromiseKept?: true;
    };

interface Option extends Preemption {
  /** Victims that a budget would have spared. */
  readonly violations: number;
}

/**
 * Finds the node where a pod that fits nowhere can be given room at the least cost: the fewest broken budgets, then the least
 * important victims, then the smallest sum of their priorities, the fewest, the youngest. Pods with
 * `preemptionPolicy: Never`, and those of the lowest priority, displace nobody.
 */
export function findPreemption(query: PreemptionQuery): PreemptionOutcome {
  const { pod, assessed } = query;
  if (pod.spec.preemptionPolicy === "Never")
    return { message: "preemption: not eligible due to preemptionPolicy=Never.", isPromiseKept: true };
  if (isBeingMadeRoomFor(query))
    return {
      message: "preemption: not eligible due to a terminating pod on the nominated node.",
      isPromiseKept: true,
    };
  const options: Option[] = [];
  const refusals: Obstacle[] = [];
  for (const assessment of assessed) {
    const option = optionOn(assessment, query);
    if ("node" in option) options.push(option);
    else refusals.push(option);
  }
  const [best] = options.toSorted(byCost);
  if (best === undefined) return { message: `preemption: ${refusalText(assessed.length, refusals)}` };
  return { preemption: best };
}

/** Whether a lesser pod still ends on the node that was promised. */
function isBeingMadeRoomFor({ pod, assessed }: PreemptionQuery): boolean {
  const nominated = pod.status?.nominatedNodeName ?? "";
  const assessment = assessed.find(({ view }) => view.node.metadata.name === nominated);
  if (assessment === undefined || assessment.obstacle?.isFinal === true) return false;
  return assessment.view.pods.some(
    (other) =>
      priorityOf(other) < priorityOf(pod) &&
      isDeleting(other) &&
      findCondition(other.status?.conditions, "DisruptionTarget")?.reason === "PreemptionByScheduler",
  );
}

function optionOn({ view, obstacle }: Assessment, { pod, fit, budgets }: PreemptionQuery): Option | Obstacle {
  if (obstacle?.isFinal !== false) return { reasons: ["Preemption is not helpful for scheduling"], isFinal: true };
  const lesser = view.pods.filter((other) => priorityOf(other) < priorityOf(pod));
  if (lesser.length === 0) return { reasons: ["No preemption victims found for incoming pod"], isFinal: true };
  let staying = view.pods.filter((other) => !lesser.includes(other));
  const rest = fit.among(view, staying);
  if (rest !== undefined) return rest;
  const { protectedPods, others } = byBudget(lesser.toSorted(byImportance), budgets);
  const victims: Pod[] = [];
  const spare = (candidates: readonly Pod[]): number => {
    const before = victims.length;
    for (const other of candidates) {
      if (fit.among(view, [...staying, other]) === undefined) staying = [...staying, other];
      else victims.push(other);
    }
    return victims.length - before;
  };
  const violations = spare(protectedPods);
  spare(others);
  return { node: view.node.metadata.name, victims: victims.toSorted(byImportance), violations };
}

/** Pods that budgets protect now, and the others; each pod that goes spends of its budgets. */
function byBudget(
  pods: readonly Pod[],
  budgets: readonly PodDisruptionBudget[],
): { readonly protectedPods: readonly Pod[]; readonly others: readonly Pod[] } {
  const left = new Map(budgets.map((budget) => [budget, budget.status?.disruptionsAllowed ?? 0]));
  const protectedPods: Pod[] = [];
  const others: Pod[] = [];
  for (const pod of pods) {
    const { namespace, name, labels = {} } = pod.metadata;
    const own = budgets.filter(
      (budget) =>
        budget.metadata.namespace === namespace &&
        Object.keys(labels).length > 0 &&
        (budget.spec.selector?.matchLabels !== undefined || budget.spec.selector?.matchExpressions !== undefined) &&
        labelSelectorMatches(budget.spec.selector, labels) &&
        budget.status?.disruptedPods?.[name] === undefined,
    );
    for (const budget of own) left.set(budget, (left.get(budget) ?? 0) - 1);
    if (own.some((budget) => (left.get(budget) ?? 0) < 0)) protectedPods.push(pod);
    else others.push(pod);
  }
  return { protectedPods, others };
}

/** A pod that has not started yet starts now, after all others. */
const startedAt = (pod: Pod): string => pod.status?.startTime ?? "now";

/** The important first, then those that run longest. */
function byImportance(a: Pod, b: Pod): number {
  return priorityOf(b) - priorityOf(a) || (startedAt(a) < startedAt(b) ? -1 : startedAt(a) > startedAt(b) ? 1 : 0);
}

const least = -2_147_483_648;

function byCost(a: Option, b: Option): number {
  const highest = ({ victims }: Option): number => Math.max(least, ...victims.map(priorityOf));
  // Shifted, so that several negative ones do not count for less than one.
  const sum = ({ victims }: Option): number => victims.reduce((total, pod) => total + priorityOf(pod) - least, 0);
  const earliest = (option: Option): string =>
    option.victims
      .filter((pod) => priorityOf(pod) === highest(option))
      .map(startedAt)
      .reduce((first, time) => (first === "" || time < first ? time : first), "");
  const difference =
    a.violations - b.violations || highest(a) - highest(b) || sum(a) - sum(b) || a.victims.length - b.victims.length;
  if (difference !== 0) return difference;
  const [early, late] = [earliest(a), earliest(b)];
  return early === late ? (a.node < b.node ? -1 : 1) : early > late ? -1 : 1;
}
