import { type DaemonSet, isDeleting, type Pod } from "../../../kernel/kinds/index.js";
import { resolveIntOrPercent } from "../shared/intstr.js";
import { isAvailable, isReady, isTerminal } from "../shared/pods.js";
import { revisionLabel } from "../shared/revisions.js";

/** One node, as a DaemonSet sees it. */
export interface NodeState {
  readonly name: string;
  readonly shouldRun: boolean;
  readonly mayStay: boolean;
  /** Oldest first. */
  readonly pods: readonly Pod[];
}

/** What plans are made from. */
export interface Situation {
  readonly set: DaemonSet;
  readonly states: readonly NodeState[];
  /** The revision that pods are to have. */
  readonly hash: string;
  readonly nowMs: number;
}

/** What is to be done. */
export interface Steps {
  /** Names of nodes that get a pod. */
  readonly create: readonly string[];
  readonly remove: readonly Pod[];
  /** Pods that ended by themselves, with their nodes; they are replaced. */
  readonly ended: readonly { readonly pod: Pod; readonly node: string }[];
}

const nothing: Steps = { create: [], remove: [], ended: [] };

function fenceposts({ set, states }: Situation): { readonly surge: number; readonly unavailable: number } {
  const { maxUnavailable = 1, maxSurge = 0 } = set.spec.updateStrategy?.rollingUpdate ?? {};
  const wanted = states.filter(({ shouldRun }) => shouldRun).length;
  const surge = resolveIntOrPercent(maxSurge, wanted, "up");
  const unavailable = resolveIntOrPercent(maxUnavailable, wanted, "up");
  return surge === 0 && unavailable === 0 ? { surge, unavailable: 1 } : { surge, unavailable };
}

function isSurging(situation: Situation): boolean {
  return situation.set.spec.updateStrategy?.type !== "OnDelete" && fenceposts(situation).surge > 0;
}

const isNew = ({ hash }: Situation, pod: Pod): boolean => pod.metadata.labels?.[revisionLabel] === hash;
const works = ({ set, nowMs }: Situation, pod: Pod): boolean => isAvailable(pod, set.spec.minReadySeconds ?? 0, nowMs);

/** One pod where it should run, none where it must not, ended ones replaced; two while an update surges. */
export function planNodes(situation: Situation): Steps {
  const surging = isSurging(situation);
  const all = situation.states.map((state): Steps => {
    if (state.shouldRun && state.pods.length === 0) return { ...nothing, create: [state.name] };
    const live = state.pods.filter((pod) => !isDeleting(pod));
    if (!state.mayStay) return { ...nothing, remove: live };
    const ended = live.filter(isTerminal).map((pod) => ({ pod, node: state.name }));
    const running = live.filter((pod) => !isTerminal(pod));
    if (!surging) return { create: [], remove: running.slice(1), ended };
    // Where one is still ending, its successor need not wait when surging.
    if (running.length === 0 && ended.length === 0 && state.shouldRun) return { ...nothing, create: [state.name] };
    return { create: [], remove: excessOf(situation, running), ended };
  });
  return {
    create: all.flatMap(({ create }) => create),
    remove: all.flatMap(({ remove }) => remove),
    ended: all.flatMap(({ ended }) => ended),
  };
}

/** While an update surges, an old pod may stay beside a new one: as long as it works and the new one does not yet. */
function excessOf(situation: Situation, running: readonly Pod[]): readonly Pod[] {
  const [fresh, ...moreFresh] = running.filter((pod) => isNew(situation, pod));
  const [old, ...moreOld] = running.filter((pod) => !isNew(situation, pod));
  const isReplaced = fresh !== undefined && old !== undefined && (!isReady(old) || works(situation, fresh));
  return [...moreFresh, ...moreOld, ...(isReplaced ? [old] : [])];
}

/** The newest and the oldest revision's pod of a node; `undefined`: there are more, which `planNodes` takes away first. */
function pairOn(situation: Situation, { pods }: NodeState): { fresh?: Pod; old?: Pod } | undefined {
  const live = pods.filter((pod) => !isDeleting(pod));
  const [fresh, ...moreFresh] = live.filter((pod) => isNew(situation, pod));
  const [old, ...moreOld] = live.filter((pod) => !isNew(situation, pod));
  if (moreFresh.length + moreOld.length > 0) return undefined;
  return { ...(fresh === undefined ? {} : { fresh }), ...(old === undefined ? {} : { old }) };
}

/** The next step of a rolling update; none for OnDelete. */
export function planUpdate(situation: Situation): Steps {
  if (situation.set.spec.updateStrategy?.type === "OnDelete") return nothing;
  return isSurging(situation) ? surgeStep(situation) : replaceStep(situation);
}

/** Old pods go as far as `maxUnavailable` allows; those that do not work go anyway. */
function replaceStep(situation: Situation): Steps {
  let unavailable = 0;
  const broken: Pod[] = [];
  const candidates: Pod[] = [];
  for (const state of situation.states) {
    if (state.pods.length === 0) continue;
    const { fresh, old } = pairOn(situation, state) ?? {};
    if ((fresh === undefined) === (old === undefined)) unavailable += 1;
    else if (fresh !== undefined) unavailable += works(situation, fresh) ? 0 : 1;
    else if (old !== undefined && works(situation, old)) candidates.push(old);
    else if (old !== undefined) {
      broken.push(old);
      unavailable += 1;
    }
  }
  const budget = Math.max(0, fenceposts(situation).unavailable - unavailable);
  return { ...nothing, remove: [...broken, ...candidates.slice(0, budget)] };
}

/** New pods come beside old ones, as many at once as `maxSurge`; where the old one does not work, anyway. */
function surgeStep(situation: Situation): Steps {
  let surging = 0;
  const urgent: string[] = [];
  const candidates: string[] = [];
  const remove: Pod[] = [];
  for (const state of situation.states) {
    const pair = state.pods.length === 0 ? {} : pairOn(situation, state);
    if (pair === undefined) {
      surging += 1;
      continue;
    }
    const { fresh, old } = pair;
    if (old === undefined) continue;
    if (fresh !== undefined) {
      if (works(situation, fresh)) remove.push(old);
      else surging += 1;
    } else if (!state.shouldRun) {
      if (!works(situation, old)) remove.push(old);
    } else if (works(situation, old)) candidates.push(state.name);
    else urgent.push(state.name);
  }
  const budget = Math.max(0, fenceposts(situation).surge - surging);
  return { ...nothing, create: [...urgent, ...candidates.slice(0, budget)], remove };
}
